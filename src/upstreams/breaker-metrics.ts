import type { AddSample, MetricFamily } from '../exchange/exposition.js';
import type { CircuitState } from './circuit.js';

/** How many there are of something for each state of a circuit. */
export type CircuitCounts = Readonly<Record<CircuitState, number>>;

/** How the circuits of a breaker stand; `circuitBreaker()` gives one. */
export interface BreakerGauge {
  /** How many of its circuits are in each state now. */
  readonly circuits: CircuitCounts;
  /** How often one of them has come into each state. */
  readonly transitions: CircuitCounts;
}

/** How the circuits of breakers stand, by name: keys come from clients, and are counted only. */
export function breakerFamilies(breakers: Readonly<Record<string, BreakerGauge>>): MetricFamily[] {
  const each = (read: (breaker: BreakerGauge) => CircuitCounts) => (add: AddSample) => {
    for (const [breaker, its] of Object.entries(breakers)) {
      for (const [state, count] of Object.entries(read(its))) add(count, { breaker, state });
    }
  };
  return [
    {
      name: 'headrace_breaker_circuits',
      help: 'Circuits of a breaker that are in a state: of upstreams, of its route, or of keys.',
      type: 'gauge',
      labels: ['breaker', 'state'],
      collect: each(({ circuits }) => circuits),
    },
    {
      name: 'headrace_breaker_transitions_total',
      help: 'How often a circuit of a breaker came into a state.',
      type: 'counter',
      labels: ['breaker', 'state'],
      collect: each(({ transitions }) => transitions),
    },
  ];
}

import type { AddSample, Labels, MetricFamily } from '../exchange/exposition.js';
import type { CircuitChange, CircuitState } from './circuit.js';
import type { UpstreamPool } from './pool.js';
import type { Bar, Upstream } from './upstream.js';
import { upstreamLabel } from './upstream-label.js';

const STATES: readonly CircuitState[] = ['closed', 'half-open', 'open'];

/** How often each thing has happened to an upstream. It goes with the upstream. */
interface Happened {
  readonly ejections: Map<Bar, number>;
  readonly transitions: Map<CircuitState, number>;
}

/** Reads pools when it is asked, and counts what happens in them meanwhile. */
export class PoolMetrics {
  readonly #pools: readonly (readonly [name: string, pool: UpstreamPool])[];
  readonly #labels = new Map<
    string,
    { readonly upstreams: readonly Upstream[]; readonly labels: readonly Labels[] }
  >();
  readonly #happened = new WeakMap<Upstream, Happened>();

  constructor(pools: Readonly<Record<string, UpstreamPool>>) {
    this.#pools = Object.entries(pools);
    for (const pool of this.#distinct()) {
      pool.on('ejected', this.#ejected).on('circuit', this.#circuit);
    }
  }

  /** Stops listening to the pools. */
  close(): void {
    for (const pool of this.#distinct()) {
      pool.off('ejected', this.#ejected).off('circuit', this.#circuit);
    }
  }

  /** One pool can be there under two names, and what happens in it happens once. */
  #distinct(): Set<UpstreamPool> {
    return new Set(this.#pools.map(([, pool]) => pool));
  }

  /** How the pools stand. */
  get families(): MetricFamily[] {
    return [...this.#ofPools(), ...this.#ofUpstreams(), ...this.#ofEvents()];
  }

  #ofPools(): MetricFamily[] {
    const gauge = (name: string, help: string, read: (pool: UpstreamPool) => number) =>
      ({
        name: `headrace_pool_${name}`,
        help,
        type: 'gauge',
        labels: ['pool'],
        collect: (add: AddSample) => {
          for (const [name, pool] of this.#pools) add(read(pool), { pool: name });
        },
      }) as const;
    return [
      gauge('upstreams', 'Upstreams of a pool.', (pool) => pool.upstreams.length),
      gauge('upstreams_eligible', 'Upstreams that may be chosen.', (pool) => pool.eligible.length),
    ];
  }

  #ofUpstreams(): MetricFamily[] {
    const labels = ['pool', 'upstream'];
    return [
      {
        name: 'headrace_upstream_eligible',
        help: 'Whether an upstream may be chosen: 1 or 0.',
        type: 'gauge',
        labels,
        collect: this.#each(({ usable }, add, its) => add(usable ? 1 : 0, its)),
      },
      {
        name: 'headrace_upstream_requests_in_flight',
        help: 'Requests that were given to an upstream and have not ended.',
        type: 'gauge',
        labels,
        collect: this.#each(({ inFlight }, add, its) => add(inFlight, its)),
      },
      {
        name: 'headrace_upstream_connections',
        help: 'Connections to an upstream, tunnels not among them.',
        type: 'gauge',
        labels: [...labels, 'state'],
        collect: this.#each((upstream, add, its) => {
          if (upstream.connections.size === 0) return;
          const { open, idle } = connectionsOf(upstream);
          add(open - idle, { ...its, state: 'busy' });
          add(idle, { ...its, state: 'idle' });
        }),
      },
      {
        name: 'headrace_upstream_requests_waiting',
        help: 'Requests that wait for a connection to an upstream.',
        type: 'gauge',
        labels,
        collect: this.#each((upstream, add, its) => {
          if (upstream.connections.size > 0) add(connectionsOf(upstream).waiting, its);
        }),
      },
      {
        name: 'headrace_upstream_circuit_state',
        help: 'The state of the circuit of an upstream: 1 for the one that it is in.',
        type: 'gauge',
        labels: [...labels, 'state'],
        collect: this.#each(({ circuit }, add, its) => {
          if (circuit === undefined) return;
          for (const state of STATES) add(circuit.state === state ? 1 : 0, { ...its, state });
        }),
      },
    ];
  }

  #ofEvents(): MetricFamily[] {
    const labels = ['pool', 'upstream'];
    return [
      {
        name: 'headrace_upstream_circuit_transitions_total',
        help: 'How often the circuit of an upstream came into a state.',
        type: 'counter',
        labels: [...labels, 'state'],
        collect: this.#each((upstream, add, its) => {
          for (const [state, count] of this.#happened.get(upstream)?.transitions ?? []) {
            add(count, { ...its, state });
          }
        }),
      },
      {
        name: 'headrace_upstream_ejections_total',
        help: 'How often something came to stand against choosing an upstream.',
        type: 'counter',
        labels: [...labels, 'reason'],
        collect: this.#each((upstream, add, its) => {
          for (const [reason, count] of this.#happened.get(upstream)?.ejections ?? []) {
            add(count, { ...its, reason });
          }
        }),
      },
    ];
  }

  /** Collects from each upstream of each pool. Those that differ by their query alone get a number. */
  #each(collect: (upstream: Upstream, add: AddSample, labels: Labels) => void) {
    return (add: AddSample): void => {
      for (const [name, { upstreams }] of this.#pools) {
        const labels = this.#labelsOf(name, upstreams);
        upstreams.forEach((upstream, i) => {
          collect(upstream, add, labels[i] as Labels);
        });
      }
    };
  }

  /** A pool has another list each time that it changes. */
  #labelsOf(pool: string, upstreams: readonly Upstream[]): readonly Labels[] {
    const known = this.#labels.get(pool);
    if (known?.upstreams === upstreams) return known.labels;
    const seen = new Map<string, number>();
    const labels = upstreams.map((upstream) => {
      const label = upstreamLabel(upstream);
      const count = (seen.get(label) ?? 0) + 1;
      seen.set(label, count);
      return { pool, upstream: count === 1 ? label : `${label}#${count}` };
    });
    this.#labels.set(pool, { upstreams, labels });
    return labels;
  }

  readonly #ejected = (upstream: Upstream, bar: Bar): void => {
    const { ejections } = this.#of(upstream);
    ejections.set(bar, (ejections.get(bar) ?? 0) + 1);
  };

  readonly #circuit = (upstream: Upstream, { state }: CircuitChange): void => {
    const { transitions } = this.#of(upstream);
    transitions.set(state, (transitions.get(state) ?? 0) + 1);
  };

  #of(upstream: Upstream): Happened {
    let happened = this.#happened.get(upstream);
    if (happened === undefined) {
      happened = { ejections: new Map(), transitions: new Map() };
      this.#happened.set(upstream, happened);
    }
    return happened;
  }
}

function connectionsOf({ connections }: Upstream): { open: number; idle: number; waiting: number } {
  const sum = { open: 0, idle: 0, waiting: 0 };
  for (const one of connections.values()) {
    const counts = one.counts?.();
    if (counts === undefined) continue;
    sum.open += counts.open;
    sum.idle += counts.idle;
    sum.waiting += counts.waiting;
  }
  return sum;
}

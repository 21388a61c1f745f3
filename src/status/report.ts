import type { CircuitState } from '../upstreams/circuit.js';
import type { Bar, Upstream } from '../upstreams/upstream.js';

/** How an upstream is, in one word. */
export type UpstreamState =
  /** Nothing is wrong. */
  | 'up'
  /** Some of its tries fail: one in a hundred, or more. */
  | 'erring'
  /** Many of its tries fail: one in ten, or more. */
  | 'failing'
  /** Its circuit is half-open. */
  | 'half-open'
  /** Its weight is 0. */
  | 'unused'
  /** What stands against choosing it; one that is draining is shown until it is gone. */
  | Bar;

/** How bad that is: what the page has a colour for. */
export type Level = 'good' | 'warn' | 'bad' | 'off';

const LEVELS: Readonly<Record<UpstreamState, Level>> = {
  up: 'good',
  erring: 'warn',
  'half-open': 'warn',
  failing: 'bad',
  open: 'bad',
  ejected: 'bad',
  unhealthy: 'bad',
  held: 'off',
  draining: 'off',
  unused: 'off',
};

/** What is told of pools and upstreams alike. Rates and quantiles are those of about the last five seconds. */
interface Traffic {
  readonly requestsPerSecond: number;
  readonly errorsPerSecond: number;
  /** The share of the tries that failed or were answered with a status from 500 on. */
  readonly errorRatio: number;
  /** Times to the head of a response, in milliseconds; `null` where none came. */
  readonly latencyMs: {
    readonly p50: number | null;
    readonly p95: number | null;
    readonly p99: number | null;
  };
  readonly inFlight: number;
  /** Counted since an upstream was added. */
  readonly requests: number;
  readonly errors: number;
  readonly retries: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** What the page tells of an upstream. */
export interface UpstreamReport extends Traffic {
  /** Its URL, with a number behind it where an earlier one of that URL is still draining. */
  readonly id: string;
  readonly url: string;
  readonly weight: number;
  readonly priority: number;
  readonly state: UpstreamState;
  readonly level: Level;
  readonly bars: readonly Bar[];
  /** Since when it has been in this state. */
  readonly since: string;
  readonly circuit: { readonly state: CircuitState; readonly since: string } | null;
}

/** What the page tells of a pool. */
export interface PoolReport extends Traffic {
  readonly name: string;
  /** How many upstreams may be chosen, of how many. */
  readonly eligible: number;
  readonly of: number;
  /** How many were removed and still have something in flight. */
  readonly draining: number;
}

/** How an upstream is, given the share of its tries that fail. */
export function stateOf(upstream: Upstream, errorRatio: number): UpstreamState {
  const { bars, weight, usable } = upstream;
  if (bars.has('draining')) return 'draining';
  if (bars.has('held')) return 'held';
  if (bars.has('unhealthy')) return 'unhealthy';
  if (bars.has('ejected')) return 'ejected';
  if (bars.has('open')) {
    return usable || upstream.circuit?.state === 'half-open' ? 'half-open' : 'open';
  }
  if (weight === 0) return 'unused';
  if (errorRatio >= 0.1) return 'failing';
  return errorRatio >= 0.01 ? 'erring' : 'up';
}

/** How bad a state is. */
export function levelOf(state: UpstreamState): Level {
  return LEVELS[state];
}

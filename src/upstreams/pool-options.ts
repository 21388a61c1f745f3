import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  type ConnectionSettings,
  connectionSettings,
} from '../connection-settings.js';
import type { Exchange } from '../exchange/exchange.js';
import { isUpstream } from '../exchange/is-upstream.js';
import { inspect, known, oneOf } from '../options.js';
import { callListener } from '../warnings.js';
import type { ActiveHealthOptions } from './active-health.js';
import type { CircuitChange } from './circuit.js';
import type { PassiveHealthOptions } from './passive-health.js';
import { type StrategyName, strategyNamed, strategyNames } from './strategies/index.js';
import type { Strategy } from './strategy.js';
import type { Bar, Upstream } from './upstream.js';

/** How a pool finds out which of its upstreams are well. */
export interface HealthOptions {
  /** By the requests that fail. On by default; `false` turns it off. */
  readonly passive?: PassiveHealthOptions | false | undefined;
  /** By asking. Off unless it is given. */
  readonly active?: ActiveHealthOptions | false | undefined;
}

/** Options for {@link UpstreamPool}. */
export interface UpstreamPoolOptions {
  /**
   * How an upstream is chosen: by name, by one of the strategy factories, or by your own `{ pick }`.
   *
   * @default 'round-robin'
   */
  readonly strategy?: StrategyName | Strategy | undefined;
  /** When an upstream is not to be chosen for a while. */
  readonly health?: HealthOptions | undefined;
  /**
   * How long the share of a new or recovered upstream grows evenly until it is that of its weight, in
   * milliseconds; with each strategy, and with your own.
   *
   * @default 0
   */
  readonly slowStartMs?: number | undefined;
  /** How the upstreams are connected to, where that differs from `proxyPass()`. */
  readonly transport?: ConnectionOptions | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
  /** Numbers from 0 to 1; for tests. */
  readonly random?: (() => number) | undefined;
}

/** What a pool tells, and with what. */
export interface UpstreamPoolEvents {
  /** The upstreams that may be chosen have changed. */
  change: [eligible: readonly Upstream[]];
  /** Something has come to stand against choosing an upstream. */
  ejected: [upstream: Upstream, bar: Bar];
  /** Nothing stands against it any more. */
  recovered: [upstream: Upstream];
  /** The circuit breaker of an upstream has changed its state. */
  circuit: [upstream: Upstream, change: CircuitChange];
  /** A removed upstream has finished what was in flight on it. */
  drained: [upstream: Upstream];
  /** The source of upstreams failed; the last good list stands. */
  discoveryError: [error: unknown];
}

/** Hears one kind of event. */
export type PoolListener<K extends keyof UpstreamPoolEvents> = (
  ...args: UpstreamPoolEvents[K]
) => void;

/** The names in {@link UpstreamPoolOptions}, for the check for unknown ones. */
export const POOL_OPTIONS = [
  'strategy',
  'health',
  'slowStartMs',
  'transport',
  'now',
  'random',
] as const satisfies readonly (keyof UpstreamPoolOptions)[];

/** The strategy that an option means. */
export function strategyOf(strategy: StrategyName | Strategy, factory: string): Strategy {
  if (typeof strategy === 'object' && strategy !== null && typeof strategy.pick === 'function') {
    return new CheckedStrategy(strategy, factory);
  }
  if (typeof strategy !== 'string') {
    const wanted = `a name or an object with pick(), received ${inspect(strategy)}`;
    throw new TypeError(`${factory}: strategy must be ${wanted}`);
  }
  oneOf(`${factory}: strategy`, strategy, strategyNames);
  return strategyNamed(strategy);
}

/** The settings that a pool's own `transport` makes for its upstreams. */
export function poolSettings(transport: ConnectionOptions, factory: string): ConnectionSettings {
  return connectionSettings(factory, known(factory, transport, CONNECTION_OPTIONS));
}

/** A strategy of the user's. What it gives by mistake fails the request; further on it would break the pool. */
class CheckedStrategy implements Strategy {
  readonly #strategy: Strategy;
  readonly #factory: string;

  constructor(strategy: Strategy, factory: string) {
    this.#strategy = strategy;
    this.#factory = factory;
  }

  pick(candidates: readonly Upstream[], exchange: Exchange): Upstream | undefined {
    const chosen: unknown = this.#strategy.pick(candidates, exchange);
    if (chosen === undefined || isUpstream(chosen)) return chosen;
    throw new TypeError(
      `${this.#factory}: strategy.pick() must return one of the candidates, received ${inspect(chosen)}`,
    );
  }

  /** What it throws must not have the request hang whose answer it is told of. */
  observe(upstream: Upstream, latencyMs: number): void {
    const strategy = this.#strategy;
    if (strategy.observe === undefined) return;
    const observe = (): unknown => strategy.observe?.(upstream, latencyMs);
    callListener(`${this.#factory}: strategy.observe() threw`, observe);
  }
}

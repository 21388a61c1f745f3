import type { Exchange } from '../exchange/exchange.js';
import { inspect, known, oneOf } from '../options.js';
import { roundRobin } from './strategies/round-robin.js';
import type { Strategy } from './strategy.js';
import { Upstream, type UpstreamInit } from './upstream.js';

/** The strategies that go by a name. */
export type StrategyName = 'round-robin';

/** Options for {@link UpstreamPool}. */
export interface UpstreamPoolOptions {
  /**
   * How an upstream is chosen: by name, by one of the strategy factories, or by your own `{ pick }`.
   *
   * @default 'round-robin'
   */
  readonly strategy?: StrategyName | Strategy | undefined;
}

const strategies: Readonly<Record<StrategyName, () => Strategy>> = { 'round-robin': roundRobin };

/**
 * Upstreams that do the same work, and the strategy that chooses among them. One pool can serve many
 * pipelines; they share its connections then. Close it when the process is to end.
 */
export class UpstreamPool {
  readonly #upstreams: readonly Upstream[];
  readonly #strategy: Strategy;

  /** @throws TypeError when an entry is not a target, is listed twice, or an option is unknown. */
  constructor(
    list: readonly UpstreamInit[],
    options: UpstreamPoolOptions = {},
    /** Names the factory in messages. @internal */
    factory = 'UpstreamPool',
  ) {
    const { strategy = 'round-robin' } = known(factory, options, ['strategy']);
    this.#strategy = strategyOf(strategy, factory);
    this.#upstreams = parseList(list, factory);
  }

  /** Every upstream, in the order given. */
  get upstreams(): readonly Upstream[] {
    return this.#upstreams;
  }

  /** The upstreams that may be chosen now. */
  get eligible(): readonly Upstream[] {
    return this.#upstreams;
  }

  /** Chooses an upstream for an exchange; `undefined` when there is none to choose. */
  pick(exchange: Exchange): Upstream | undefined {
    return this.#strategy.pick(this.eligible, exchange);
  }

  /** Closes the connections to all upstreams, once what is in flight on them has finished. */
  async close(): Promise<void> {
    await Promise.all(this.#upstreams.map((upstream) => upstream.close()));
  }
}

function strategyOf(strategy: StrategyName | Strategy, factory: string): Strategy {
  if (typeof strategy === 'object' && strategy !== null && typeof strategy.pick === 'function') {
    return strategy;
  }
  if (typeof strategy !== 'string') {
    const wanted = `a name or an object with pick(), received ${inspect(strategy)}`;
    throw new TypeError(`${factory}: strategy must be ${wanted}`);
  }
  oneOf(`${factory}: strategy`, strategy, Object.keys(strategies));
  return strategies[strategy]();
}

function parseList(list: readonly UpstreamInit[], factory: string): Upstream[] {
  if (!Array.isArray(list)) {
    throw new TypeError(`${factory}: upstreams must be an array, received ${inspect(list)}`);
  }
  const seen = new Set<string>();
  return list.map((init, i) => {
    const path = `${factory}: upstreams[${i}].url`;
    const upstream = new Upstream(init as UpstreamInit, path);
    if (seen.has(upstream.url))
      throw new TypeError(`${path} is listed twice: ${inspect(upstream.url)}`);
    seen.add(upstream.url);
    return upstream;
  });
}

import { type Exchange, exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { known } from '../options.js';
import { fail } from '../transport/deliver.js';
import { probe } from '../transport/probe.js';
import type { Discovery } from '../upstreams/discovery/discovery.js';
import { isPool } from '../upstreams/is-pool.js';
import { UpstreamPool } from '../upstreams/pool.js';
import { POOL_OPTIONS, type UpstreamPoolOptions } from '../upstreams/pool-options.js';
import { Sticky, type StickyOptions } from '../upstreams/sticky.js';
import type { UpstreamInit } from '../upstreams/upstream.js';

/** Options for {@link loadBalancer}. */
export interface LoadBalancerOptions extends UpstreamPoolOptions {
  /** The upstreams to choose from, a source of them, or a pool that pipelines share. Required. */
  readonly upstreams: readonly UpstreamInit[] | Discovery | UpstreamPool;
  /** Keeps a client with the upstream that served it first, by a signed cookie. Off by default. */
  readonly sticky?: StickyOptions | undefined;
}

/** A {@link loadBalancer} in place. */
export interface LoadBalancer extends Handler {
  /** The pool it chooses from. */
  readonly upstreams: UpstreamPool;
  /** Closes the pool. One that was given is not its own to close. */
  close(): Promise<void>;
}

/**
 * Chooses the upstream. It does so when Express calls it, so that the next middleware can read
 * `exchange.upstream`. Place it before `proxyPass()`; without an upstream to choose, the answer is 503.
 *
 * @example
 * app.use(loadBalancer({ upstreams: ['http://10.0.0.1', 'http://10.0.0.2'] }), proxyPass());
 */
export function loadBalancer(options: LoadBalancerOptions): LoadBalancer {
  // It has upstreams as well, and would be taken for options.
  if (isPool(options)) {
    throw new TypeError('loadBalancer: a pool is given as one of its options: { upstreams: pool }');
  }
  const {
    upstreams,
    sticky: stickyOptions,
    ...poolOptions
  } = known('loadBalancer', options, ['upstreams', 'sticky', ...POOL_OPTIONS]);
  const shared = isPool(upstreams);
  if (shared) refusePoolOptions(poolOptions);
  const pool = shared ? upstreams : new UpstreamPool(upstreams, poolOptions, 'loadBalancer');
  const sticky =
    stickyOptions === undefined
      ? undefined
      : new Sticky('loadBalancer: sticky', stickyOptions, pool);
  pool.probeWith(probe);

  const handler: Handler = function loadBalancerMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    const stuck = sticky?.upstreamOf(req.headers.cookie);
    try {
      exchange.upstream = stuck === undefined ? pool.pick(exchange) : pool.give(exchange, stuck);
    } catch (error) {
      return fail(exchange, error, next);
    }
    if (sticky !== undefined) exchange.onResponse(sticky.edit);
    if (exchange.upstream !== undefined) next?.();
    else refuse(exchange, pool, next);
  };
  return Object.assign(handler, {
    upstreams: pool,
    close: async () => {
      if (!shared) await pool.close();
    },
  });
}

/**
 * Nothing can be chosen. Where that is so because circuits are open, the call fails and not the choice: a
 * breaker that stands behind has a fallback for it.
 */
function refuse(exchange: Exchange, pool: UpstreamPool, next: Next | undefined): void {
  const error = pool.refusal();
  if (error.upstream === undefined || next === undefined) {
    return fail(exchange, error, next, { resume: () => next?.() });
  }
  exchange.refusal = error;
  exchange.upstream = error.upstream;
  next();
}

/** What belongs to a pool is said where the pool is made: two pipelines could differ over it. */
function refusePoolOptions(options: UpstreamPoolOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    throw new TypeError(`loadBalancer: ${name} belongs to the pool, give it to new UpstreamPool()`);
  }
}

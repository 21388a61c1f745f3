import { NoUpstreamError } from '../exchange/errors.js';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { known } from '../options.js';
import { fail } from '../transport/deliver.js';
import { UpstreamPool, type UpstreamPoolOptions } from '../upstreams/pool.js';
import type { UpstreamInit } from '../upstreams/upstream.js';

/** Options for {@link loadBalancer}. */
export interface LoadBalancerOptions extends UpstreamPoolOptions {
  /** The upstreams to choose from, or a pool that several pipelines share. Required. */
  readonly upstreams: readonly UpstreamInit[] | UpstreamPool;
}

/** A {@link loadBalancer} in place. */
export interface LoadBalancer extends Handler {
  /** The pool it chooses from. */
  readonly upstreams: UpstreamPool;
  /** Closes the pool's connections. A pool that was given is not its own to close. */
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
  const { upstreams, ...poolOptions } = known('loadBalancer', options, ['upstreams', 'strategy']);
  const shared = isPool(upstreams);
  if (shared && poolOptions.strategy !== undefined) {
    throw new TypeError(
      'loadBalancer: strategy belongs to the pool, give it to new UpstreamPool()',
    );
  }
  const pool = shared ? upstreams : new UpstreamPool(upstreams, poolOptions, 'loadBalancer');

  const handler: Handler = function loadBalancerMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.upstream = pool.pick(exchange);
    if (exchange.upstream === undefined) fail(exchange, new NoUpstreamError(), next);
    else next?.();
  };
  return Object.assign(handler, {
    upstreams: pool,
    close: async () => {
      if (!shared) await pool.close();
    },
  });
}

function isPool(upstreams: unknown): upstreams is UpstreamPool {
  return typeof upstreams === 'object' && upstreams !== null && 'pick' in upstreams;
}

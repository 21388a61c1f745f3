import { Router } from 'express';
import {
  type CircuitBreaker,
  type ConcurrencyLimit,
  circuitBreaker,
  concurrencyLimit,
  fallback,
  loadBalancer,
  proxyPass,
  rateLimiter,
  type UpstreamPool,
} from 'headrace';

/** What is protected, and what metrics can tell of it. */
export interface Protected {
  readonly router: Router;
  readonly breaker: CircuitBreaker;
  readonly limit: ConcurrencyLimit;
}

/** What keeps a backend alive, and clients served: to be tripped, flooded and watched. */
export function protections(
  server: string,
  third: UpstreamPool,
  log: (line: string) => void,
  resetTimeoutMs = 5_000,
): Protected {
  const router = Router();

  // Three calls are enough for a demo. Real life wants more of them before it gives an upstream up.
  const breaker = circuitBreaker({
    volumeThreshold: 3,
    resetTimeoutMs,
    onStateChange: ({ state }) => log(`the breaker of the third backend is ${state}`),
  });
  router.use('/breaker', loadBalancer({ upstreams: third }), breaker, proxyPass());

  // Five requests in ten seconds for each client; RateLimit tells how many are left.
  router.use('/limited', rateLimiter({ windowMs: 10_000, limit: 5 }), proxyPass(server));

  // One at a time, one may wait, and the rest hear so at once.
  const limit = concurrencyLimit({ limit: 1, queue: { size: 1, timeoutMs: 5_000 } });
  router.use('/narrow', limit, proxyPass(server));

  // Nothing listens there. Clients get something all the same.
  router.use(
    '/degraded',
    fallback(({ code }) => {
      log(`a fallback for ${code}`);
      return { headers: { 'content-type': 'text/plain' }, body: 'what we had yesterday\n' };
    }),
    proxyPass('http://127.0.0.1:1'),
  );

  return { router, breaker, limit };
}

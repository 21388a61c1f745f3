import { Router } from 'express';
import {
  circuitBreaker,
  concurrencyLimit,
  fallback,
  loadBalancer,
  proxyPass,
  rateLimiter,
  type UpstreamPool,
} from 'headrace';

/** What keeps a backend alive, and clients served: to be tripped, flooded and watched. */
export function protections(
  server: string,
  third: UpstreamPool,
  log: (line: string) => void,
  resetTimeoutMs = 5_000,
): Router {
  const router = Router();

  // Three calls are enough for a demo. Real life wants more of them before it gives an upstream up.
  router.use(
    '/breaker',
    loadBalancer({ upstreams: third }),
    circuitBreaker({
      volumeThreshold: 3,
      resetTimeoutMs,
      onStateChange: ({ state }) => log(`the breaker of the third backend is ${state}`),
    }),
    proxyPass(),
  );

  // Five requests in ten seconds for each client; RateLimit tells how many are left.
  router.use('/limited', rateLimiter({ windowMs: 10_000, limit: 5 }), proxyPass(server));

  // One at a time, one may wait, and the rest hear so at once.
  router.use(
    '/narrow',
    concurrencyLimit({ limit: 1, queue: { size: 1, timeoutMs: 5_000 } }),
    proxyPass(server),
  );

  // Nothing listens there. Clients get something all the same.
  router.use(
    '/degraded',
    fallback(({ code }) => {
      log(`a fallback for ${code}`);
      return { headers: { 'content-type': 'text/plain' }, body: 'what we had yesterday\n' };
    }),
    proxyPass('http://127.0.0.1:1'),
  );

  return router;
}

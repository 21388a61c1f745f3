import { type RequestHandler, Router } from 'express';
import { exchangeOf, loadBalancer, proxyPass, type Retry, retry, UpstreamPool } from 'headrace';

/** Backends that do the same work. */
export function backends(
  upstreams: readonly string[],
  log: (line: string) => void,
  ejectMs = 5_000,
): UpstreamPool {
  // Two failures within ten seconds put a backend out for a while.
  const pool = new UpstreamPool(upstreams, { health: { passive: { maxFailures: 2, ejectMs } } });
  pool.on('ejected', (upstream) => log(`${upstream} is out`));
  pool.on('recovered', (upstream) => log(`${upstream} is back`));
  return pool;
}

/** What is balanced, and what metrics can tell of it. */
export interface Balanced {
  readonly router: Router;
  readonly again: Retry;
}

/** Requests that go to each backend in turn, and to another one where that fails. */
export function balanced(pool: UpstreamPool, log: (line: string) => void): Balanced {
  const router = Router();

  router.get('/balanced/stats', (_req, res) => {
    res.json(pool.stats());
  });

  // The client sees one answer. How many tries it took is for the log.
  const logRetries: RequestHandler = (req, res, next) => {
    exchangeOf(req, res).onOutcome(({ attempts }) => {
      if (attempts.length < 2) return;
      const tries = attempts.map(({ upstream, status, error }) => {
        return `${upstream} ${status ?? error?.code}`;
      });
      log(`${req.baseUrl}: ${tries.join(', then ')}`);
    });
    next();
  };
  const again = retry();
  router.use('/balanced', logRetries, loadBalancer({ upstreams: pool }), again, proxyPass());

  return { router, again };
}

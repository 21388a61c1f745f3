import { Router } from 'express';
import { cache, proxyPass } from 'headrace';

/** What one client has asked for answers others, for as long as the backend allows. */
export function cached(server: string): Router {
  const kept = cache({ staleIfErrorMs: 60_000 });
  const router = Router();
  router.get('/news', kept, proxyPass(server));
  router.post('/news/forget', (_req, res) => {
    res.send(`forgotten: ${kept.purge()}\n`);
  });
  return router;
}

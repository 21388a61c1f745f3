import { Router } from 'express';
import { type Cache, cache, proxyPass } from 'headrace';

/** What one client has asked for answers others, for as long as the backend allows. */
export function cached(server: string): { router: Router; news: Cache } {
  const news = cache({ staleIfErrorMs: 60_000 });
  const router = Router();
  router.get('/news', news, proxyPass(server));
  router.post('/news/forget', (_req, res) => {
    res.send(`forgotten: ${news.purge()}\n`);
  });
  return { router, news };
}

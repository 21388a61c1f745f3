import { type RequestHandler, Router } from 'express';
import { forwardedFor, proxyPass, reverseProxy, rewriteUrl, stripHopHeaders } from 'headrace';

/** Requests that go to a backend, and come back, as they are. */
export function forwarding(server: string, log: (line: string) => void): Router {
  const router = Router();

  // One line is a whole reverse proxy.
  router.use('/simple', reverseProxy(server));

  // The same from single pieces, with a middleware of one's own among them.
  const logRewrite: RequestHandler = (req, res, next) => {
    log(`${req.url} -> ${res.locals.proxy.path}`);
    next();
  };
  router.all(
    /^\/proxy(\/|$)/,
    stripHopHeaders(),
    forwardedFor(),
    rewriteUrl({ '^/proxy': '' }),
    logRewrite,
    proxyPass(server),
  );

  return router;
}

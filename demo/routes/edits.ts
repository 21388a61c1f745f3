import express, { Router } from 'express';
import { modifyResponse, proxyPass, rewriteUrl, stripHopHeaders } from 'headrace';

/** Requests and responses that are changed on their way. */
export function edits(server: string): Router {
  const router = Router();

  // Headers, on the way there and on the way back.
  router.all(
    '/echo',
    stripHopHeaders(),
    (_req, res, next) => {
      res.locals.proxy.headers.set('X-Greeting', 'hello from the gateway').delete('User-Agent');
      next();
    },
    modifyResponse((response) => {
      response.headers.set('X-Proxy', 'magical');
      response.headers.delete('X-Powered-By');
    }),
    proxyPass(server),
  );

  // The text of a page. The backend sends it in gzip; the edit sees it decoded.
  router.get(
    '/page',
    modifyResponse(async (response) => {
      const page = await response.text();
      response.body = page.replace('server backend', 'gateway');
    }),
    proxyPass(server),
  );

  // A body that a parser has read, and a handler has changed, goes on as it is then.
  router.post(
    '/json',
    express.json(),
    (req, _res, next) => {
      req.body = { ...req.body, seenBy: 'gateway' };
      next();
    },
    rewriteUrl({ '^/json': '/echo' }),
    proxyPass(server),
  );

  return router;
}

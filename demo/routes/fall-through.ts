import { type RequestHandler, Router } from 'express';
import { proxyPass, sendResponse } from 'headrace';

/** What the backend does not have falls through to a route of our own. */
export function fallThrough(server: string): Router {
  const router = Router();

  const leaveNotFound: RequestHandler = (_req, res, next) => {
    const { response } = res.locals.proxy;
    if (response?.status !== 404) return next();
    response.discard();
    next('route');
  };
  router.get('/user/:id', proxyPass(server, { hold: true }), leaveNotFound, sendResponse());
  router.get('/user/:id', (req, res) => {
    res.send(`user ${Number(req.params.id)}, from the gateway itself\n`);
  });

  return router;
}

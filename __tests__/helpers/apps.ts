import express, { type ErrorRequestHandler, type Express } from 'express';
import { exchangeOf, type Handler, proxyErrors, proxyPass, UpstreamResponse } from 'headrace';
import request from 'supertest';
import type { Middleware } from './servers.js';

/** An Express app with these middleware. */
export function appWith(...middleware: readonly Middleware[]): Express {
  const app = express();
  app.set('env', 'test');
  for (const one of middleware) app.use(one as Handler);
  return app;
}

/** An Express app with these pieces and, behind them, a handler that prints `res.locals.proxy`. */
export function printing(...pieces: readonly Middleware[]): Express {
  const print: express.RequestHandler = (_req, res) => void res.json(res.locals.proxy);
  return appWith(...pieces, print, proxyErrors());
}

/** What a response of one's own is made with. */
export type Init = ConstructorParameters<typeof UpstreamResponse>[0];

/** A piece that answers in the upstream's place, as if `exchange.upstream` had. */
export function answer(init: Init | (() => Init)): Handler {
  return function answerMiddleware(req, res, next) {
    exchangeOf(req, res).around(async ({ upstream }) => {
      return new UpstreamResponse({ upstream, ...(typeof init === 'function' ? init() : init) });
    });
    next?.();
  };
}

/** An Express app whose pieces see a response of one's own, with no upstream behind it. */
export function answering(init: Init | (() => Init), ...pieces: readonly Middleware[]): Express {
  return appWith(...pieces, answer(init), proxyPass('http://backend.example'), proxyErrors());
}

/** The message of the error that a request to an app with this middleware ends in. */
export async function errorOf(middleware: unknown): Promise<string> {
  const show: ErrorRequestHandler = (error: Error, _req, res, _next) => {
    res.status(500).json(`${error.name}: ${error.message}`);
  };
  const { body } = await request(appWith(middleware as Middleware, show))
    .get('/')
    .expect(500);
  return body;
}

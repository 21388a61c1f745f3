import express, { type Express } from 'express';
import { exchangeOf, forwardProxy, proxyErrors } from 'headrace';

/** A forward proxy for the public web and for what listens on this machine, and no other inner network. */
export function forward(log: (line: string) => void): Express {
  const app = express();
  app.disable('x-powered-by');

  app.use((req, res, next) => {
    exchangeOf(req, res).onOutcome(({ outcome }) => {
      log(`${req.method} ${req.originalUrl}: ${res.statusCode}, ${outcome?.bytesReceived} bytes`);
    });
    next();
  });
  app.use(forwardProxy({ allow: [80, 443, 'localhost'] }));
  app.use(proxyErrors());
  return app;
}

import express, { type Express } from 'express';
import {
  metrics,
  proxyErrors,
  proxyPass,
  rewriteCookies,
  rewriteRedirects,
  statusPage,
  UpstreamPool,
} from 'headrace';
import { backends, balanced } from './routes/balanced.js';
import { cached } from './routes/cached.js';
import { edits } from './routes/edits.js';
import { fallThrough } from './routes/fall-through.js';
import { forwarding } from './routes/forwarding.js';
import { protections } from './routes/protected.js';

/** Where the backends are. */
export interface Backends {
  readonly server: string;
  readonly second: string;
  readonly third: string;
}

/** A gateway, to be served. */
export interface Gateway {
  readonly app: Express;
  /** Ends what it has begun, once nothing is asked of it any more. */
  close(): Promise<void>;
}

/** A gateway in front of three backends. */
export function gateway({ server, second, third }: Backends, log: (line: string) => void): Gateway {
  const app = express();
  app.disable('x-powered-by');

  // What may be watched is named here. A real gateway asks first who wants to see it, and who may act.
  const all = backends([server, second, third], log);
  const guarded = new UpstreamPool([third], { health: { passive: false } });
  const pools = { 'all three': all, 'behind the breaker': guarded };
  const page = statusPage({ pools, title: 'The demo gateway', allowActions: true });
  app.use('/status', page);
  const { router: balancing, again } = balanced(all, log);
  const { router: protecting, breaker, limit } = protections(server, guarded, log);
  const { router: caching, news } = cached(server);
  const budgets = { balanced: again };
  const m = metrics({
    pools,
    budgets,
    breakers: { breaker },
    limits: { narrow: limit },
    caches: { news },
  });
  app.get('/metrics', m.handler);
  app.use(m);

  app.use(forwarding(server, log));
  app.use(balancing);
  app.use(protecting);
  app.use(edits(server));
  app.use(caching);
  app.use(fallThrough(server));

  // Redirects lead back here, and cookies belong to the gateway.
  app.use(
    '/shop',
    rewriteRedirects(),
    rewriteCookies({ domain: false, path: { '/': '/shop' } }),
    proxyPass(second),
  );

  // A page and the WebSocket that it opens, at one path: attach() brings upgrades here as well.
  app.use('/ws', proxyPass(`${server}/ws`));

  // Nothing listens there.
  app.use('/down', proxyPass('http://127.0.0.1:1'));

  app.use(proxyErrors({ log: (error, req) => log(`${req.method} ${req.url}: ${error.code}`) }));

  return {
    app,
    close: async () => {
      m.close();
      await Promise.all([page.close(), all.close(), guarded.close()]);
    },
  };
}

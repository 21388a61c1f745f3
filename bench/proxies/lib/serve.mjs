import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

const HOST = '127.0.0.1';
const BACKLOG = 4096;

/** Where the proxy under test sends its requests: an origin without a path. */
export const upstream = process.env.BENCH_UPSTREAM ?? 'http://127.0.0.1:8198';

/** More than there are clients, so that no proxy queues for a connection. */
export const maxConnections = Number(process.env.BENCH_CONNECTIONS ?? 256);

/** Idle connections are kept while the others are measured: undici's own four seconds are too few for that. */
export const keepAliveMs = 300_000;

/** What to replace in the body of each answer, in the case that measures it. */
export const rewrite = process.env.BENCH_FROM && {
  from: process.env.BENCH_FROM,
  to: process.env.BENCH_TO,
};

/** Key and certificate where clients are to speak TLS. */
export const tls = process.env.BENCH_CERT && {
  key: readFileSync(process.env.BENCH_KEY),
  cert: readFileSync(process.env.BENCH_CERT),
};

/** Serves a `(req, res)` handler or an Express app on the harness's port; `upgrade` takes the server's event. */
export function serve(handler, upgrade) {
  const server = tls ? createSecureServer(tls, handler) : createServer(handler);
  if (upgrade) server.on('upgrade', upgrade);
  server.listen(port(), HOST, BACKLOG, announce);
  return server;
}

/** The same for a Fastify app, which brings its own server. */
export async function serveFastify(app) {
  await app.listen({ port: port(), host: HOST, backlog: BACKLOG });
  announce();
}

function port() {
  return Number(process.env.PORT ?? 8199);
}

function announce() {
  if (!process.send) {
    console.log(`ready on http://${HOST}:${port()}, upstream ${upstream}`);
    return;
  }
  // The harness asks before and after each interval. Without the harness there is no reason to live.
  process.on('message', () => process.send(usage()));
  process.on('disconnect', () => process.exit());
  process.send({ ready: true });
}

function usage() {
  const { user, system } = process.cpuUsage();
  return { cpuMicros: user + system, maxRssKiB: process.resourceUsage().maxRSS };
}

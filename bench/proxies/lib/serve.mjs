import { createServer } from 'node:http';

const HOST = '127.0.0.1';

/** Where the proxy under test sends its requests: an origin without a path. */
export const upstream = process.env.BENCH_UPSTREAM ?? 'http://127.0.0.1:8198';

/** Far above the number of clients of any case, so that no proxy queues for a connection. */
export const maxConnections = 256;

/** Serves a `(req, res)` handler or an Express app on the harness's port. */
export function serve(handler) {
  const server = createServer(handler);
  server.listen(port(), HOST, announce);
}

/** The same for a Fastify app, which brings its own server. */
export async function serveFastify(app) {
  await app.listen({ port: port(), host: HOST });
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

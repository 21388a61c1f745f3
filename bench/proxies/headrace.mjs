import dns from 'node:dns';
import express from 'express';
import { keepAliveMs, maxConnections, rewrite, serve, upstream } from './lib/serve.mjs';

const entry =
  process.env.BENCH_HEADRACE ?? new URL('../../dist/esm/index.js', import.meta.url).href;
const headrace = await import(entry);
const { forwardedFor, loadBalancer, modifyResponse, proxyPass, rewriteUrl, stripHopHeaders } =
  headrace;

/** What can be added to the pipeline, to see what it costs; nothing of it ever acts here, and what it logs goes nowhere. */
const extras = {
  accessLog: () => headrace.accessLog({ logger: { info() {} } }),
  circuitBreaker: () => headrace.circuitBreaker(),
  concurrencyLimit: () => headrace.concurrencyLimit({ limit: 10_000 }),
  fallback: () => headrace.fallback({ status: 503 }),
  metrics: () => headrace.metrics(),
  rateLimiter: () => headrace.rateLimiter({ limit: 1e9 }),
  requestId: () => headrace.requestId(),
  retry: () => headrace.retry(),
  tracing: () => headrace.tracing(),
};
/** The status page has a path of its own, and looks at the pool all the time. */
const balancer = loadBalancer({ upstreams: upstreams(Number(process.env.BENCH_UPSTREAMS ?? 1)) });
const page = () => headrace.statusPage({ pools: { api: balancer.upstreams } });
const pieces = (process.env.BENCH_PIECES ?? '').split(',').filter(Boolean);

const app = express();
if (pieces.includes('statusPage')) app.use('/status', page());
app.use(stripHopHeaders());
app.use(forwardedFor());
app.use(rewriteUrl({ '^/nowhere': '/somewhere', '^/api': '' }));
app.use(balancer);
for (const piece of pieces) if (piece in extras) app.use(extras[piece]());
app.use(
  modifyResponse((response) => {
    response.headers.set('x-proxy', 'magical');
  }),
);
if (rewrite) app.use(modifyResponse(replaceAll));
app.use(proxyPass({ connections: maxConnections, keepAliveMs }));

const server = serve(app);
if (process.env.BENCH_ATTACH) headrace.attach(server, app);

/** Many upstreams are names of one, so that each has connections of its own and none needs an address of its own. */
function upstreams(count) {
  if (count === 1) return [upstream];
  dns.lookup = (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]);
  const { port } = new URL(upstream);
  return Array.from({ length: count }, (_, i) => `http://upstream-${i}.test:${port}`);
}

async function replaceAll(response) {
  response.body = (await response.text()).replaceAll(rewrite.from, rewrite.to);
}

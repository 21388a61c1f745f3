import httpProxy from '@fastify/http-proxy';
import fastify from 'fastify';
import { keepAliveMs, maxConnections, serveFastify, tls, upstream } from './lib/serve.mjs';

const app = fastify({ logger: false, ...(tls && { https: tls }) });
app.register(httpProxy, {
  upstream,
  undici: { connections: maxConnections, pipelining: 1, keepAliveTimeout: keepAliveMs },
});

await serveFastify(app);

import httpProxy from '@fastify/http-proxy';
import fastify from 'fastify';
import { maxConnections, serveFastify, upstream } from './lib/serve.mjs';

const app = fastify({ logger: false });
app.register(httpProxy, { upstream, undici: { connections: maxConnections, pipelining: 1 } });

await serveFastify(app);

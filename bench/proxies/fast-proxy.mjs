import fastProxy from 'fast-proxy';
import { keepAliveMs, maxConnections, serve, upstream } from './lib/serve.mjs';

const { proxy } = fastProxy({
  base: upstream,
  undici: { connections: maxConnections, pipelining: 1, keepAliveTimeout: keepAliveMs },
});

serve((req, res) => proxy(req, res, req.url));

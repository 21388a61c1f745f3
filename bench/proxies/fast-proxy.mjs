import fastProxy from 'fast-proxy';
import { maxConnections, serve, upstream } from './lib/serve.mjs';

const { proxy } = fastProxy({
  base: upstream,
  undici: { connections: maxConnections, pipelining: 1 },
});

serve((req, res) => proxy(req, res, req.url));

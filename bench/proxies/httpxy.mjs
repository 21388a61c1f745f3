import { createProxyServer } from 'httpxy';
import { agent } from './lib/agent.mjs';
import { serve, upstream } from './lib/serve.mjs';

const proxy = createProxyServer({ target: upstream, changeOrigin: true, agent });

serve(
  (req, res) => proxy.web(req, res).catch(() => res.destroy()),
  (req, socket, head) => proxy.ws(req, socket, {}, head).catch(() => socket.destroy()),
);

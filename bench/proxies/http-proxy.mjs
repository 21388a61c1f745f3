import httpProxy from 'http-proxy';
import { agent } from './lib/agent.mjs';
import { serve, upstream } from './lib/serve.mjs';

const proxy = httpProxy.createProxyServer({ target: upstream, changeOrigin: true, agent });
proxy.on('error', (_error, _req, res) => {
  // A tunnel's is a socket.
  if ('writeHead' in res) res.writeHead(502).end();
  else res.destroy();
});

serve(
  (req, res) => proxy.web(req, res),
  (req, socket, head) => proxy.ws(req, socket, head),
);

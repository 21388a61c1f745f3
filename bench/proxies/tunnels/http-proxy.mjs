import { createServer } from 'node:http';
import httpProxy from 'http-proxy';
import { upstream } from '../lib/serve.mjs';

const proxy = httpProxy.createProxyServer({ target: upstream, ws: true });
proxy.on('error', (_error, _req, socket) => socket.destroy());
const server = createServer((req, res) => proxy.web(req, res));
server.on('upgrade', (req, socket, head) => proxy.ws(req, socket, head));
server.listen(Number(process.env.PORT), '127.0.0.1', 4_096);

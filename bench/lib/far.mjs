// The upstream for what nginx cannot do: slow answers, bodies read to their end, events, tunnels.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const SLOW_MS = 50;
const EVENT_MS = 100;
const PADDING = 'x'.repeat(72);
/** RFC 6455, 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

const listeners = new Set();
const routes = {
  '/slow': slow,
  '/upload': upload,
  '/digest': digest,
  '/events': events,
};

const server = createServer((req, res) => {
  const route = routes[req.url.replace(/^\/api/, '')];
  if (route === undefined) res.writeHead(404).end();
  else route(req, res);
});
server.on('upgrade', echo);
// The proxies idle while the others are measured: their connections outlive that.
server.keepAliveTimeout = 600_000;
server.requestTimeout = 0;
server.listen(Number(process.env.PORT), '127.0.0.1', 4096);
setInterval(tell, EVENT_MS);

function slow(_req, res) {
  setTimeout(() => answer(res, '{"late":true}'), SLOW_MS);
}

/** Answers with the number of bytes, once all of them are here. */
function upload(req, res) {
  let bytes = 0;
  req.on('data', ({ length }) => {
    bytes += length;
  });
  req.on('end', () => answer(res, String(bytes)));
}

function digest(req, res) {
  const hash = createHash('sha256');
  req.on('data', (chunk) => hash.update(chunk));
  req.on('end', () => answer(res, hash.digest('hex')));
}

function events(_req, res) {
  // nginx would collect them otherwise.
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' });
  res.write(':\n\n');
  listeners.add(res);
  res.on('close', () => listeners.delete(res));
}

/** What comes goes back. It is no WebSocket but looks like one, which haproxy verifies. */
function echo(req, socket) {
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + GUID);
  const head = [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Accept: ${accept.digest('base64')}`,
    '\r\n',
  ];
  socket.on('error', () => {});
  socket.setNoDelay(true);
  socket.write(head.join('\r\n'));
  socket.pipe(socket);
}

/** Each event says when it was sent. */
function tell() {
  for (const res of listeners) {
    const now = performance.timeOrigin + performance.now();
    res.write(`data: ${now.toFixed(3)} ${PADDING}\n\n`);
  }
}

function answer(res, text) {
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': text.length });
  res.end(text);
}

import { connect } from 'node:net';
import { serve, upstream } from './lib/serve.mjs';

const { host, hostname, port } = new URL(upstream);
const NOT_SENT = new Set(['host', 'connection', 'keep-alive', 'te', 'upgrade', 'expect']);
const idle = [];

/**
 * No proxy, but a question: what would be left without undici, Express, and everything else that can be left out? It
 * knows only whole requests and answers with a Content-Length, checks next to nothing, and keeps all of a body in memory.
 */
serve((req, res) => {
  if (req.headers['content-length'] === undefined) return send(req, res);
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => send(req, res, Buffer.concat(chunks)));
});

function send(req, res, body) {
  let head = `${req.method} ${req.url} HTTP/1.1\r\nhost: ${host}\r\n`;
  for (const name in req.headers) {
    if (!NOT_SENT.has(name)) head += `${name}: ${req.headers[name]}\r\n`;
  }
  const connection = idle.pop() ?? new Connection();
  connection.res = res;
  const { socket } = connection;
  if (body !== undefined) socket.cork();
  socket.write(`${head}\r\n`, 'latin1');
  if (body !== undefined) {
    socket.write(body);
    socket.uncork();
  }
}

class Connection {
  res = undefined;
  received = undefined;
  socket = connect({ host: hostname, port, noDelay: true });

  constructor() {
    this.socket.on('data', (chunk) => this.take(chunk));
    this.socket.on('error', () => this.socket.destroy());
    this.socket.on('close', () => this.res?.destroy());
  }

  take(chunk) {
    const bytes = this.received === undefined ? chunk : Buffer.concat([this.received, chunk]);
    const end = bytes.indexOf('\r\n\r\n');
    const head = end < 0 ? undefined : headOf(bytes.latin1Slice(0, end));
    if (head === undefined || bytes.length < end + 4 + head.length) {
      this.received = bytes;
      return;
    }
    const { res } = this;
    this.res = this.received = undefined;
    idle.push(this);
    res.writeHead(head.status, head.fields);
    res.end(bytes.subarray(end + 4));
  }
}

function headOf(text) {
  const head = { status: Number(text.slice(9, 12)), fields: [], length: undefined };
  for (const line of text.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
    const lowerCase = name.toLowerCase();
    if (lowerCase === 'content-length') head.length = Number(value);
    if (lowerCase !== 'connection') head.fields.push(name, value);
  }
  if (Number.isNaN(head.length ?? Number.NaN)) throw new Error('an answer without Content-Length');
  return head;
}

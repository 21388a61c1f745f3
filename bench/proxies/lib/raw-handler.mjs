import { keepAliveMs, maxConnections, upstream } from './serve.mjs';
import { Pool } from './undici.mjs';

const pool = new Pool(upstream, {
  connections: maxConnections,
  pipelining: 1,
  keepAliveTimeout: keepAliveMs,
});

/**
 * The floor: what a careful author would write by hand for one upstream. It strips hop-by-hop fields,
 * streams with back pressure both ways, aborts when the client leaves, and does nothing else.
 */
export function rawHandler(req, res) {
  const relay = new Relay(res);
  res.on('close', () => relay.clientClosed());
  pool.dispatch(
    { method: req.method, path: req.url, headers: requestHeaders(req), body: bodyOf(req) },
    relay,
  );
}

class Relay {
  constructor(res) {
    this.res = res;
    this.controller = null;
    this.expectedLength = -1;
  }

  onRequestStart(controller) {
    this.controller = controller;
    if (this.res.destroyed) this.clientClosed();
  }

  onResponseStart(controller, status, headers, statusText) {
    if (status < 200) return;
    this.res.writeHead(
      status,
      statusText,
      responseHeaders(controller.rawHeaders, headers.connection),
    );
    const length = headers['content-length'];
    if (length === undefined) this.res.flushHeaders();
    else this.expectedLength = Number(length);
  }

  onResponseData(controller, chunk) {
    // The whole body at once: head and body leave in one write.
    if (chunk.length === this.expectedLength) this.res.end(chunk);
    else if (!this.res.write(chunk)) this.waitForDrain(controller);
  }

  onResponseEnd() {
    if (!this.res.writableEnded) this.res.end();
  }

  onResponseError() {
    if (this.res.headersSent) this.res.destroy();
    else this.res.writeHead(502).end();
  }

  waitForDrain(controller) {
    controller.pause();
    this.res.once('drain', () => controller.resume());
  }

  clientClosed() {
    if (!this.res.writableFinished) this.controller?.abort(new Error('client closed'));
  }
}

function bodyOf(req) {
  const { headers } = req;
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined
    ? null
    : req;
}

function requestHeaders(req) {
  const { headers } = req;
  const named = headers.connection === undefined ? [] : namedBy(headers.connection);
  const flat = [];
  for (const name in headers) {
    if (name !== 'host' && name !== 'expect' && !isHopByHop(name) && !named.includes(name)) {
      flat.push(name, headers[name]);
    }
  }
  return flat;
}

function responseHeaders(raw, connection) {
  const named = connection === undefined ? [] : namedBy(connection);
  const flat = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].latin1Slice();
    const lowerCase = name.toLowerCase();
    if (!isHopByHop(lowerCase) && !named.includes(lowerCase))
      flat.push(name, raw[i + 1].latin1Slice());
  }
  return flat;
}

function namedBy(connection) {
  if (connection === 'keep-alive') return [];
  return String(connection)
    .toLowerCase()
    .split(',')
    .map((token) => token.trim());
}

function isHopByHop(name) {
  switch (name) {
    case 'connection':
    case 'proxy-connection':
    case 'keep-alive':
    case 'proxy-authenticate':
    case 'proxy-authorization':
    case 'te':
    case 'trailer':
    case 'transfer-encoding':
    case 'upgrade':
    case 'http2-settings':
      return true;
    default:
      return false;
  }
}

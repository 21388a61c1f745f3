import type { IncomingMessage } from 'node:http';
import { isHttp2 } from './answers.js';
import { isProxyError } from './errors.js';

/** The last request on each of these connections that is processed. */
const last = new WeakMap<object, IncomingMessage>();

/**
 * Whatever follows on the connection of a request may be part of it, and is not to be processed: nobody can be sure
 * where it ends (RFC 9112, 9.6). Streams of HTTP/2 are apart from each other.
 */
export function distrustConnection(req: IncomingMessage): void {
  if (!isHttp2(req) && !last.has(req.socket)) last.set(req.socket, req);
}

/** Does so behind an error that closes the connection, and tells whether it is one. */
export function distrustBehind(error: unknown, req: IncomingMessage): boolean {
  const closes = isProxyError(error) && error.headers?.connection === 'close';
  if (closes) distrustConnection(req);
  return closes;
}

/** Whether a request has come behind one that has to be the last. */
export function isDistrusted(req: IncomingMessage): boolean {
  if (isHttp2(req)) return false;
  const before = last.get(req.socket);
  return before !== undefined && before !== req;
}

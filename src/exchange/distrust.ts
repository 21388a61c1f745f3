import type { IncomingMessage } from 'node:http';
import { isHttp2 } from './answers.js';
import { isProxyError } from './errors.js';

const distrusted = new WeakSet<object>();

/**
 * Whatever follows on the connection of a request may be part of it, and is not to be processed: it was
 * refused because nobody can be sure where it ends (RFC 9112, 9.6). Streams of HTTP/2 are apart from each other.
 */
export function distrustConnection(req: IncomingMessage): void {
  if (!isHttp2(req)) distrusted.add(req.socket);
}

/** Does so behind an error that closes the connection, and tells whether it is one. */
export function distrustBehind(error: unknown, req: IncomingMessage): boolean {
  const closes = isProxyError(error) && error.headers?.connection === 'close';
  if (closes) distrustConnection(req);
  return closes;
}

/** Whether a request has come behind one that was refused in that way. */
export function isDistrusted(req: IncomingMessage): boolean {
  return !isHttp2(req) && distrusted.has(req.socket);
}

import type { IncomingMessage } from 'node:http';
import { BadRequestError } from './errors.js';

/** Whether this process is a forward proxy to somebody. */
let servesProxyRequests = false;
const judged = new WeakSet<IncomingMessage>();

/** Says that there is a forward proxy: without one, a request for it is one for an origin, of whatever form. */
export function serveProxyRequests(): void {
  servesProxyRequests = true;
}

/**
 * Whether a request is for a forward proxy: RFC 9110, 11.7.1 has it bring credentials in a field of their own.
 * Origins have to take the absolute form as well (RFC 9112, 3.2.2). CONNECT with a `:protocol` is a WebSocket
 * over HTTP/2 (RFC 8441), for an origin.
 */
export function isForProxy({ method, url = '', headers }: IncomingMessage): boolean {
  if (method === 'CONNECT') return headers[':protocol'] === undefined;
  return servesProxyRequests && url.charCodeAt(0) !== 0x2f && /^https?:\/\//i.test(url);
}

/** Notes that a client was asked who it is as the client of a forward proxy, where it is one. */
export function noteForProxy(req: IncomingMessage): void {
  if (isForProxy(req)) judged.add(req);
}

/**
 * Of what a client of a forward proxy has sent, `Authorization` is for an origin of its choice, and nobody has looked
 * at it. One of our upstreams would take it for looked at.
 *
 * @throws BadRequestError for a request that was let in as one to a forward proxy.
 */
export function refuseForProxy(req: IncomingMessage): void {
  if (servesProxyRequests && judged.has(req)) {
    throw new BadRequestError('The request is for a forward proxy');
  }
}

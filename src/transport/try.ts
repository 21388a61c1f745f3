import type { Attempt } from '../exchange/attempt.js';
import type { ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import type { Connections } from './connections.js';
import type { OutgoingRequest } from './request.js';
import type { TransportSettings } from './settings.js';

/** What is tried, and how. */
export interface Try {
  readonly exchange: Exchange;
  readonly request: OutgoingRequest;
  readonly connections: Connections;
  readonly settings: TransportSettings;
  /** What the one promise of a response is settled by, over all the tries it takes. */
  readonly resolve: (response: UpstreamResponse) => void;
  readonly reject: (error: ProxyError) => void;
  /** Whether a connection was closed under it before: this time, it gets one of its own. */
  readonly again: boolean;
}

/** Notes that a request begins to leave. Of a body in one piece, only what is kept can be sent again now. */
export function noteSent({ exchange, request }: Try, attempt: Attempt): void {
  attempt.sentAt = performance.now();
  const { body, upstream } = request;
  if (!Buffer.isBuffer(body)) return;
  exchange.bytesSent += body.length;
  upstream.bytesSent += body.length;
  if (exchange.unsentUpload === undefined) return;
  exchange.unsentUpload = undefined;
  if (exchange.upload === undefined) return;
  exchange.upload.keep(body);
  exchange.upload.ended = true;
}

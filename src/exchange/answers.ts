import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import type { Exchange } from './exchange.js';

/** Whether a request or an answer is one of HTTP/2's compatibility API. */
export function isHttp2<T extends IncomingMessage | ServerResponse>(
  message: T,
): message is T & { stream: ServerHttp2Stream } {
  return 'stream' in message;
}

/**
 * Whether nothing reaches the client any more. Answers do not say so at once: in HTTP/2 their streams do, and
 * in HTTP/1 their sockets, which close a turn of the event loop after they have been destroyed. An answer that
 * waits behind another one has none of its own yet.
 */
export function isGone(res: ServerResponse): boolean {
  if (res.destroyed || res.closed) return true;
  if (isHttp2(res)) return res.stream.destroyed;
  return (res.socket === null ? res.req.socket : res.socket)?.destroyed === true;
}

/** Whether the client has got all of an answer. HTTP/2 calls one finished that was reset as well. */
export function isAnswered(res: ServerResponse): boolean {
  return res.writableEnded && res.writableFinished;
}

/**
 * Whether a call that is made now could not be of use to anybody: the exchange has ended, or the app has
 * ended the answer itself, which may take its time to leave.
 */
export function isOver({ outcome, res }: Pick<Exchange, 'outcome' | 'res'>): boolean {
  return outcome !== undefined || res.writableEnded;
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';

/** Whether a request or an answer is one of HTTP/2's compatibility API. */
export function isHttp2<T extends IncomingMessage | ServerResponse>(
  message: T,
): message is T & { stream: ServerHttp2Stream } {
  return 'stream' in message;
}

/** Whether nothing reaches the client any more. Answers of HTTP/2 do not say so, their streams do. */
export function isGone(res: ServerResponse): boolean {
  return res.destroyed || res.closed || (isHttp2(res) && res.stream.destroyed);
}

/** Whether the client has got all of an answer. HTTP/2 calls one finished that was reset as well. */
export function isAnswered(res: ServerResponse): boolean {
  return res.writableEnded && res.writableFinished;
}

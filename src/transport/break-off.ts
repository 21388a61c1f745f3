import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { isHttp2 } from '../exchange/answers.js';

/** Breaks the connection in the middle of a body: the one way left to say that it is not whole. */
export function breakOff(res: ServerResponse): void {
  // Without an error, Node closes the stream with NO_ERROR, which some take for its end.
  if (isHttp2(res)) return void res.destroy(new Error('the body is not whole'));
  const { socket } = res;
  const delimited = res.chunkedEncoding || res.hasHeader('content-length');
  // RFC 9112, 8: an orderly end would end a body that has neither length nor chunks. A reset does
  // not; TLS needs none, and has none. A socket that is ending already, Node would lose over it.
  if (!delimited && socket?.remoteFamily && !('encrypted' in socket) && !socket.writableEnded) {
    socket.resetAndDestroy();
  }
  // From Node 24 on, an answer that waits behind another one would leave its connection as it is, and whoever waits.
  if (socket === null) res.once('socket', (own: Socket) => own.destroy());
  res.destroy();
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { isHttp2 } from '../exchange/answers.js';
import { distrustConnection } from '../exchange/distrust.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import { ignore } from '../ignore.js';

/** How much of an upload that nobody wants is read, and how long, so that the client sees its answer. */
const LINGER_BYTES = 1_048_576;
const LINGER_MS = 2_000;

/**
 * An answer that comes before the upload has ended is lost to the client when the connection closes
 * with bytes unread. So the rest is read and dropped, within bounds once the answer is out.
 */
export function lingerOnUpload(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete || !hasUpload(req)) return;
  exchangeOf(req, res).dropsUpload = true;
  const { socket } = req;
  const letGo = holdOpen(req, socket);
  let left = LINGER_BYTES;
  const close = () => {
    if (req.complete) return;
    // RFC 9113, 8.1: this code says that the answer is whole, and that the rest is not wanted.
    if (isHttp2(res)) res.stream.close(constants.NGHTTP2_NO_ERROR);
    else socket.destroy();
  };
  // A reset could overtake the answer: until the time is up, only our side is closed.
  const stop = () => {
    if (isHttp2(res)) return close();
    req.pause();
    distrustConnection(req);
    socket.end();
  };
  const limit = () => {
    // The upload has ended meanwhile, and will not say so again.
    if (req.closed) return letGo();
    const timer = setTimeout(close, LINGER_MS);
    timer.unref();
    const release = () => {
      clearTimeout(timer);
      socket.off('close', release);
      letGo();
    };
    req.once('close', release);
    // Node forgets a request that is answered, and tells it nothing of the end of its connection.
    socket.once('close', release);
    req.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) stop();
    });
  };
  // An answer of HTTP/2 is only called finished once its stream has closed, and that waits for the upload.
  const answer = isHttp2(res) ? res.stream : res;
  if (answer.writableFinished) limit();
  else answer.once('finish', limit);
  req.resume();
}

/**
 * Has an answer that refuses an upload say that it is the last one of its connection, where more is to come than is
 * read behind it. The client may have sent all of that by then, and would go on with its next request.
 */
export function closeBehindUpload({ req, res, bytesSent }: Exchange): void {
  if (req.complete || isHttp2(res)) return;
  if (Number(req.headers['content-length']) - bytesSent > LINGER_BYTES) res.shouldKeepAlive = false;
}

/**
 * Behind the last answer of a connection, Node closes it in both directions. Until it is let go, only ours is
 * closed, so that the client is told that there is no more, and can still be read from.
 */
function holdOpen(req: IncomingMessage, socket: Socket): () => void {
  if (isHttp2(req)) return ignore;
  let isLast = false;
  socket.destroySoon = () => {
    isLast = true;
    // Whatever follows the upload has nobody to answer it.
    distrustConnection(req);
    socket.end();
  };
  return () => {
    Reflect.deleteProperty(socket, 'destroySoon');
    if (isLast) socket.destroySoon();
  };
}

/** Whether a request came with a body: RFC 9112, 6.3 knows it by these two fields alone. */
export function hasUpload(req: IncomingMessage): boolean {
  const length = req.headers['content-length'];
  if (length !== undefined) return Number(length) !== 0;
  if (req.headers['transfer-encoding'] !== undefined) return true;
  // HTTP/2 says with the last frame of the header that nothing follows.
  return isHttp2(req) && !req.stream.endAfterHeaders;
}

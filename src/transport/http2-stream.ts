import { type ClientHttp2Stream, constants } from 'node:http2';
import { Readable } from 'node:stream';

/** What a stream is closed with, by Node as well, when its frames are not what they should be. */
const UNFIT: readonly number[] = [
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
];

/** Whether a stream was closed with this for its frames. */
export function isUnfit(code: number): boolean {
  return UNFIT.includes(code);
}

/**
 * Resets a stream. Node's `close()` ends it in good order first, and half an upload would look whole to
 * the upstream.
 */
export function cancel(stream: ClientHttp2Stream): void {
  // It may have ended with bytes that nobody has read, and would then never close.
  if (stream.closed) return void stream.destroy();
  stream._final = (done) => done();
  stream.close(constants.NGHTTP2_CANCEL);
}

/** Whether all that has come of an upload has been taken by the upstream, and more is to come. */
export function hasTaken(stream: ClientHttp2Stream | undefined, body: unknown): boolean {
  return body instanceof Readable && !body.readableEnded && stream?.writableLength === 0;
}

/**
 * Calls back when the upstream has ended a stream. One that is reset with NO_ERROR in the middle of a
 * body looks to Node's readers as if it had ended, too; but then it is closed before its end comes.
 */
export function onWhole(stream: ClientHttp2Stream, whole: () => void): void {
  const push = stream.push;
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && !stream.closed) whole();
    return push.call(stream, chunk, encoding);
  };
}

import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream';
import { ignore } from '../ignore.js';

/**
 * A body that an app has made, fit to be sent: each of its chunks is text or bytes, and they are as many
 * bytes as its head says. What is not fit fails, where it would be sent wrong or end the process.
 */
export function checkedStream(stream: Readable, length: string | undefined): Readable {
  if (length === undefined && !stream.readableObjectMode) return stream;
  return pipeline(stream, new Check(length === undefined ? undefined : Number(length)), ignore);
}

class Check extends Transform {
  readonly #length: number | undefined;
  #sent = 0;

  constructor(length: number | undefined) {
    super({ writableObjectMode: true });
    this.#length = length;
  }

  override _transform(chunk: unknown, encoding: BufferEncoding, done: TransformCallback): void {
    if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) {
      return done(
        new TypeError(`response.body: a stream must hold text or bytes, it holds ${typeof chunk}`),
      );
    }
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
    this.#sent += bytes.byteLength;
    if (this.#length !== undefined && this.#sent > this.#length) return done(this.#misfit('more'));
    done(null, bytes);
  }

  override _flush(done: TransformCallback): void {
    const isWhole = this.#length === undefined || this.#sent === this.#length;
    done(isWhole ? null : this.#misfit('less'));
  }

  #misfit(what: string): Error {
    return new Error(`response.body: ${what} has come than the Content-Length of ${this.#length}`);
  }
}

import { Readable } from 'node:stream';
import { emptyList } from '../lists.js';

/**
 * A body on its way to whoever reads it, of which a copy is made. While it is copied, it comes as fast as
 * the upstream sends it: others wait for the copy, and must not wait for a slow client.
 */
export class CopiedBody extends Readable {
  readonly #source: Readable;
  readonly #maxBytes: number;
  readonly #done: (body: Buffer | undefined) => void;
  #chunks: Buffer[] | undefined = emptyList();
  #length = 0;
  #begun = false;

  /** `done` gets the copy, or nothing when there is none: it was too long, or did not come to its end. */
  constructor(source: Readable, maxBytes: number, done: (body: Buffer | undefined) => void) {
    super();
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#done = done;
    // It may fail before anybody reads it.
    source.once('error', (error) => this.destroy(error));
    source.once('close', () => {
      if (!source.readableEnded) this.destroy();
    });
  }

  override _read(): void {
    if (!this.#begun) this.#begin();
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#end(undefined);
    this.#source.destroy();
    callback(error);
  }

  #begin(): void {
    this.#begun = true;
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.once('end', () => {
      if (this.#chunks !== undefined) this.#end(this.#copy(this.#chunks));
      this.push(null);
    });
  }

  #take(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > this.#maxBytes) this.#end(undefined);
    this.#chunks?.push(chunk);
    if (!this.push(chunk) && this.#chunks === undefined) this.#source.pause();
  }

  /** In memory of its own: parts of larger buffers would hold on to all of them. */
  #copy(chunks: readonly Buffer[]): Buffer {
    const copy = Buffer.allocUnsafeSlow(this.#length);
    let at = 0;
    for (const chunk of chunks) at += chunk.copy(copy, at);
    return copy;
  }

  #end(body: Buffer | undefined): void {
    if (this.#chunks === undefined) return;
    this.#chunks = undefined;
    this.#done(body);
  }
}

import { Readable } from 'node:stream';
import { emptyList } from '../lists.js';

/** Whether there is room for so many bytes more of a copy. Once there is not, it is given up. */
export type TakeRoom = (bytes: number) => boolean;

/**
 * A body on its way to whoever reads it, of which a copy is made. While it is copied, it comes as fast as
 * the upstream sends it: others wait for the copy, and must not wait for a slow client.
 */
export class CopiedBody extends Readable {
  readonly #source: Readable;
  readonly #take: TakeRoom;
  readonly #done: (body: Buffer | undefined) => void;
  #chunks: Buffer[] | undefined = emptyList();
  #begun = false;

  /** `done` gets the copy, or nothing when there is none: there was no room, or it did not come to its end. */
  constructor(source: Readable, take: TakeRoom, done: (body: Buffer | undefined) => void) {
    super();
    this.#source = source;
    this.#take = take;
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
    this.#source.on('data', (chunk: Buffer) => this.#hand(chunk));
    this.#source.once('end', () => {
      if (this.#chunks !== undefined) this.#end(whole(this.#chunks));
      this.push(null);
    });
  }

  #hand(chunk: Buffer): void {
    if (this.#chunks !== undefined) {
      // Whoever reads it may write into it.
      if (this.#take(chunk.length)) this.#chunks.push(joined([chunk]));
      else this.#end(undefined);
    }
    if (!this.push(chunk) && this.#chunks === undefined) this.#source.pause();
  }

  #end(body: Buffer | undefined): void {
    if (this.#chunks === undefined) return;
    this.#chunks = undefined;
    this.#done(body);
  }
}

function whole(chunks: readonly Buffer[]): Buffer {
  return chunks.length === 1 ? (chunks[0] as Buffer) : joined(chunks);
}

/** In memory of their own: parts of larger buffers would hold on to all of them. */
function joined(chunks: readonly Buffer[]): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(copy, at);
  return copy;
}

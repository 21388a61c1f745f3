import { emptyList } from '../lists.js';

/**
 * What has been read of an upload, kept while it is short enough, so that it can be sent again from
 * its beginning. Nothing waits for it: the body streams past as it comes.
 */
export class KeptUpload {
  #maxBytes: number;
  #chunks: Buffer[] | undefined = emptyList();
  #length = 0;
  /** Whether the client has sent all of it. */
  ended = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Keeps as much as somebody else needs, too, if it is not too late for that. */
  allow(maxBytes: number): void {
    this.#maxBytes = Math.max(this.#maxBytes, maxBytes);
  }

  /** What was read so far; `undefined` when it was too much to keep. */
  get chunks(): readonly Buffer[] | undefined {
    return this.#chunks;
  }

  keep(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > this.#maxBytes) this.#chunks = undefined;
    else this.#chunks?.push(chunk);
  }
}

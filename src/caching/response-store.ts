import type { HeaderOverlay } from '../exchange/header-overlay.js';
import type { StoredResponse } from './stored-response.js';

/** Most answers to one URL that differ by `Vary`: what a client writes must not fill the store. */
const MAX_VARIANTS = 16;

/** Responses in memory, up to so many bytes; what was not used for longest goes first. */
export class ResponseStore {
  readonly maxBytes: number;
  /** By key, in the order of their last use; the newest variant first. */
  readonly #entries = new Map<string, StoredResponse[]>();
  #bytes = 0;
  #size = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many responses there are. */
  get size(): number {
    return this.#size;
  }

  /** The response to a request, fresh or not. */
  find(key: string, headers: HeaderOverlay): StoredResponse | undefined {
    const variants = this.#entries.get(key);
    const found = variants?.find((one) => one.fits(headers));
    if (variants !== undefined && found !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, variants);
    }
    return found;
  }

  /** Keeps a response, in the place of the one that answered such a request before. */
  keep(key: string, response: StoredResponse): void {
    const others = (this.#entries.get(key) ?? []).filter((one) => !one.isLike(response));
    this.delete(key);
    this.#put(key, [response, ...others.slice(0, MAX_VARIANTS - 1)]);
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    for (const one of this.#entries.get(key) ?? []) this.#count(one, -1);
    this.#entries.delete(key);
  }

  /** Drops those that match; says how many. */
  purge(matches: (response: StoredResponse) => boolean): number {
    const before = this.#size;
    for (const [key, variants] of [...this.#entries]) {
      const left = variants.filter((one) => !matches(one));
      if (left.length === variants.length) continue;
      this.delete(key);
      if (left.length > 0) this.#put(key, left);
    }
    return before - this.#size;
  }

  #put(key: string, variants: StoredResponse[]): void {
    this.#entries.set(key, variants);
    for (const one of variants) this.#count(one, 1);
  }

  #count(response: StoredResponse, by: 1 | -1): void {
    this.#size += by;
    this.#bytes += by * response.bytes;
  }
}

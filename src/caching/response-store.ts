import type { HeaderOverlay } from '../exchange/header-overlay.js';
import type { StoredResponse } from './stored-response.js';

/** Most answers to one URL that differ by their key or by `Vary`: what a client writes must not fill the store. */
const MAX_ANSWERS = 32;

/**
 * Responses in memory, up to so many bytes; what was not used for longest goes first. A place is a URL at a
 * host, and what answers it can differ by what else is asked with it, its key.
 */
export class ResponseStore {
  readonly maxBytes: number;
  /** By place, in the order of their last use; the answer last used first. */
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
  find(place: string, key: string, headers: HeaderOverlay): StoredResponse | undefined {
    const answers = this.#entries.get(place);
    const found = answers?.find((one) => one.origin.key === key && one.fits(headers));
    if (answers === undefined || found === undefined) return undefined;
    this.#entries.delete(place);
    this.#entries.set(place, [found, ...without(answers, found)]);
    return found;
  }

  /** Some response to such a request, whatever it varies by. */
  findLike(place: string, key: string): StoredResponse | undefined {
    return this.#entries.get(place)?.find((one) => one.origin.key === key);
  }

  has(place: string, response: StoredResponse): boolean {
    return this.#entries.get(place)?.includes(response) ?? false;
  }

  /** Keeps a response, in the place of the one that answered such a request before; says whether it did. */
  keep(place: string, response: StoredResponse): boolean {
    const before = this.#entries.get(place) ?? [];
    const like = before.find((one) => one.isLike(response));
    // Of two that were under way together, the one that was asked for last counts.
    if (like !== undefined && like.origin.requestedAt > response.origin.requestedAt) return false;
    const others = without(before, like);
    // Nothing would be left.
    const isKept = response.bytes <= this.maxBytes;
    if (isKept) this.#set(place, [response, ...others.slice(0, MAX_ANSWERS - 1)]);
    else this.#set(place, others);
    this.#makeRoom(place);
    return isKept;
  }

  /** Forgets one of the answers to a URL. */
  remove(place: string, response: StoredResponse): void {
    if (!this.has(place, response)) return;
    this.#set(place, without(this.#entries.get(place) ?? [], response));
  }

  /** Forgets all answers to a URL. */
  delete(place: string): void {
    for (const one of this.#entries.get(place) ?? []) this.#count(one, -1);
    this.#entries.delete(place);
  }

  /** Drops those that match; says how many. */
  purge(matches: (response: StoredResponse) => boolean): number {
    const before = this.#size;
    for (const [place, answers] of [...this.#entries]) {
      const left = answers.filter((one) => !matches(one));
      if (left.length < answers.length) this.#set(place, left);
    }
    return before - this.#size;
  }

  /** Forgets what was not used for longest, and of a place the answers that were not only when there is nothing else. */
  #makeRoom(place: string): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.maxBytes) return;
      if (oldest !== place) this.delete(oldest);
    }
    const answers = this.#entries.get(place) ?? [];
    while (this.#bytes > this.maxBytes) this.#count(answers.pop() as StoredResponse, -1);
  }

  #set(place: string, answers: StoredResponse[]): void {
    this.delete(place);
    if (answers.length === 0) return;
    this.#entries.set(place, answers);
    for (const one of answers) this.#count(one, 1);
  }

  #count(response: StoredResponse, by: 1 | -1): void {
    this.#size += by;
    this.#bytes += by * response.bytes;
  }
}

function without(
  answers: readonly StoredResponse[],
  response: StoredResponse | undefined,
): StoredResponse[] {
  return answers.filter((one) => one !== response);
}

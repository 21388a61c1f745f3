import type { Upstream } from '../upstream.js';

/** What a strategy has worked out for a list of candidates. */
export interface Prepared {
  readonly candidates: readonly Upstream[];
}

/** What is kept for one priority. */
interface Place<T> {
  prepared: T;
  /** The latest list that was taken for one with somebody left out. */
  excerpt: readonly Upstream[] | undefined;
}

/**
 * Keeps what a strategy has prepared until the candidates change. A retry chooses once from a list of
 * its own, which leaves out what has been tried, or from what is in reserve: preparing for that, and then
 * again for the whole list, would cost more than the choice is worth.
 */
export class Roster<T extends Prepared> {
  readonly #prepare: (candidates: readonly Upstream[], before: T | undefined) => T;
  readonly #places = new Map<number, Place<T>>();
  #latest: T | undefined = undefined;

  constructor(prepare: (candidates: readonly Upstream[], before: T | undefined) => T) {
    this.#prepare = prepare;
  }

  /** What is prepared for these candidates, or for the longer list that they are taken from. */
  for(candidates: readonly Upstream[]): T {
    if (this.#latest?.candidates === candidates) return this.#latest;
    this.#latest = this.#of(candidates);
    return this.#latest;
  }

  #of(candidates: readonly Upstream[]): T {
    // A pool uses upstreams of one priority at a time.
    const priority = candidates[0]?.priority ?? 0;
    const place = this.#places.get(priority);
    if (place?.prepared.candidates === candidates) return place.prepared;
    // An excerpt that comes a second time has come to stay.
    if (
      place !== undefined &&
      candidates !== place.excerpt &&
      isExcerpt(candidates, place.prepared.candidates)
    ) {
      place.excerpt = candidates;
      return place.prepared;
    }
    this.#forgetRemoved();
    const prepared = this.#prepare(candidates, place?.prepared);
    this.#places.set(priority, { prepared, excerpt: undefined });
    return prepared;
  }

  /** Nobody will ask for these again. */
  #forgetRemoved(): void {
    for (const [priority, { prepared }] of this.#places) {
      const isGone = prepared.candidates.every(({ bars }) => bars.has('draining'));
      if (isGone) this.#places.delete(priority);
    }
  }
}

/** Whether only upstreams are missing that could be chosen as well: they were left out on purpose. */
function isExcerpt(candidates: readonly Upstream[], list: readonly Upstream[]): boolean {
  if (candidates.length >= list.length) return false;
  let found = 0;
  for (const upstream of list) {
    if (candidates[found] === upstream) found += 1;
    else if (!upstream.usable) return false;
  }
  return found === candidates.length;
}

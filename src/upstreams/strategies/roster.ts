import type { Upstream } from '../upstream.js';

/** What a strategy has worked out for a list of candidates. */
export interface Prepared {
  readonly candidates: readonly Upstream[];
}

/**
 * Keeps what a strategy has prepared until the candidates change. A retry chooses once from a list of
 * its own, which leaves out what has been tried: preparing for that, and then again for the whole list,
 * would cost more than the choice is worth.
 */
export class Roster<T extends Prepared> {
  readonly #prepare: (candidates: readonly Upstream[], before: T | undefined) => T;
  #prepared: T | undefined = undefined;
  #excerpt: readonly Upstream[] | undefined = undefined;

  constructor(prepare: (candidates: readonly Upstream[], before: T | undefined) => T) {
    this.#prepare = prepare;
  }

  /** What is prepared for these candidates, or for the longer list that they are taken from. */
  for(candidates: readonly Upstream[]): T {
    const prepared = this.#prepared;
    if (prepared?.candidates === candidates) return prepared;
    // An excerpt that comes a second time has come to stay.
    if (
      prepared !== undefined &&
      candidates !== this.#excerpt &&
      isExcerpt(candidates, prepared.candidates)
    ) {
      this.#excerpt = candidates;
      return prepared;
    }
    this.#excerpt = undefined;
    this.#prepared = this.#prepare(candidates, prepared);
    return this.#prepared;
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

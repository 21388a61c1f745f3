import { known, type NoOptions } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { type Prepared, Roster } from './roster.js';

/** Upstreams looked for in a new list before it is begun anywhere. */
const MAX_LOOKED_FOR = 16;

/** Visits the upstreams in their order, one after the other. */
export function roundRobin(options: NoOptions = {}): Strategy {
  known('roundRobin', options, []);
  const roster = new Roster<Turns>((candidates, before) => new Turns(candidates, before));
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      const turns = roster.for(candidates);
      return turns.candidates === candidates ? turns.next() : turns.nextOf(candidates);
    },
  };
}

/** Whose turn it is. */
class Turns implements Prepared {
  readonly candidates: readonly Upstream[];
  #next = 0;
  /**
   * Turns of retries, by the first upstream that was left out and by how many there were: whoever comes
   * behind one that fails would get all of its load otherwise, or none.
   */
  readonly #retries: WeakMap<Upstream, number[]> = new WeakMap();

  constructor(candidates: readonly Upstream[], before: Turns | undefined) {
    this.candidates = candidates;
    if (before === undefined) return;
    this.#retries = before.#retries;
    this.#next = before.#nextIn(candidates);
  }

  next(): Upstream | undefined {
    if (this.#next >= this.candidates.length) this.#next = 0;
    return this.candidates[this.#next++];
  }

  /** The turn of a retry, among those that are left. It is nobody's turn among all. */
  nextOf(left: readonly Upstream[]): Upstream | undefined {
    const tried = this.candidates.find((upstream, i) => upstream !== left[i]) as Upstream;
    const count = this.candidates.length - left.length;
    const turns = this.#retries.get(tried) ?? [];
    const turn = turns[count] ?? 0;
    turns[count] = turn + 1;
    this.#retries.set(tried, turns);
    return left[turn % left.length];
  }

  /** Where another list goes on: with whoever is next in this one, and is there as well. */
  #nextIn(candidates: readonly Upstream[]): number {
    const { length } = this.candidates;
    for (let i = 0; i < Math.min(length, MAX_LOOKED_FOR); i++) {
      const at = candidates.indexOf(this.candidates[(this.#next + i) % length] as Upstream);
      if (at !== -1) return at;
    }
    return this.#next;
  }
}

import type { Upstream } from '../upstream.js';
import { indexBelow, RANGE, type RandomSource } from './random-source.js';
import type { Prepared } from './roster.js';

/** Draws in vain before every candidate is as good as another. */
const MAX_DRAWS = 16;

/**
 * Draws upstreams at random, each as often as its weight says, at the same cost for any number of them:
 * Walker's alias method. Every upstream has a column of the same width, and gives away what is above
 * its share to one other.
 */
export class Sampler implements Prepared {
  readonly candidates: readonly Upstream[];
  /** How much of its column, of `RANGE`, is an upstream's own; `undefined` when all weigh the same. */
  readonly #own: Uint32Array | undefined;
  /** Whose the rest of the column is. */
  readonly #other: Uint32Array | undefined;

  constructor(candidates: readonly Upstream[]) {
    this.candidates = candidates;
    if (candidates.every(({ weight }) => weight === candidates[0]?.weight)) return;
    const shares = new Float64Array(candidates.length);
    this.#other = new Uint32Array(candidates.length);
    fillColumns(candidates, shares, this.#other);
    this.#own = Uint32Array.from(shares, (share) => Math.round(share * RANGE));
  }

  /** One of `candidates`, which are those it was made for or some of them. */
  draw(candidates: readonly Upstream[], source: RandomSource): Upstream {
    if (candidates === this.candidates) return candidates[this.#index(source)] as Upstream;
    for (let draws = 0; this.#own !== undefined && draws < MAX_DRAWS; draws++) {
      const upstream = this.candidates[this.#index(source)] as Upstream;
      if (candidates.includes(upstream)) return upstream;
    }
    return candidates[indexBelow(candidates.length, source)] as Upstream;
  }

  /** Another one than `one`; there must be another. */
  drawOther(one: Upstream, candidates: readonly Upstream[], source: RandomSource): Upstream {
    for (let draws = 0; draws < MAX_DRAWS; draws++) {
      const other = this.draw(candidates, source);
      if (other !== one) return other;
    }
    const next = candidates.indexOf(one) + 1;
    return candidates[next < candidates.length ? next : 0] as Upstream;
  }

  #index(source: RandomSource): number {
    const column = indexBelow(this.candidates.length, source);
    if (this.#own === undefined || this.#other === undefined) return column;
    return source() < (this.#own[column] as number) ? column : (this.#other[column] as number);
  }
}

function fillColumns(candidates: readonly Upstream[], own: Float64Array, other: Uint32Array): void {
  let total = 0;
  for (const { weight } of candidates) total += weight;
  const small: number[] = [];
  const large: number[] = [];
  for (let i = 0; i < own.length; i++) {
    own[i] = ((candidates[i] as Upstream).weight * own.length) / total;
    ((own[i] as number) < 1 ? small : large).push(i);
  }
  while (small.length > 0 && large.length > 0) {
    const taker = small.pop() as number;
    const giver = large[large.length - 1] as number;
    other[taker] = giver;
    own[giver] = (own[giver] as number) + (own[taker] as number) - 1;
    if ((own[giver] as number) < 1) small.push(large.pop() as number);
  }
  // Only rounding can have left anything: these columns are full.
  for (const i of small) own[i] = 1;
  for (const i of large) own[i] = 1;
}

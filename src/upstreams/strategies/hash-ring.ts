import type { Upstream } from '../upstream.js';
import { mix, murmur3 } from './murmur3.js';
import type { Prepared } from './roster.js';

/** More points than these are never made: the ring is rebuilt when the candidates change. */
const MAX_POINTS = 2 ** 18;

/**
 * Places a key is looked up at; the one closest to an upstream's point counts. Eight of them spread the
 * keys over 16 points an upstream more evenly than one does over 160.
 */
const PROBES = 8;

/** No upstream is gone. */
export const NOBODY: readonly Upstream[] = [];

/** Makes numbers of a row far apart before they are mixed: 2^32 divided by the golden ratio. */
const STEP = 0x9e3779b9;

/**
 * A ring of 2^32 places on which every upstream has points, by the hash of its URL alone. A key belongs
 * to the first point after one of its own places. So an upstream that comes takes over keys from all the
 * others, one that goes leaves its keys to all of them, and no other key moves.
 */
export class HashRing implements Prepared {
  readonly candidates: readonly Upstream[];
  readonly #places: Uint32Array;
  /** Whose the point is: its place among the candidates. */
  readonly #owners: Uint32Array;
  /** Where the points of each arc begin. There are about as many arcs as points. */
  readonly #arcs: Uint32Array;
  readonly #shift: number;

  constructor(candidates: readonly Upstream[], replicas: number) {
    this.candidates = candidates;
    const counts = pointCounts(candidates, replicas);
    const points = counts.reduce((sum, count) => sum + count, 0);
    const bits = Math.max(1, 32 - Math.clz32(points));
    this.#shift = 32 - bits;
    this.#places = new Uint32Array(points);
    this.#owners = new Uint32Array(points);
    this.#arcs = new Uint32Array(2 ** bits + 1);
    this.#fill(counts);
  }

  /**
   * The point of a key; another one, chosen independently, for each further `attempt`. It is the one that
   * there would be if those `gone` had no points.
   */
  pointOf(hash: number, attempt = 0, gone = NOBODY): number {
    let nearest = 0;
    let shortest = Number.POSITIVE_INFINITY;
    for (let probe = attempt * PROBES; probe < (attempt + 1) * PROBES; probe++) {
      const place = mix((hash + Math.imul(probe, STEP)) | 0);
      const first = this.#firstFrom(place);
      const point = gone.length === 0 ? first : this.#pastAll(gone, first);
      const distance = ((this.#places[point] as number) - place) >>> 0;
      if (distance < shortest) {
        shortest = distance;
        nearest = point;
      }
    }
    return nearest;
  }

  /** Whose a point is. */
  ownerOf(point: number): Upstream {
    return this.candidates[this.#owners[point] as number] as Upstream;
  }

  /** How many points there are. */
  get size(): number {
    return this.#places.length;
  }

  #firstFrom(place: number): number {
    const unsigned = place >>> 0;
    let point = this.#arcs[place >>> this.#shift] as number;
    while (point < this.#places.length && (this.#places[point] as number) < unsigned) point += 1;
    return point < this.#places.length ? point : 0;
  }

  /** The next point, from `first` on, of somebody else. */
  #pastAll(gone: readonly Upstream[], first: number): number {
    let point = first;
    while (gone.includes(this.ownerOf(point))) point = point + 1 < this.size ? point + 1 : 0;
    return point;
  }

  /** Sorts the points into their arcs as they are made: hashes are spread evenly, so each gets few. */
  #fill(counts: readonly number[]): void {
    const unsorted = new Uint32Array(this.#places.length);
    const arcs = this.#arcs;
    let made = 0;
    for (let owner = 0; owner < counts.length; owner++) {
      const { url } = this.candidates[owner] as Upstream;
      const start = murmur3(url);
      // Two hashes: of 10,000 upstreams, two may well share one, and then one would get no key.
      const step = murmur3(url, STEP) | 1;
      for (let i = 0; i < (counts[owner] as number); i++) {
        const place = mix((start + Math.imul(i, step)) | 0);
        unsorted[made++] = place;
        increment(arcs, (place >>> this.#shift) + 1);
      }
    }
    for (let arc = 1; arc < arcs.length; arc++) {
      arcs[arc] = (arcs[arc] as number) + (arcs[arc - 1] as number);
    }
    this.#sort(unsorted, counts);
  }

  #sort(unsorted: Uint32Array, counts: readonly number[]): void {
    const filled = new Uint32Array(this.#arcs.length);
    let taken = 0;
    for (let owner = 0; owner < counts.length; owner++) {
      for (let i = 0; i < (counts[owner] as number); i++) {
        const place = unsorted[taken++] as number;
        const arc = place >>> this.#shift;
        const first = this.#arcs[arc] as number;
        this.#insert(first, first + increment(filled, arc), place, owner);
      }
    }
  }

  /** Into the sorted points from `first` to before `end`. */
  #insert(first: number, end: number, place: number, owner: number): void {
    let at = end;
    for (; at > first && (this.#places[at - 1] as number) > place; at--) {
      this.#places[at] = this.#places[at - 1] as number;
      this.#owners[at] = this.#owners[at - 1] as number;
    }
    this.#places[at] = place;
    this.#owners[at] = owner;
  }
}

/**
 * Points by weight. Where the smallest weight would have fewer than `replicas`, all have twice as many, and
 * so on: rounding would make small weights alike. Where there would be too many, half of them, and so on.
 * What is there stays where it is when others are added or taken away in this way, and as long as the
 * smallest weight is the same, nothing of it depends on who comes or goes.
 */
function pointCounts(candidates: readonly Upstream[], replicas: number): number[] {
  let each = replicas;
  const smallest = smallestWeight(candidates);
  while (each * smallest < replicas && each < MAX_POINTS) each *= 2;
  for (;;) {
    const counts = candidates.map(({ weight }) => Math.max(1, Math.round(each * weight)));
    const points = counts.reduce((sum, count) => sum + count, 0);
    if (points <= MAX_POINTS || points === candidates.length) return counts;
    each /= 2;
  }
}

function smallestWeight(candidates: readonly Upstream[]): number {
  let smallest = Number.POSITIVE_INFINITY;
  for (const { weight } of candidates) if (weight > 0 && weight < smallest) smallest = weight;
  return smallest;
}

/** Adds one and gives what was there. */
function increment(counts: Uint32Array, at: number): number {
  const count = counts[at] as number;
  counts[at] = count + 1;
  return count;
}

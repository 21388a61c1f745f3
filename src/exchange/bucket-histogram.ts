import { type AddSample, bound, type Labels } from './exposition.js';

/** Durations counted in buckets with fixed bounds, as Prometheus adds them up over processes. */
export class BucketHistogram {
  readonly #bounds: Float64Array;
  /** One for each bound, and one for what is beyond the last. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` are in seconds, in ascending order; many histograms may share them. */
  constructor(bounds: Float64Array) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Counts a duration. One that a clock has made of nothing counts as none. */
  record(ms: number): void {
    const seconds = ms > 0 ? ms / 1_000 : 0;
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && seconds > (bounds[i] as number)) i++;
    this.#counts[i] = (this.#counts[i] as number) + 1;
    this.#sum += seconds;
  }

  /** Gives its samples. */
  collect(add: AddSample, labels: Labels): void {
    let count = 0;
    this.#counts.forEach((inBucket, i) => {
      count += inBucket;
      const le = this.#bounds[i] ?? Infinity;
      add(count, { ...labels, le: le === Infinity ? '+Inf' : bound(le) }, '_bucket');
    });
    add(this.#sum, labels, '_sum');
    add(count, labels, '_count');
  }
}

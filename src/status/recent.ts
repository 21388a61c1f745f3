import { quantileOf } from '../upstreams/stats.js';

/** What is this old counts for about a third of what it counted for. */
const MEMORY_MS = 5_000;

/** Below this, what has faded counts for nothing. */
const NEGLIGIBLE = 0.01;

/** What happened in about the last five seconds: counts that fade, in constant memory. */
export class Recent {
  #requests = 0;
  #errors = 0;
  #seconds = 0;
  #answers = 0;
  readonly #latency: Float64Array;

  constructor(buckets: number) {
    this.#latency = new Float64Array(buckets);
  }

  /** Lets time go by. */
  fade(elapsedMs: number): void {
    const share = Math.exp(-elapsedMs / MEMORY_MS);
    this.#seconds = this.#seconds * share + elapsedMs / 1_000;
    this.#requests = faded(this.#requests, share);
    this.#errors = faded(this.#errors, share);
    if (this.#answers === 0) return;
    this.#answers = faded(this.#answers, share);
    if (this.#answers === 0) this.#latency.fill(0);
    else for (let i = 0; i < this.#latency.length; i++) (this.#latency[i] as number) *= share;
  }

  /** Counts tries, and how many of them failed. */
  count(requests: number, errors: number): void {
    this.#requests += requests;
    this.#errors += errors;
  }

  /** Counts answers whose time to the head falls into a bucket. */
  answered(bucket: number, answers: number): void {
    (this.#latency[bucket] as number) += answers;
    this.#answers += answers;
  }

  get requestsPerSecond(): number {
    return this.#seconds === 0 ? 0 : this.#requests / this.#seconds;
  }

  get errorsPerSecond(): number {
    return this.#seconds === 0 ? 0 : this.#errors / this.#seconds;
  }

  /** The share that failed. A try that failed late was counted when it began, and may have faded since. */
  get errorRatio(): number {
    return this.#errors === 0 ? 0 : this.#errors / Math.max(this.#requests, this.#errors);
  }

  /** The time to the head of a response, in milliseconds, below which the share `q` lies; `null` without any. */
  quantile(q: number): number | null {
    return this.#answers === 0 ? null : quantileOf(this.#latency, q * this.#answers);
  }
}

function faded(count: number, share: number): number {
  const left = count * share;
  return left < NEGLIGIBLE ? 0 : left;
}

/** Requests this old count for about a third of what they counted for. */
const MEMORY_MS = 10_000;

/**
 * Keeps retries to a share of the recent requests, so that an upstream that is down for everybody is
 * not asked several times by everybody. A few a second are free, for the sake of quiet hours.
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #minPerSecond: number;
  readonly #now: () => number;
  /** Retries that recent requests have paid for. */
  #earned = 0;
  /** Retries that are free at the moment. */
  #free: number;
  #at: number;

  constructor(ratio: number, minPerSecond: number, now: () => number) {
    this.#ratio = ratio;
    this.#minPerSecond = minPerSecond;
    this.#now = now;
    this.#free = minPerSecond;
    this.#at = now();
  }

  /** Counts a request. */
  earn(): void {
    this.#settle();
    this.#earned += this.#ratio;
  }

  /** How many there could be now. */
  get left(): number {
    this.#settle();
    return Math.floor(this.#free) + Math.floor(this.#earned);
  }

  /** Takes one retry out, if there is one. */
  spend(): boolean {
    this.#settle();
    if (this.#free >= 1) {
      this.#free -= 1;
      return true;
    }
    if (this.#earned < 1) return false;
    this.#earned -= 1;
    return true;
  }

  #settle(): void {
    const now = this.#now();
    const elapsed = now - this.#at;
    if (elapsed <= 0) return;
    this.#at = now;
    this.#earned *= Math.exp(-elapsed / MEMORY_MS);
    const refill = (elapsed / 1_000) * this.#minPerSecond;
    this.#free = Math.min(this.#minPerSecond, this.#free + refill);
  }
}

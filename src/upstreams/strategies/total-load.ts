import type { LoadWatcher } from '../load-watcher.js';
import type { Upstream } from '../upstream.js';

/** How many requests are in flight at all candidates together, without counting them each time. */
export class TotalLoad implements LoadWatcher {
  readonly #candidates: readonly Upstream[];
  #inFlight = 0;
  #weight = 0;

  /** One that does not follow knows them as they are at the moment. */
  constructor(candidates: readonly Upstream[], { follows = true } = {}) {
    this.#candidates = candidates;
    for (const upstream of candidates) {
      if (follows) upstream.watch(this);
      this.#inFlight += upstream.inFlight;
      this.#weight += upstream.weight;
    }
  }

  loadChanged(change: number): void {
    this.#inFlight += change;
  }

  /** Whether one more request at an upstream leaves it within `factor` of its share of all of them. */
  hasRoom(upstream: Upstream, factor: number): boolean {
    const share = upstream.weight / this.#weight;
    return upstream.inFlight < Math.ceil(factor * (this.#inFlight + 1) * share);
  }

  /** Lets go of the upstreams. */
  release(): void {
    for (const upstream of this.#candidates) upstream.unwatch(this);
  }
}

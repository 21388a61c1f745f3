import type { Exchange } from '../exchange/exchange.js';
import type { Strategy } from './strategy.js';
import type { Upstream } from './upstream.js';

/** Choices a request may pass by before it takes an upstream that is still starting. */
const MAX_PASSES = 8;

/**
 * Lets the share of new and recovered upstreams grow in a straight line. It stands behind the
 * strategy, whichever that is: a choice that falls on a starting upstream stands with a probability
 * that grows with its age, and is made again otherwise.
 */
export class SlowStart {
  readonly #durationMs: number;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #since = new Map<Upstream, number>();

  constructor(durationMs: number, now: () => number, random: () => number) {
    this.#durationMs = durationMs;
    this.#now = now;
    this.#random = random;
  }

  /** The upstream is new, or may be chosen again. */
  begin(upstream: Upstream): void {
    this.#since.set(upstream, this.#now());
  }

  /** Forgets an upstream that has left the pool. */
  forget(upstream: Upstream): void {
    this.#since.delete(upstream);
  }

  /** The choice that counts, given the strategy's first one. Costs nothing while none is starting. */
  choose(
    first: Upstream,
    candidates: readonly Upstream[],
    exchange: Exchange,
    strategy: Strategy,
  ): Upstream {
    if (this.#since.size === 0) return first;
    let chosen = first;
    let left = candidates;
    for (let passes = 0; passes < MAX_PASSES && !this.#stands(chosen); passes++) {
      const next = strategy.pick(left, exchange);
      if (next === undefined) break;
      if (next === chosen) {
        // A strategy that goes by a key chooses alike each time: it gets the others to choose from.
        left = left.filter((upstream) => upstream !== next);
        chosen = strategy.pick(left, exchange) ?? next;
      } else {
        chosen = next;
      }
    }
    return chosen;
  }

  #stands(upstream: Upstream): boolean {
    const since = this.#since.get(upstream);
    if (since === undefined) return true;
    const age = this.#now() - since;
    if (age >= this.#durationMs) {
      this.#since.delete(upstream);
      return true;
    }
    return this.#random() < age / this.#durationMs;
  }
}

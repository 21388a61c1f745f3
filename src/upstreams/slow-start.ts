import type { Exchange } from '../exchange/exchange.js';
import type { Strategy } from './strategy.js';
import type { Upstream } from './upstream.js';

/** Times that a strategy is asked to choose from all candidates before it gets fewer. */
const MAX_PASSES = 8;
/** Turns that a starting upstream can save up while the strategy has no request for it. */
const MAX_SAVED = 4;

/** How far an upstream has come that is starting. */
interface Start {
  readonly since: number;
  /** The round up to which it has had its turns. */
  turn: number;
}

/**
 * Lets the share of new and recovered upstreams grow in a straight line. It stands behind the strategy,
 * whichever that is: an upstream of age x, of 1, counts for x of its weight, and may be chosen as often as
 * it would have its turn by that. A choice that falls on it more often is made again, from the others in
 * the end. To let a part of the choices stand would not do: where the least busy one is chosen, that is
 * the newcomer each time.
 */
export class SlowStart {
  readonly #durationMs: number;
  readonly #now: () => number;
  readonly #starts = new Map<Upstream, Start>();
  /** Counts choices in rounds; in one, each candidate has as many turns as its weight says. */
  #round = 0;
  /** What one choice is of a round. It is worked out once a round, so that a choice does not cost more in a large pool. */
  #step = 0;
  #candidates: readonly Upstream[] = [];
  #choicesLeft = 0;

  constructor(durationMs: number, now: () => number) {
    this.#durationMs = durationMs;
    this.#now = now;
  }

  /** The upstream is new, or may be chosen again. */
  begin(upstream: Upstream): void {
    this.#starts.set(upstream, { since: this.#now(), turn: this.#round });
    this.#choicesLeft = 0;
  }

  /** Forgets an upstream that has left the pool, or is not to be chosen. */
  forget(upstream: Upstream): void {
    this.#starts.delete(upstream);
  }

  /** The strategy's choice, and nothing but that while none is starting. */
  pick(
    strategy: Strategy,
    candidates: readonly Upstream[],
    exchange: Exchange,
  ): Upstream | undefined {
    const first = strategy.pick(candidates, exchange);
    if (this.#starts.size === 0 || first === undefined) return first;
    this.#goOn(candidates);
    let chosen = first;
    for (let passes = 0; passes < MAX_PASSES; passes++) {
      if (this.#takes(chosen)) return chosen;
      const next = strategy.pick(candidates, exchange);
      if (next === undefined || next === chosen) break;
      chosen = next;
    }
    // A strategy that goes by load or by a key chooses alike each time: it gets the others to choose from.
    const others = candidates.filter((upstream) => this.#hasTurn(upstream));
    const other = others.length > 0 ? strategy.pick(others, exchange) : undefined;
    if (other !== undefined) this.#takes(other);
    return other ?? first;
  }

  #goOn(candidates: readonly Upstream[]): void {
    if (candidates !== this.#candidates || this.#choicesLeft <= 0) {
      let weight = 0;
      for (const upstream of candidates) weight += this.#weightOf(upstream);
      this.#step = weight > 0 ? 1 / weight : 0;
      this.#candidates = candidates;
      this.#choicesLeft = candidates.length;
    }
    this.#choicesLeft -= 1;
    this.#round += this.#step;
  }

  /** Whether a choice of it stands; then it has had a turn. */
  #takes(upstream: Upstream): boolean {
    if (!this.#hasTurn(upstream)) return false;
    const start = this.#starts.get(upstream);
    if (start === undefined) return true;
    const turn = 1 / this.#weightOf(upstream);
    start.turn = Math.max(start.turn, this.#round - MAX_SAVED * turn) + turn;
    return true;
  }

  #hasTurn(upstream: Upstream): boolean {
    const weight = this.#weightOf(upstream);
    const start = this.#starts.get(upstream);
    return start === undefined || (this.#round - start.turn) * weight >= 1;
  }

  /** What it counts for now. One that has started is like any other from then on. */
  #weightOf(upstream: Upstream): number {
    const start = this.#starts.get(upstream);
    if (start === undefined) return upstream.weight;
    const age = (this.#now() - start.since) / this.#durationMs;
    if (age < 1) return upstream.weight * Math.max(age, 0);
    this.#starts.delete(upstream);
    return upstream.weight;
  }
}

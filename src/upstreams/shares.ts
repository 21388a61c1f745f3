import type { Exchange } from '../exchange/exchange.js';
import type { Strategy } from './strategy.js';
import type { Upstream } from './upstream.js';

/** Times that a strategy is asked to choose from all candidates before it gets fewer. */
const MAX_PASSES = 8;
/** Turns that an upstream can save up while the strategy has no request for it. */
const MAX_SAVED = 4;

/** An upstream that gets no more than a share. */
interface Bound {
  /** When it started; `undefined` for one that fails. */
  readonly since: number | undefined;
  /** The round up to which it has had its turns. */
  turn: number;
}

/**
 * Keeps some upstreams to a share. It stands behind the strategy, whichever that is: an upstream may be
 * chosen as often as it would have its turn by its weight, and a choice that falls on it more often is made
 * again, from the others in the end. To let a part of the choices stand would not do: where the least busy
 * one is chosen, that is the newcomer each time, and the one that fails at once.
 *
 * - The share of new and recovered upstreams grows in a straight line: one of age x, of 1, counts for x of
 *   its weight.
 * - One that fails, and cannot be put out since too many are, has the share of its weight and no more.
 */
export class Shares {
  readonly #startMs: number;
  readonly #now: () => number;
  readonly #bounds = new Map<Upstream, Bound>();
  /** Counts choices in rounds; in one, each candidate has as many turns as its weight says. */
  #round = 0;
  /** What one choice is of a round. It is worked out once a round, so that a choice does not cost more in a large pool. */
  #step = 0;
  #candidates: readonly Upstream[] = [];
  #choicesLeft = 0;

  constructor(startMs: number, now: () => number) {
    this.#startMs = startMs;
    this.#now = now;
  }

  /** The upstream is new, or may be chosen again. */
  start(upstream: Upstream): void {
    if (this.#startMs > 0) this.#bind(upstream, this.#now());
  }

  /** The upstream fails, and is in use all the same. */
  limit(upstream: Upstream): void {
    if (!this.#bounds.has(upstream)) this.#bind(upstream, undefined);
  }

  /** It has answered well. */
  unlimit(upstream: Upstream): void {
    const bound = this.#bounds.get(upstream);
    if (bound !== undefined && bound.since === undefined) this.forget(upstream);
  }

  /** Forgets an upstream that has left the pool, or is not to be chosen. */
  forget(upstream: Upstream): void {
    this.#bounds.delete(upstream);
  }

  /** The strategy's choice, and nothing but that while all are free. */
  pick(
    strategy: Strategy,
    candidates: readonly Upstream[],
    exchange: Exchange,
  ): Upstream | undefined {
    const first = strategy.pick(candidates, exchange);
    if (this.#bounds.size === 0 || first === undefined || candidates.length < 2) return first;
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

  #bind(upstream: Upstream, since: number | undefined): void {
    this.#bounds.set(upstream, { since, turn: this.#round });
    this.#choicesLeft = 0;
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
    const bound = this.#bounds.get(upstream);
    if (bound === undefined) return true;
    const turn = 1 / this.#weightOf(upstream);
    bound.turn = Math.max(bound.turn, this.#round - MAX_SAVED * turn) + turn;
    return true;
  }

  #hasTurn(upstream: Upstream): boolean {
    const weight = this.#weightOf(upstream);
    const bound = this.#bounds.get(upstream);
    return bound === undefined || (this.#round - bound.turn) * weight >= 1;
  }

  /** What it counts for now. One that has started is like any other from then on. */
  #weightOf(upstream: Upstream): number {
    const since = this.#bounds.get(upstream)?.since;
    if (since === undefined) return upstream.weight;
    const age = (this.#now() - since) / this.#startMs;
    if (age < 1) return upstream.weight * Math.max(age, 0);
    this.#bounds.delete(upstream);
    return upstream.weight;
  }
}

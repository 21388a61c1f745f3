import { known, type NoOptions } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { Heap, type HeapItem } from './heap.js';
import { type Prepared, Roster } from './roster.js';

/** Turns to pass by for a candidate before the next one in the list is as good. */
const MAX_PASSES = 16;

/**
 * Visits the upstreams in turn, each as often as its weight says, and spreads the visits: weights of
 * 4, 3 and 2 give A B C A B C A B A. What a choice costs depends on how many different weights there
 * are, not on how many upstreams.
 */
export function weightedRoundRobin(options: NoOptions = {}): Strategy {
  known('weightedRoundRobin', options, []);
  const roster = new Roster<Schedule>((candidates, before) => new Schedule(candidates, before));
  let passed = 0;
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      const schedule = roster.for(candidates);
      if (schedule.candidates === candidates) return schedule.next();
      for (let passes = 0; passes < MAX_PASSES; passes++) {
        const upstream = schedule.next();
        if (candidates.includes(upstream)) return upstream;
      }
      passed = (passed + 1) % candidates.length;
      return candidates[passed];
    },
  };
}

/** The upstreams of one weight: they take turns, and all of them once is a round. */
class Rank implements HeapItem {
  readonly weight: number;
  readonly members: Upstream[] = [];
  /** Where the members stand among the candidates. */
  readonly positions: number[] = [];
  slot = 0;
  at = 0;
  round = 0;
  /** When the next visit is due; between 0 and 1, and so on, every member is due `weight` times. */
  due = 0;

  constructor(weight: number) {
    this.weight = weight;
  }

  startFrom(round: number, at: number): void {
    this.round = round;
    this.at = at;
    // A quotient, never a sum: 2/4 and 1/2 must be the same moment for ever.
    this.due = round / this.weight;
  }

  next(): Upstream {
    const upstream = this.members[this.at] as Upstream;
    if (this.at + 1 < this.members.length) this.at += 1;
    else this.startFrom(this.round + 1, 0);
    return upstream;
  }
}

/** Who is due when. */
class Schedule implements Prepared {
  readonly candidates: readonly Upstream[];
  readonly #ranks: Map<number, Rank>;
  readonly #heap: Heap<Rank>;

  constructor(candidates: readonly Upstream[], before: Schedule | undefined) {
    this.candidates = candidates;
    this.#ranks = ranksOf(candidates);
    if (before !== undefined) this.#goOnFrom(before);
    this.#heap = new Heap([...this.#ranks.values()], isBefore);
  }

  next(): Upstream {
    const rank = this.#heap.top as Rank;
    const upstream = rank.next();
    this.#heap.moved(rank);
    return upstream;
  }

  /** Starting afresh at every change would favour those at the head of the list. */
  #goOnFrom(before: Schedule): void {
    const kept = [...this.#ranks.values()].filter(({ weight }) => before.#ranks.has(weight));
    if (kept.length === 0) return;
    const now = before.#heap.top?.due ?? 0;
    for (const rank of this.#ranks.values()) {
      const old = before.#ranks.get(rank.weight);
      if (old === undefined) rank.startFrom(Math.ceil(now * rank.weight), 0);
      else if (old.at < rank.members.length) rank.startFrom(old.round, old.at);
      else rank.startFrom(old.round + 1, 0);
    }
  }
}

function ranksOf(candidates: readonly Upstream[]): Map<number, Rank> {
  const ranks = new Map<number, Rank>();
  for (let i = 0; i < candidates.length; i++) {
    const upstream = candidates[i] as Upstream;
    let rank = ranks.get(upstream.weight);
    if (rank === undefined) {
      rank = new Rank(upstream.weight);
      ranks.set(upstream.weight, rank);
    }
    rank.members.push(upstream);
    rank.positions.push(i);
  }
  return ranks;
}

/** By time; of those due together, whoever has had the fewest turns; then by their place in the list. */
function isBefore(a: Rank, b: Rank): boolean {
  if (a.due !== b.due) return a.due < b.due;
  const turnsOfA = a.round % a.weight;
  const turnsOfB = b.round % b.weight;
  if (turnsOfA !== turnsOfB) return turnsOfA < turnsOfB;
  return (a.positions[a.at] as number) < (b.positions[b.at] as number);
}

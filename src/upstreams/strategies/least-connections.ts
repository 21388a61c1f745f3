import type { Strategy } from '../strategy.js';
import type { LoadWatcher, Upstream } from '../upstream.js';
import { Heap, type HeapItem } from './heap.js';
import { type Prepared, Roster } from './roster.js';

/**
 * Takes the upstream with the fewest requests in flight for its weight, counted from the choice to the
 * end of the answer. Those that are equally busy take turns by weight.
 */
export function leastConnections(): Strategy {
  const roster = new Roster<Loads>((candidates, before) => new Loads(candidates, before));
  let excerpts = 0;
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      const loads = roster.for(candidates);
      if (loads.candidates === candidates) return loads.next();
      excerpts = (excerpts + 1) % candidates.length;
      return leastOf(candidates, excerpts);
    },
  };
}

/** The upstreams in the order of their load, kept up to date as it changes. */
class Loads implements Prepared {
  readonly candidates: readonly Upstream[];
  readonly entries = new Map<Upstream, Entry>();
  readonly #heap: Heap<Entry>;
  #totalWeight = 0;
  /** How far the turns have come: by 1 when each upstream has had as many as it weighs. */
  #clock = 0;

  constructor(candidates: readonly Upstream[], before: Loads | undefined) {
    this.candidates = candidates;
    const known = before?.entries;
    this.#clock = before?.release() ?? 0;
    for (const upstream of candidates) {
      const turn = known?.get(upstream)?.turn ?? this.#clock;
      this.entries.set(upstream, new Entry(upstream, this.entries.size, turn));
      this.#totalWeight += upstream.weight;
    }
    this.#heap = new Heap([...this.entries.values()], isBefore);
    for (const entry of this.entries.values()) entry.follow(this.#heap);
  }

  next(): Upstream {
    const entry = this.#heap.top as Entry;
    entry.turn = Math.max(entry.turn, this.#clock) + 1 / entry.upstream.weight;
    this.#clock += 1 / this.#totalWeight;
    this.#heap.moved(entry);
    return entry.upstream;
  }

  /** Lets go of the upstreams; others take over from here. */
  release(): number {
    for (const entry of this.entries.values()) entry.upstream.unwatch(entry);
    return this.#clock;
  }
}

/** One upstream's place. */
class Entry implements HeapItem, LoadWatcher {
  readonly upstream: Upstream;
  readonly position: number;
  slot = 0;
  load: number;
  /** When its next turn is, among those that are equally busy. */
  turn: number;
  #heap: Heap<Entry> | undefined = undefined;

  constructor(upstream: Upstream, position: number, turn: number) {
    this.upstream = upstream;
    this.position = position;
    this.load = loadOf(upstream);
    this.turn = turn;
  }

  follow(heap: Heap<Entry>): void {
    this.#heap = heap;
    this.upstream.watch(this);
  }

  loadChanged(): void {
    this.load = loadOf(this.upstream);
    this.#heap?.moved(this);
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  if (a.load !== b.load) return a.load < b.load;
  return a.turn < b.turn || (a.turn === b.turn && a.position < b.position);
}

/** The least busy one, found by looking at all; `start` says where, so that equals take turns. */
function leastOf(candidates: readonly Upstream[], start: number): Upstream | undefined {
  let least: Upstream | undefined;
  let leastLoad = Number.POSITIVE_INFINITY;
  for (let i = 0; i < candidates.length; i++) {
    const upstream = candidates[(start + i) % candidates.length] as Upstream;
    const load = loadOf(upstream);
    if (load < leastLoad) {
      least = upstream;
      leastLoad = load;
    }
  }
  return least;
}

function loadOf(upstream: Upstream): number {
  return upstream.inFlight / upstream.weight;
}

import type { LoadWatcher } from '../load-watcher.js';
import type { Upstream } from '../upstream.js';
import { Heap, type HeapItem } from './heap.js';
import type { Prepared } from './roster.js';

/**
 * The upstreams in the order of their requests in flight for their weight, kept up to date as these
 * change. Those of one weight wait in queues, one for each number of requests: a request more or less
 * moves an upstream to the queue beside, at a cost that does not grow with the pool.
 */
export class LoadOrder implements Prepared {
  candidates: readonly Upstream[] = [];
  readonly #entries = new Map<Upstream, Entry>();
  #ranks = new Map<number, Rank>();
  #heap = new Heap<Rank>([], isBefore);
  #totalWeight = 0;
  #picks = 0;

  /** Follows these upstreams from now on, and no others. Those that stay keep their places. */
  update(candidates: readonly Upstream[]): this {
    this.candidates = candidates;
    const wanted = new Set(candidates);
    for (const entry of this.#entries.values()) {
      if (!wanted.has(entry.upstream) || entry.upstream.weight !== entry.rank.weight) {
        this.#remove(entry);
      }
    }
    this.#totalWeight = 0;
    for (const upstream of candidates) {
      this.#totalWeight += upstream.weight;
      if (!this.#entries.has(upstream)) this.#add(upstream);
    }
    this.#ranks = new Map([...this.#ranks].filter(([, rank]) => rank.size > 0));
    this.#heap = new Heap([...this.#ranks.values()], isBefore);
    return this;
  }

  /** The least busy one; of several, the one whose turn it is. */
  next(): Upstream {
    const rank = this.#heap.top as Rank;
    const entry = rank.first();
    rank.wait(this.#totalWeight / (rank.weight * rank.size), this.#picks);
    this.#picks += 1;
    this.moved(entry);
    return entry.upstream;
  }

  /** Puts an entry where it belongs now. */
  moved(entry: Entry): void {
    entry.rank.move(entry);
    this.#heap.moved(entry.rank);
  }

  #add(upstream: Upstream): void {
    const rank = this.#ranks.get(upstream.weight) ?? new Rank(upstream.weight, this.#picks);
    this.#ranks.set(upstream.weight, rank);
    const entry = new Entry(upstream, rank, this);
    this.#entries.set(upstream, entry);
    rank.add(entry);
    upstream.watch(entry);
  }

  #remove(entry: Entry): void {
    entry.upstream.unwatch(entry);
    entry.rank.remove(entry);
    this.#entries.delete(entry.upstream);
  }
}

/** A link of a queue that is closed to a ring; the one that is no entry is its beginning and end. */
class Link {
  previous: Link = this;
  next: Link = this;

  putBefore(link: Link): void {
    this.previous = link.previous;
    this.next = link;
    link.previous.next = this;
    link.previous = this;
  }

  takeOut(): void {
    this.previous.next = this.next;
    this.next.previous = this.previous;
  }
}

/** One upstream's place. */
class Entry extends Link implements LoadWatcher {
  readonly upstream: Upstream;
  readonly rank: Rank;
  readonly #order: LoadOrder;

  constructor(upstream: Upstream, rank: Rank, order: LoadOrder) {
    super();
    this.upstream = upstream;
    this.rank = rank;
    this.#order = order;
  }

  loadChanged(): void {
    this.#order.moved(this);
  }
}

/** The upstreams of one weight. */
class Rank implements HeapItem {
  readonly weight: number;
  slot = 0;
  size = 0;
  /** The fewest requests in flight that one of them has. */
  lowest = 0;
  readonly #queues: Link[] = [];
  /** A plain field would be allocated anew whenever it changes: it is no whole number. */
  readonly #due = new Float64Array(1);

  constructor(weight: number, due: number) {
    this.weight = weight;
    this.#due[0] = due;
  }

  /** When its turn is among ranks that are equally busy, counted in picks. */
  get due(): number {
    return this.#due[0] as number;
  }

  /** Its turn is over; the next one comes after so many picks. */
  wait(picks: number, now: number): void {
    this.#due[0] = Math.max(this.due, now) + picks;
  }

  first(): Entry {
    return this.#queue(this.lowest).next as Entry;
  }

  add(entry: Entry): void {
    const { inFlight } = entry.upstream;
    entry.putBefore(this.#queue(inFlight));
    if (this.size === 0 || inFlight < this.lowest) this.lowest = inFlight;
    this.size += 1;
  }

  move(entry: Entry): void {
    const { inFlight } = entry.upstream;
    entry.takeOut();
    entry.putBefore(this.#queue(inFlight));
    if (inFlight < this.lowest) this.lowest = inFlight;
    else this.#raise();
  }

  remove(entry: Entry): void {
    entry.takeOut();
    this.size -= 1;
    if (this.size > 0) this.#raise();
  }

  /** To the first queue that somebody is in. */
  #raise(): void {
    while (this.#isEmpty(this.lowest)) this.lowest += 1;
  }

  #isEmpty(inFlight: number): boolean {
    const queue = this.#queues[inFlight];
    return queue === undefined || queue.next === queue;
  }

  #queue(inFlight: number): Link {
    let queue = this.#queues[inFlight];
    if (queue === undefined) {
      queue = new Link();
      this.#queues[inFlight] = queue;
    }
    return queue;
  }
}

function isBefore(a: Rank, b: Rank): boolean {
  const loadOfA = a.lowest / a.weight;
  const loadOfB = b.lowest / b.weight;
  return loadOfA < loadOfB || (loadOfA === loadOfB && a.due < b.due);
}

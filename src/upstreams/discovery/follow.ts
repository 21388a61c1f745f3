import { setTimeout as delay } from 'node:timers/promises';
import type { UpstreamInit } from '../upstream.js';
import type { Discovery, DiscoverySink } from './discovery.js';

/** The shortest time between two updates. What comes in between waits, and only the newest counts. */
export const UPDATE_INTERVAL_MS = 20;
/** An update that takes long is followed by a pause that is as many times as long. */
const PAUSE_FACTOR = 4;
/** Lists taken between two updates. A source that has more at hand must not keep the event loop busy. */
const MAX_LISTS = 100;
/** The pause after a failure is random, up to a limit that begins here and doubles to its maximum. */
export const MIN_BACKOFF_MS = 100;
/** The longest pause before a source that failed is followed again. */
export const MAX_BACKOFF_MS = 30_000;

/** What a source has said: a list, as far as one can tell, or why there is none. */
type Said =
  | { readonly type: 'list'; readonly list: readonly UpstreamInit[] }
  | { readonly type: 'failure'; readonly error: unknown };

/**
 * Follows a source until the returned function is called. Whatever the source does, what it said last
 * that was a list of upstreams stands, and it is asked again.
 */
export function follow(
  source: Discovery,
  sink: DiscoverySink,
  random: () => number = Math.random,
): () => void {
  const follower = new Follower(source, sink, random);
  // Whoever starts to follow has yet to listen: a source may fail at the first touch.
  queueMicrotask(() => void follower.run());
  return () => follower.stop();
}

class Follower {
  readonly #source: Discovery;
  readonly #sink: DiscoverySink;
  readonly #random: () => number;
  readonly #stopping = new AbortController();
  #iterator: AsyncIterator<readonly UpstreamInit[]> | undefined = undefined;
  /** What the source will say next, once it has been asked. */
  #next: Promise<Said> | undefined = undefined;
  /** Whether the latest thing heard from this iterator was a failure. */
  #doubted = false;
  /** When the next update may be made, of `performance.now()`. */
  #due = 0;

  constructor(source: Discovery, sink: DiscoverySink, random: () => number) {
    this.#source = source;
    this.#sink = sink;
    this.#random = random;
  }

  async run(): Promise<void> {
    let failures = 0;
    while (!this.#stopped) {
      try {
        const lists = await this.#gather();
        if (this.#stopped) return;
        this.#apply(lists);
        this.#doubted = false;
        failures = 0;
      } catch (error) {
        if (this.#stopped) return;
        this.#doubt();
        this.#sink.failed(error);
        const limit = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** failures++);
        await this.#pause(this.#random() * limit);
      }
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopping.abort();
    this.#release();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** The lists that come until the next update is due, oldest first. The first one is waited for. */
  async #gather(): Promise<(readonly UpstreamInit[])[]> {
    const first = await this.#ask();
    this.#next = undefined;
    if (first.type === 'failure') throw first.error;
    const lists = [first.list];
    const wait = this.#due - performance.now();
    if (wait <= 0) return lists;
    const due = this.#pause(wait);
    while (lists.length < MAX_LISTS) {
      const said = await Promise.race([this.#ask(), due]);
      // A failure stays where it is until these have been applied.
      if (said?.type !== 'list') break;
      this.#next = undefined;
      lists.push(said.list);
    }
    await due;
    return lists;
  }

  /** Applies the newest list that is one. @throws what was wrong with the newest, if anything was. */
  #apply(lists: readonly (readonly UpstreamInit[])[]): void {
    const started = performance.now();
    let refused: { readonly error: unknown } | undefined;
    for (const list of lists.toReversed()) {
      try {
        this.#sink.update(list);
        break;
      } catch (error) {
        refused ??= { error };
      }
    }
    const ended = performance.now();
    this.#due = ended + Math.max(UPDATE_INTERVAL_MS, PAUSE_FACTOR * (ended - started));
    if (refused !== undefined) throw refused.error;
  }

  /** Asks the source, unless it still owes an answer. Never rejects: an answer may wait to be heard. */
  #ask(): Promise<Said> {
    this.#next ??= this.#hear().catch((error: unknown) => ({ type: 'failure', error }));
    return this.#next;
  }

  async #hear(): Promise<Said> {
    this.#iterator ??= this.#source[Symbol.asyncIterator]();
    const iterator = this.#iterator;
    const { done, value } = await iterator.next();
    if (!done) return { type: 'list', list: value };
    const left = iterator !== this.#iterator;
    if (!left) this.#iterator = undefined;
    if (left || !this.#doubted) throw new Error('The source of upstreams has ended');
    // Generators end when they throw: that has been told, and waited for.
    this.#doubted = false;
    return this.#hear();
  }

  /** An iterator may go on after one failure; after two in a row it is left for a new one. */
  #doubt(): void {
    if (this.#doubted) this.#release();
    this.#doubted = this.#iterator !== undefined;
  }

  /** Leaves the iterator. One that waits for something may never answer, so nobody waits for it. */
  #release(): void {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    this.#next = undefined;
    void (async () => iterator?.return?.())().catch(() => {});
  }

  /** Waits, without keeping the process alive. */
  async #pause(ms: number): Promise<undefined> {
    await delay(Math.ceil(ms), undefined, { ref: false, signal: this.#stopping.signal }).catch(
      () => {},
    );
  }
}

import type { Discovery } from 'headrace';
import type { DiscoverySink } from '../../src/upstreams/discovery/discovery.js';

/** A source that says what a test tells it to. */
export interface PushSource extends Discovery {
  /** Says something to whoever follows, sooner or later: a list, or what should be none. */
  push(...values: unknown[]): void;
  /** Fails once; the iterator goes on. */
  fail(error: unknown): void;
  /** How many iterators were made, and how many of them were left. */
  readonly opened: number;
  readonly returned: number;
}

export function pushSource(): PushSource {
  const said: (() => unknown)[] = [];
  let waiting: (() => void) | undefined;
  const say = (what: () => unknown) => {
    said.push(what);
    waiting?.();
  };
  const source = {
    opened: 0,
    returned: 0,
    push: (...values: unknown[]) => {
      for (const value of values) say(() => value);
    },
    fail: (error: unknown) =>
      say(() => {
        throw error;
      }),
    [Symbol.asyncIterator]() {
      source.opened += 1;
      return {
        async next() {
          while (said.length === 0) {
            await new Promise<void>((resolve) => {
              waiting = resolve;
            });
          }
          return { done: false, value: said.shift()?.() } as IteratorResult<[]>;
        },
        // As with a generator that waits for something, nobody hears that it is left.
        return() {
          source.returned += 1;
          return new Promise<never>(() => {});
        },
      };
    },
  };
  return source;
}

/** A source that is a generator, begun anew for each follower and after each failure. */
export function generated(generate: () => AsyncGenerator<unknown>): Discovery {
  return { [Symbol.asyncIterator]: generate } as Discovery;
}

/** What a sink was told, in order. */
export interface RecordingSink extends DiscoverySink {
  readonly updates: unknown[];
  readonly failures: unknown[];
  /** Both, failures as the text of their errors. */
  readonly log: unknown[];
}

/** A sink that takes arrays and nothing else. */
export function recordingSink(): RecordingSink {
  const sink: RecordingSink = {
    updates: [],
    failures: [],
    log: [],
    update(list) {
      if (!Array.isArray(list)) throw new TypeError('no list');
      sink.updates.push(list);
      sink.log.push(list);
    },
    failed(error) {
      sink.failures.push(error);
      sink.log.push(String(error));
    },
  };
  return sink;
}

import type { UpstreamInit } from '../upstream.js';

/** A source of upstreams: yields the whole list each time it changes. Any async iterable will do. */
export type Discovery = AsyncIterable<readonly UpstreamInit[]>;

/** Who is told what a source says: a pool. */
export interface DiscoverySink {
  /** The list has changed. Throws when it is not a list of upstreams. */
  update(list: readonly UpstreamInit[]): void;
  /** The source failed, ended or yielded garbage; the last good list stands, and it is tried again. */
  failed(error: unknown): void;
}

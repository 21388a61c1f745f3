import type { Discovery, DiscoverySink } from './discovery.js';

/** Follows a source until the returned function is called. */
export function follow(source: Discovery, sink: DiscoverySink): () => void {
  let stopped = false;
  void (async () => {
    for await (const list of source) {
      if (stopped) return;
      sink.update(list);
    }
  })();
  return () => {
    stopped = true;
  };
}

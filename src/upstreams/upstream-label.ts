import type { Upstream } from './upstream.js';

/** How an upstream is called where many may read it: its query, which may hold a key, is left out. */
export function upstreamLabel({ url, query }: Upstream): string {
  return query === '' ? url : url.slice(0, -query.length - 1);
}

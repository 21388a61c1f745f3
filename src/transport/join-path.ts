import type { Upstream } from '../upstreams/upstream.js';

/** An upstream's base path and query before those of a path, joined as text with one slash. */
export function joinPath({ basePath, query }: Upstream, path: string): string {
  if (query === '') return basePath + path;
  const mark = path.indexOf('?');
  if (mark === -1) return `${basePath}${path}?${query}`;
  const own = path.slice(mark + 1);
  return `${basePath}${path.slice(0, mark)}?${query}${own && `&${own}`}`;
}

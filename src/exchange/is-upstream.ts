import type { Upstream } from '../upstreams/upstream.js';

/** Not by its class: an ES module and a CommonJS copy of it can meet in one process. */
export function isUpstream(value: unknown): value is Upstream {
  return typeof value === 'object' && value !== null && 'noteAnswer' in value;
}

import type { UpstreamPool } from './pool.js';

/** Whether what is given for upstreams is a pool that has been made, be it by another copy of this package. */
export function isPool(value: unknown): value is UpstreamPool {
  return typeof value === 'object' && value !== null && 'pick' in value;
}

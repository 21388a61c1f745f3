import type { Strategy } from '../strategy.js';

/** Visits the upstreams in their order, one after the other. */
export function roundRobin(): Strategy {
  let next = 0;
  return {
    pick(candidates) {
      if (next >= candidates.length) next = 0;
      return candidates[next++];
    },
  };
}

import { known, type NoOptions } from '../../options.js';
import type { Strategy } from '../strategy.js';

/** Visits the upstreams in their order, one after the other. */
export function roundRobin(options: NoOptions = {}): Strategy {
  known('roundRobin', options, []);
  let next = 0;
  return {
    pick(candidates) {
      if (next >= candidates.length) next = 0;
      return candidates[next++];
    },
  };
}

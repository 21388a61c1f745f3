import { known, type NoOptions } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { LoadOrder } from './load-order.js';
import { Roster } from './roster.js';

/**
 * Takes the upstream with the fewest requests in flight for its weight, counted from the choice to the
 * end of the answer. Those that are equally busy take turns by weight.
 */
export function leastConnections(options: NoOptions = {}): Strategy {
  known('leastConnections', options, []);
  const roster = new Roster<LoadOrder>((candidates, before = new LoadOrder()) =>
    before.update(candidates),
  );
  let excerpts = 0;
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      const order = roster.for(candidates);
      if (order.candidates === candidates) return order.next();
      excerpts = (excerpts + 1) % candidates.length;
      return leastOf(candidates, excerpts);
    },
  };
}

/** The least busy one, found by looking at all; `start` says where, so that equals take turns. */
function leastOf(candidates: readonly Upstream[], start: number): Upstream | undefined {
  let least: Upstream | undefined;
  let leastLoad = Number.POSITIVE_INFINITY;
  for (let i = 0; i < candidates.length; i++) {
    const upstream = candidates[(start + i) % candidates.length] as Upstream;
    const load = upstream.inFlight / upstream.weight;
    if (load < leastLoad) {
      least = upstream;
      leastLoad = load;
    }
  }
  return least;
}

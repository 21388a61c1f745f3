import { callable, known } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { randomSource } from './random-source.js';
import { Roster } from './roster.js';
import { Sampler } from './sampler.js';

/** Options for {@link powerOfTwo}. */
export interface PowerOfTwoOptions {
  /**
   * Numbers from 0 to 1; for tests.
   *
   * @default a generator seeded by `Math.random`
   */
  readonly random?: (() => number) | undefined;
}

/**
 * Draws two upstreams at random, by weight, and takes the one that has fewer requests in flight for its
 * weight. Several gateways that do so do not run after the same upstream.
 */
export function powerOfTwo(options: PowerOfTwoOptions = {}): Strategy {
  const { random } = known('powerOfTwo', options, ['random']);
  if (random !== undefined) callable('powerOfTwo: random', random);
  const source = randomSource(random);

  const roster = new Roster((candidates) => new Sampler(candidates));
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      const sampler = roster.for(candidates);
      const one = sampler.draw(candidates, source);
      const other = sampler.drawOther(one, candidates, source);
      return loadOf(other) < loadOf(one) ? other : one;
    },
  };
}

function loadOf(upstream: Upstream): number {
  return upstream.inFlight / upstream.weight;
}

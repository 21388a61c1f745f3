import { callable, known } from '../../options.js';
import type { Strategy } from '../strategy.js';
import { randomSource } from './random-source.js';
import { Roster } from './roster.js';
import { Sampler } from './sampler.js';

/** Options for {@link random}. */
export interface RandomOptions {
  /**
   * Numbers from 0 to 1; for tests.
   *
   * @default a generator seeded by `Math.random`
   */
  readonly random?: (() => number) | undefined;
}

/** Chooses at random, each upstream as often as its weight says. */
export function random(options: RandomOptions = {}): Strategy {
  const { random: given } = known('random', options, ['random']);
  if (given !== undefined) callable('random: random', given);
  const source = randomSource(given);

  const roster = new Roster((candidates) => new Sampler(candidates));
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      return roster.for(candidates).draw(candidates, source);
    },
  };
}

import { callable, known } from '../../options.js';
import type { Strategy } from '../strategy.js';
import { Roster } from './roster.js';
import { Sampler } from './sampler.js';

/** Options for {@link random}. */
export interface RandomOptions {
  /**
   * Numbers from 0 to 1; for tests.
   *
   * @default Math.random
   */
  readonly random?: (() => number) | undefined;
}

/** Chooses at random, each upstream as often as its weight says. */
export function random(options: RandomOptions = {}): Strategy {
  const { random: source = Math.random } = known('random', options, ['random']);
  callable('random: random', source);

  const roster = new Roster((candidates) => new Sampler(candidates));
  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      return roster.for(candidates).draw(candidates, source);
    },
  };
}

import type { Strategy } from '../strategy.js';
import { roundRobin } from './round-robin.js';

const byName = {
  'round-robin': roundRobin,
} as const satisfies Readonly<Record<string, () => Strategy>>;

/** The strategies that go by a name. */
export type StrategyName = keyof typeof byName;

/** Their names, for messages. */
export const strategyNames = Object.keys(byName) as StrategyName[];

/** A strategy of its own for whoever names one. */
export function strategyNamed(name: StrategyName): Strategy {
  return byName[name]();
}

import type { Strategy } from '../strategy.js';
import { consistentHash } from './consistent-hash.js';
import { ipHash } from './ip-hash.js';
import { leastConnections } from './least-connections.js';
import { peakEwma } from './peak-ewma.js';
import { powerOfTwo } from './power-of-two.js';
import { random } from './random.js';
import { roundRobin } from './round-robin.js';
import { weightedRoundRobin } from './weighted-round-robin.js';

const byName = {
  'round-robin': roundRobin,
  'weighted-round-robin': weightedRoundRobin,
  random,
  'least-connections': leastConnections,
  'power-of-two': powerOfTwo,
  'peak-ewma': peakEwma,
  'consistent-hash': consistentHash,
  'ip-hash': ipHash,
} as const satisfies Readonly<Record<string, () => Strategy>>;

/** The strategies that go by a name. */
export type StrategyName = keyof typeof byName;

/** Their names, for messages. */
export const strategyNames = Object.keys(byName) as StrategyName[];

/** A strategy of its own for whoever names one. */
export function strategyNamed(name: StrategyName): Strategy {
  return byName[name]();
}

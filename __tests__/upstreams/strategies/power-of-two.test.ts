import { describe, expect, it } from '@jest/globals';
import { powerOfTwo } from '../../../src/upstreams/strategies/power-of-two.js';
import { random } from '../../../src/upstreams/strategies/random.js';
import type { Strategy } from '../../../src/upstreams/strategy.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import {
  chiSquared,
  exchangeWith,
  manyUpstreams,
  picks,
  seeded,
  shares,
  upstreamsOf,
} from '../../helpers/upstreams.js';

describe('powerOfTwo', () => {
  it('takes the less loaded of the two it draws', () => {
    const strategy = powerOfTwo({ random: sequence(0.1, 0.9, 0.1, 0.9) });
    const candidates = upstreamsOf(1, 1, 1);
    (candidates[0] as Upstream).inFlight = 2;
    expect(picks(strategy, candidates, 1)).toBe('C');
    (candidates[2] as Upstream).inFlight = 3;
    expect(picks(strategy, candidates, 1)).toBe('A');
  });

  it('never takes the busiest one', () => {
    const candidates = upstreamsOf(1, 1, 1, 1);
    (candidates[1] as Upstream).inFlight = 1;
    const counts = shares(powerOfTwo({ random: seeded(1) }), candidates, 30_000);
    expect(counts[1]).toBe(0);
    expect(chiSquared([counts[0], counts[2], counts[3]] as number[], [1, 1, 1])).toBeLessThan(13.8);
  });

  it('goes by requests in flight for the weight', () => {
    const candidates = upstreamsOf(4, 1);
    (candidates[0] as Upstream).inFlight = 3;
    (candidates[1] as Upstream).inFlight = 1;
    expect(shares(powerOfTwo({ random: seeded(2) }), candidates, 100)).toEqual([100, 0]);
  });

  it('honours weights while nothing is in flight', () => {
    const candidates = manyUpstreams(200, (i) => (i < 100 ? 3 : 1));
    const counts = shares(powerOfTwo({ random: seeded(3) }), candidates, 100_000);
    const heavy = counts.slice(0, 100).reduce((sum, count) => sum + count, 0);
    expect(heavy / 100_000).toBeCloseTo(0.75, 2);
  });

  it('leaves the fullest of 1,000 upstreams far less full than chance does', () => {
    const two = fullest(powerOfTwo({ random: seeded(4) }));
    const one = fullest(random({ random: seeded(4) }));
    // Theory for as many requests as upstreams: log log n against log n / log log n.
    expect(two).toBeLessThanOrEqual(4);
    expect(one).toBeGreaterThanOrEqual(5);
  });

  it('finds a second one however little it weighs', () => {
    const candidates = upstreamsOf(1_000_000, 1);
    (candidates[0] as Upstream).inFlight = 5_000_000;
    expect(shares(powerOfTwo({ random: seeded(5) }), candidates, 10)).toEqual([0, 10]);
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(powerOfTwo(), [], 1)).toBe('-');
  });

  it('refuses a source that is no function', () => {
    expect(() => powerOfTwo({ random: 4 as never })).toThrow(
      new TypeError('powerOfTwo: random must be a function, received 4'),
    );
  });
});

/** The most requests one of 1,000 upstreams has when 1,000 were given out. */
function fullest(strategy: Strategy): number {
  const candidates = manyUpstreams(1_000);
  for (let i = 0; i < 1_000; i++) {
    const upstream = strategy.pick(candidates, exchangeWith()) as Upstream;
    upstream.inFlight += 1;
  }
  return Math.max(...candidates.map(({ inFlight }) => inFlight));
}

function sequence(...values: number[]): () => number {
  return () => values.shift() as number;
}

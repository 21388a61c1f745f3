import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { random } from '../../../src/upstreams/strategies/random.js';
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

describe('random', () => {
  it('chooses as often as the weights say', () => {
    const weights = [1, 2, 3, 4, 0.5];
    const counts = shares(random({ random: seeded(1) }), upstreamsOf(...weights), 105_000);
    // 4 degrees of freedom: more than 18.5 comes by chance once in 1,000 seeds.
    expect(chiSquared(counts, weights)).toBeLessThan(18.5);
  });

  it('chooses evenly when all weigh the same', () => {
    const counts = shares(random({ random: seeded(2) }), manyUpstreams(1_000), 200_000);
    // 999 degrees of freedom: mean 999, standard deviation 44.7.
    expect(
      chiSquared(
        counts,
        counts.map(() => 1),
      ),
    ).toBeLessThan(1_142);
  });

  it('honours weights among very many', () => {
    const candidates = manyUpstreams(10_000, (i) => (i % 10 === 0 ? 11 : 1));
    const counts = shares(random({ random: seeded(3) }), candidates, 200_000);
    const heavy = counts.reduce((sum, count, i) => (i % 10 === 0 ? sum + count : sum), 0);
    expect(heavy / 200_000).toBeCloseTo(0.55, 2);
  });

  it('goes by new weights from the next pick on', () => {
    const strategy = random({ random: seeded(4) });
    const candidates = upstreamsOf(1, 1);
    shares(strategy, candidates, 10);
    (candidates[0] as Upstream).weight = 9;
    expect((shares(strategy, [...candidates], 50_000)[0] as number) / 50_000).toBeCloseTo(0.9, 2);
  });

  it('never chooses what a retry leaves out', () => {
    const weightLists = fc.array(fc.integer({ min: 1, max: 1_000 }), {
      minLength: 3,
      maxLength: 9,
    });
    fc.assert(
      fc.property(weightLists, fc.nat(), fc.nat(), (weights, seed, out) => {
        const strategy = random({ random: seeded(seed) });
        const candidates = upstreamsOf(...weights);
        picks(strategy, candidates, 1);
        const others = candidates.filter((_, i) => i !== out % candidates.length);
        expect(others).toContain(strategy.pick(others, exchangeWith()));
      }),
    );
  });

  it.each([0, 0.5, 1])('stays in the list when its source always gives %p', (value) => {
    for (const candidates of [upstreamsOf(1, 1, 1), upstreamsOf(1, 2, 3)]) {
      expect(picks(random({ random: () => value }), candidates, 1)).toMatch(/[ABC]/);
    }
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(random(), [], 1)).toBe('-');
  });

  it('refuses a source that is no function', () => {
    expect(() => random({ random: 4 as never })).toThrow(
      new TypeError('random: random must be a function, received 4'),
    );
  });
});

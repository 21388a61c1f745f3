import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { weightedRoundRobin } from '../../../src/upstreams/strategies/weighted-round-robin.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import { manyUpstreams, picks, shares, upstreamsOf } from '../../helpers/upstreams.js';

describe('weightedRoundRobin', () => {
  it('spreads weights of 4, 3 and 2 as A B C A B C A B A, again and again', () => {
    const strategy = weightedRoundRobin();
    const candidates = upstreamsOf(4, 3, 2);
    for (let cycle = 0; cycle < 1_000; cycle++) {
      expect(picks(strategy, candidates, 9)).toBe('A B C A B C A B A');
    }
  });

  it.each([
    ['equal weights in their order', [1, 1, 1], 'A B C A B C'],
    ['the lighter ones first as well, when they come first', [2, 3, 4], 'A B C C B A C B C'],
    ['a heavy one between the others', [1, 6, 1], 'A B C B B B B B'],
    ['two groups of the same weight', [2, 1, 2, 1], 'A B C D A C'],
    ['weights that are no whole numbers', [0.5, 1.5], 'A B B B A B B B'],
  ])('visits %s', (_, weights, sequence) => {
    const candidates = upstreamsOf(...weights);
    const count = sequence.split(' ').length;
    expect(picks(weightedRoundRobin(), candidates, count)).toBe(sequence);
  });

  it('gives everyone exactly its weight in every cycle, whatever the weights', () => {
    const weightLists = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(weightLists, (weights) => {
        const strategy = weightedRoundRobin();
        const candidates = upstreamsOf(...weights);
        const cycle = weights.reduce((sum, weight) => sum + weight, 0);
        for (let i = 0; i < 3; i++) expect(shares(strategy, candidates, cycle)).toEqual(weights);
      }),
    );
  });

  it('never lets an upstream wait for more than a round of everybody’s turns', () => {
    const candidates = upstreamsOf(7, 5, 3, 2, 1);
    const visits = picks(weightedRoundRobin(), candidates, 18 * 4).split(' ');
    candidates.forEach(({ weight }, i) => {
      const name = String.fromCharCode(65 + i);
      const at = visits.flatMap((visit, position) => (visit === name ? [position] : []));
      const gaps = at.slice(1).map((position, k) => position - (at[k] as number));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(18 / weight + candidates.length);
    });
  });

  it('goes by new weights from the next pick on', () => {
    const strategy = weightedRoundRobin();
    const candidates = upstreamsOf(4, 3, 2);
    picks(strategy, candidates, 4);
    [1, 5, 3].forEach((weight, i) => {
      (candidates[i] as Upstream).weight = weight;
    });
    expect(shares(strategy, [...candidates], 9)).toEqual([1, 5, 3]);
  });

  it('goes on where it was when an upstream leaves or comes', () => {
    const strategy = weightedRoundRobin();
    const all = upstreamsOf(1, 1, 1, 1, 1, 1);
    expect(picks(strategy, all, 4)).toBe('A B C D');
    all[5]?.bar('ejected');
    expect(picks(strategy, all.slice(0, 5), 2)).toBe('E A');
    all[5]?.lift('ejected');
    expect(picks(strategy, [...all], 5)).toBe('B C D E F');
  });

  it('favours nobody when the list changes all the time', () => {
    const strategy = weightedRoundRobin();
    const candidates = manyUpstreams(100);
    const taken = Array.from({ length: 100 }, () => 0);
    for (let change = 0; change < 1_000; change++) {
      shares(strategy, [...candidates], 3).forEach((count, i) => {
        taken[i] = (taken[i] ?? 0) + count;
      });
    }
    expect(new Set(taken)).toEqual(new Set([30]));
  });

  it('serves a retry from the others without losing its place', () => {
    const strategy = weightedRoundRobin();
    const candidates = upstreamsOf(1, 1, 1, 1);
    const [a, b, , d] = candidates as [Upstream, Upstream, Upstream, Upstream];
    expect(picks(strategy, candidates, 2)).toBe('A B');
    expect(picks(strategy, [a, b, d], 1)).toBe('D');
    expect(picks(strategy, candidates, 4)).toBe('A B C D');
  });

  it('finds another one for a retry of an upstream that outweighs all', () => {
    const strategy = weightedRoundRobin();
    const candidates = upstreamsOf(1_000, 1, 1);
    picks(strategy, candidates, 3);
    const retried = new Set(
      Array.from({ length: 4 }, () => picks(strategy, candidates.slice(1), 1)),
    );
    expect([...retried].sort()).toEqual(['B', 'C']);
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(weightedRoundRobin(), [], 1)).toBe('-');
  });
});

import { describe, expect, it } from '@jest/globals';
import { roundRobin } from '../../../src/upstreams/strategies/round-robin.js';
import { picks, upstreamsOf } from '../../helpers/upstreams.js';

describe('roundRobin', () => {
  it('visits the upstreams in order, whatever their weights', () => {
    expect(picks(roundRobin(), upstreamsOf(1, 5, 2), 7)).toBe('A B C A B C A');
  });

  it('goes on where it was when the list grows or shrinks', () => {
    const strategy = roundRobin();
    const all = upstreamsOf(1, 1, 1, 1);
    expect(picks(strategy, all, 2)).toBe('A B');
    expect(picks(strategy, all.slice(0, 3), 2)).toBe('C A');
    expect(picks(strategy, all, 4)).toBe('B C D A');
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(roundRobin(), [], 1)).toBe('-');
  });
});

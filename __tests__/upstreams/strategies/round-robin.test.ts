import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Exchange, roundRobin, Upstream } from 'headrace';
import { picks, upstreamsOf } from '../../helpers/upstreams.js';

/** Round robin does not look at the exchange. */
const exchange = undefined as unknown as Exchange;
const upstreams = Array.from({ length: 9 }, (_, i) => new Upstream(`http://host-${i}`));

describe('roundRobin', () => {
  it('visits the upstreams in their order, one after the other', () => {
    const strategy = roundRobin();
    const picks = Array.from({ length: 5 }, () => strategy.pick(upstreams.slice(0, 3), exchange));
    expect(picks).toEqual([0, 1, 2, 0, 1].map((i) => upstreams[i]));
  });

  it('counts for itself', () => {
    const [one, other] = [roundRobin(), roundRobin()];
    one.pick(upstreams, exchange);
    expect(other.pick(upstreams, exchange)).toBe(upstreams[0]);
  });

  it('picks nothing from nothing', () => {
    expect(roundRobin().pick([], exchange)).toBeUndefined();
  });

  it('visits each as often as any other, within one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat({ max: 50 }), (size, calls) => {
        const strategy = roundRobin();
        const counts = new Map<Upstream | undefined, number>();
        for (let i = 0; i < calls; i++) {
          const picked = strategy.pick(upstreams.slice(0, size), exchange);
          counts.set(picked, (counts.get(picked) ?? 0) + 1);
        }
        const all = upstreams.slice(0, size).map((upstream) => counts.get(upstream) ?? 0);
        expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('always picks one of the candidates while their number changes', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 20 });
    fc.assert(
      fc.property(sizes, (sizes) => {
        const strategy = roundRobin();
        for (const size of sizes) {
          const candidates = upstreams.slice(0, size);
          expect(candidates).toContain(strategy.pick(candidates, exchange));
        }
      }),
    );
  });
});

describe('roundRobin, over lists that change', () => {
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

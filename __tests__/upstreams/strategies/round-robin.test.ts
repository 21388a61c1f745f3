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
    all[3]?.bar('held');
    expect(picks(strategy, all.slice(0, 3), 2)).toBe('C A');
    all[3]?.lift('held');
    expect(picks(strategy, all, 4)).toBe('B C D A');
  });

  it('passes nobody by when one whose turn has been goes', () => {
    const strategy = roundRobin();
    const all = upstreamsOf(1, 1, 1, 1);
    expect(picks(strategy, all, 2)).toBe('A B');
    all[0]?.bar('ejected');
    expect(picks(strategy, all.slice(1), 4)).toBe('C D B C');
    expect(picks(strategy, all, 2)).toBe('D A');
  });

  it('goes on somewhere when all are others, or only one is left for a while', () => {
    const strategy = roundRobin();
    const all = upstreamsOf(1, 1, 1, 1, 1, 1);
    expect(picks(strategy, all.slice(0, 3), 2)).toBe('A B');
    for (const upstream of all.slice(0, 3)) upstream.bar('draining');
    expect(picks(strategy, all.slice(3), 3)).toBe('F D E');
    expect(picks(strategy, all.slice(5), 2)).toBe('F F');
    expect(picks(strategy, all.slice(3), 3)).toBe('F D E');
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(roundRobin(), [], 1)).toBe('-');
  });
});

describe('roundRobin, for retries', () => {
  /** How often each is asked, when some always fail and each request is sent until it succeeds; `atOnce` of them at a time. */
  function asked(size: number, failing: readonly number[], atOnce: number): number[] {
    const strategy = roundRobin();
    const all = upstreams.slice(0, size);
    const counts = all.map(() => 0);
    const choose = (candidates: readonly Upstream[]): Upstream => {
      const upstream = strategy.pick(candidates, exchange) as Upstream;
      counts[all.indexOf(upstream)] = (counts[all.indexOf(upstream)] ?? 0) + 1;
      return upstream;
    };
    for (let round = 0; round < 720 / atOnce; round++) {
      let tried = Array.from({ length: atOnce }, () => [choose(all)]);
      while (tried.length > 0) {
        tried = tried.filter(([latest]) => failing.includes(all.indexOf(latest as Upstream)));
        for (const each of tried) each.unshift(choose(all.filter((one) => !each.includes(one))));
      }
    }
    return counts;
  }

  it('gives the turns of one that fails to all others alike', () => {
    expect(asked(4, [0], 1)).toEqual([180, 240, 240, 240]);
    expect(asked(4, [3], 1)).toEqual([240, 240, 240, 180]);
    const sizes = fc.integer({ min: 2, max: 9 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.constantFrom(1, 4, 9, 80), (size, nth, atOnce) => {
        const bad = nth % size;
        const others = asked(size, [bad], atOnce).filter((_, i) => i !== bad);
        expect(Math.max(...others) - Math.min(...others)).toBeLessThanOrEqual(2);
      }),
    );
  });

  it('gives the turns of several that fail to all others alike', () => {
    const sizes = fc.integer({ min: 4, max: 9 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, nth, step) => {
        const bad = [nth % size, (nth + 1 + (step % (size - 1))) % size];
        const others = asked(size, bad, 1).filter((_, i) => !bad.includes(i));
        expect(Math.max(...others) - Math.min(...others)).toBeLessThanOrEqual(4);
      }),
    );
  });

  it('goes on with the others where it was, though the one that fails comes and goes', () => {
    const strategy = roundRobin();
    const all = upstreamsOf(1, 1, 1, 1);
    const taken = all.map(() => 0);
    for (let i = 0; i < 90; i++) {
      strategy.pick([...all], exchange);
      const retried = strategy.pick(all.slice(1), exchange);
      taken[all.indexOf(retried as Upstream)] = (taken[all.indexOf(retried as Upstream)] ?? 0) + 1;
      all[0]?.bar('ejected');
      strategy.pick(all.slice(1), exchange);
      all[0]?.lift('ejected');
    }
    expect(taken).toEqual([0, 30, 30, 30]);
  });

  it('leaves the turns of those in use alone when it goes to the reserves, which take turns, too', () => {
    const strategy = roundRobin();
    const inUse = upstreamsOf(1, 1, 1);
    const reserves = ['r', 's'].map((name) => new Upstream({ url: `http://${name}`, priority: 1 }));
    const order = Array.from({ length: 6 }, () =>
      [picks(strategy, inUse, 1), picks(strategy, reserves, 1)].join(''),
    );
    expect(order.join(' ')).toBe('AR BS CR AS BR CS');
  });
});

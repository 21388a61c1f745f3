import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { UpstreamPool } from '../../../src/upstreams/pool.js';
import { leastConnections } from '../../../src/upstreams/strategies/least-connections.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import {
  exchangeWith,
  manyUpstreams,
  nameOf,
  picks,
  upstreamsOf,
} from '../../helpers/upstreams.js';

describe('leastConnections', () => {
  it('takes the upstream with the fewest requests in flight', () => {
    const strategy = leastConnections();
    const candidates = upstreamsOf(1, 1, 1);
    setLoads(candidates, 3, 1, 2);
    expect(picks(strategy, candidates, 1)).toBe('B');
    setLoads(candidates, 0, 1, 2);
    expect(picks(strategy, candidates, 1)).toBe('A');
    setLoads(candidates, 5, 6, 4);
    expect(picks(strategy, candidates, 1)).toBe('C');
  });

  it('counts from the choice to the end of the exchange', () => {
    const pool = new UpstreamPool(['http://a.test', 'http://b.test', 'http://c.test'], {
      strategy: 'least-connections',
    });
    const exchanges = Array.from({ length: 6 }, () => exchangeWith());
    expect(exchanges.map((exchange) => nameOf(pool.pick(exchange))).join('')).toBe('ABCABC');
    exchanges[4]?.settle('completed');
    expect(nameOf(pool.pick(exchangeWith()))).toBe('B');
    exchanges[2]?.settle('client-closed');
    expect(nameOf(pool.pick(exchangeWith()))).toBe('C');
  });

  it('lets those that are equally busy take turns', () => {
    expect(picks(leastConnections(), upstreamsOf(1, 1, 1), 7)).toBe('A B C A B C A');
  });

  it('lets those that are equally busy take turns by weight', () => {
    const visits = picks(leastConnections(), upstreamsOf(4, 3, 2), 900).split(' ');
    expect(['A', 'B', 'C'].map((name) => visits.filter((visit) => visit === name).length)).toEqual([
      400, 300, 200,
    ]);
  });

  it('goes by requests in flight for the weight', () => {
    const strategy = leastConnections();
    const candidates = upstreamsOf(4, 2, 1);
    setLoads(candidates, 7, 4, 2);
    expect(picks(strategy, candidates, 1)).toBe('A');
    setLoads(candidates, 8, 3, 2);
    expect(picks(strategy, candidates, 1)).toBe('B');
  });

  it('always has the least busy one, however loads and candidates change', () => {
    const steps = fc.array(fc.record({ at: fc.nat(39), load: fc.nat(5), out: fc.boolean() }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, (changes) => {
        const strategy = leastConnections();
        const all = manyUpstreams(40, (i) => 1 + (i % 3));
        let candidates: readonly Upstream[] = all;
        for (const { at, load, out } of changes) {
          const upstream = all[at] as Upstream;
          upstream.inFlight = load;
          if (out) {
            if (upstream.usable) upstream.bar('ejected');
            else upstream.lift('ejected');
            candidates = all.filter(({ usable }) => usable);
          }
          const picked = strategy.pick(candidates, exchangeWith());
          const least = Math.min(...candidates.map((one) => one.inFlight / one.weight));
          expect(picked && picked.inFlight / picked.weight).toBe(
            candidates.length === 0 ? undefined : least,
          );
        }
      }),
      { numRuns: 50 },
    );
  });

  it('finds the least busy of those that a retry leaves', () => {
    const strategy = leastConnections();
    const candidates = upstreamsOf(1, 1, 1, 1);
    setLoads(candidates, 0, 2, 1, 2);
    expect(picks(strategy, candidates, 1)).toBe('A');
    expect(picks(strategy, candidates.slice(1), 1)).toBe('C');
    expect(picks(strategy, candidates, 1)).toBe('A');
  });

  it('follows no upstream that has left', () => {
    const strategy = leastConnections();
    const candidates = upstreamsOf(1, 1, 1);
    const [a, b, c] = candidates as [Upstream, Upstream, Upstream];
    picks(strategy, candidates, 1);
    a.bar('draining');
    expect(picks(strategy, [b, c], 2)).not.toContain('A');
    a.inFlight = 7;
    a.inFlight = 0;
    expect(picks(strategy, [b, c], 4)).not.toContain('A');
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(leastConnections(), [], 1)).toBe('-');
  });
});

function setLoads(upstreams: readonly Upstream[], ...loads: number[]): void {
  upstreams.forEach((upstream, i) => {
    upstream.inFlight = loads[i] as number;
  });
}

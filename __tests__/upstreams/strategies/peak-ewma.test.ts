import { describe, expect, it } from '@jest/globals';
import { UpstreamPool } from '../../../src/upstreams/pool.js';
import { type PeakEwmaOptions, peakEwma } from '../../../src/upstreams/strategies/peak-ewma.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import {
  exchangeWith,
  manyUpstreams,
  nameOf,
  picks,
  seeded,
  shares,
  upstreamsOf,
} from '../../helpers/upstreams.js';

describe('peakEwma', () => {
  it('prefers the faster one', () => {
    const { strategy, observe, candidates } = setUp(1, 1, 1);
    observe(30, 10, 20);
    expect(shares(strategy, candidates, 100)).toEqual([0, 100, 0]);
  });

  it('prefers a slower one when the faster has too much in flight', () => {
    const { strategy, observe, candidates } = setUp(1, 1);
    observe(10, 25);
    (candidates[0] as Upstream).inFlight = 1;
    expect(picks(strategy, candidates, 1)).toBe('A');
    (candidates[0] as Upstream).inFlight = 2;
    expect(picks(strategy, candidates, 1)).toBe('B');
  });

  it('lets a heavier one have more in flight', () => {
    const { strategy, observe, candidates } = setUp(3, 1);
    observe(10, 10);
    (candidates[0] as Upstream).inFlight = 1;
    expect(picks(strategy, candidates, 1)).toBe('A');
    (candidates[0] as Upstream).inFlight = 3;
    expect(picks(strategy, candidates, 1)).toBe('B');
  });

  it('feels one slow answer at once and forgets it slowly', () => {
    const { strategy, observe, candidates, clock } = setUp(1, 1);
    observe(10, 20);
    strategy.observe?.(candidates[0] as Upstream, 100);
    expect(picks(strategy, candidates, 1)).toBe('B');
    // 100 ms decay to 10 + 90 e^-t of what fast answers say; below 20 after 2.2 times decayMs.
    const held: number[] = [];
    for (let second = 1; second <= 30; second++) {
      clock.ms += 1_000;
      observe(10, 20);
      if (picks(strategy, candidates, 1) === 'B') held.push(second);
    }
    expect(held).toEqual(Array.from({ length: 21 }, (_, i) => i + 1));
  });

  it('asks a slow one again when nothing has been heard of it for long', () => {
    const { strategy, observe, candidates, clock } = setUp(1, 1);
    observe(10, 100);
    let asked = 0;
    while (asked < 100 && picks(strategy, candidates, 1) === 'A') {
      clock.ms += 1_000;
      strategy.observe?.(candidates[0] as Upstream, 10);
      asked += 1;
    }
    // e^-2.3 is a tenth.
    expect(asked).toBe(24);
  });

  it('gives an upstream it knows nothing of one request, and waits for the answer', () => {
    const { strategy, candidates } = setUp(1, 1, 1);
    const [a, b, c] = candidates as [Upstream, Upstream, Upstream];
    strategy.observe?.(a, 500);
    strategy.observe?.(b, 500);
    expect(picks(strategy, candidates, 1)).toBe('C');
    c.inFlight = 1;
    expect(picks(strategy, candidates, 10)).not.toContain('C');
  });

  it('compares two of many, so that the slowest gets nothing and the fastest not everything', () => {
    const strategy = peakEwma({ random: seeded(7), now: () => 0 });
    const candidates = manyUpstreams(100);
    candidates.forEach((upstream, i) => {
      strategy.observe?.(upstream, 10 + i);
    });
    const counts = shares(strategy, candidates, 50_000);
    expect(counts[99]).toBe(0);
    // The fastest wins whenever it is one of the two: 2 in 100.
    expect((counts[0] as number) / 50_000).toBeCloseTo(0.02, 2);
    expect(counts[0]).toBeGreaterThan(counts[50] as number);
  });

  it('hears from the pool how long answers take', () => {
    const pool = new UpstreamPool(['http://a.test', 'http://b.test'], { strategy: 'peak-ewma' });
    pool.upstreams[0]?.noteAnswer(200, 80);
    pool.upstreams[1]?.noteAnswer(200, 5);
    expect(nameOf(pool.pick(exchangeWith()))).toBe('B');
  });

  it('has nothing to give when there are no candidates', () => {
    expect(picks(peakEwma(), [], 1)).toBe('-');
  });

  it.each<[string, PeakEwmaOptions, string]>([
    ['decayMs', { decayMs: 0 }, 'a whole number from 1 to 2147483647, received 0'],
    ['now', { now: 1 as never }, 'a function, received 1'],
    ['random', { random: 'x' as never }, 'a function, received "x"'],
  ])('refuses a wrong %s', (name, options, wanted) => {
    expect(() => peakEwma(options)).toThrow(`peakEwma: ${name} must be ${wanted}`);
  });
});

function setUp(...weights: number[]) {
  const clock = { ms: 0 };
  const strategy = peakEwma({ now: () => clock.ms, random: seeded(1) });
  const candidates = upstreamsOf(...weights);
  const observe = (...latencies: number[]) => {
    latencies.forEach((latencyMs, i) => {
      strategy.observe?.(candidates[i] as Upstream, latencyMs);
    });
  };
  return { strategy, candidates, observe, clock };
}

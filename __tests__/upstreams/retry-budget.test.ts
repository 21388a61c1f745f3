import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RetryBudget } from '../../src/upstreams/retry-budget.js';
import { testClock } from '../helpers/exchanges.js';

/** How many retries there are to be had at the moment. */
function available(budget: RetryBudget): number {
  let count = 0;
  while (budget.spend()) count++;
  return count;
}

function earn(budget: RetryBudget, times: number): void {
  for (let i = 0; i < times; i++) budget.earn();
}

describe('RetryBudget', () => {
  it('begins with the free retries of one second', () => {
    expect(available(new RetryBudget(0.2, 3, testClock()))).toBe(3);
    expect(available(new RetryBudget(0.2, 0, testClock()))).toBe(0);
  });

  it('gives a share of the requests on top of the free ones', () => {
    const budget = new RetryBudget(0.25, 3, testClock());
    earn(budget, 1_000);
    expect(available(budget)).toBe(253);
  });

  it('knows how many it would give, and gives no fewer for being asked', () => {
    const clock = testClock();
    const budget = new RetryBudget(0.3, 3, clock);
    earn(budget, 8);
    for (const left of [5, 4, 3, 2, 1, 0]) {
      expect(budget.left).toBe(left);
      budget.spend();
    }
    expect(budget.left).toBe(0);
  });

  it('gives nothing for requests that pay nothing', () => {
    const budget = new RetryBudget(0, 0, testClock());
    earn(budget, 1_000);
    expect(available(budget)).toBe(0);
  });

  it('gives one for each request at a ratio of 1', () => {
    const budget = new RetryBudget(1, 0, testClock());
    for (let i = 0; i < 100; i++) {
      budget.earn();
      expect([budget.spend(), budget.spend()]).toEqual([true, false]);
    }
  });

  it('has no more free ones after an hour than after a second', () => {
    const clock = testClock();
    const budget = new RetryBudget(0, 3, clock);
    available(budget);
    clock.advance(334);
    expect(available(budget)).toBe(1);
    clock.advance(1_000);
    expect(available(budget)).toBe(3);
    clock.advance(3_600_000);
    expect(available(budget)).toBe(3);
  });

  it('forgets requests: after ten seconds a third of them counts, after a minute none', () => {
    const clock = testClock();
    const budget = new RetryBudget(1, 0, clock);
    earn(budget, 1_000);
    clock.advance(10_000);
    expect(available(budget)).toBe(367);
    earn(budget, 100);
    clock.advance(60_000);
    expect(available(budget)).toBe(0);
  });

  it('is not impressed by a clock that goes back', () => {
    const clock = testClock();
    const budget = new RetryBudget(0.5, 1, clock);
    earn(budget, 10);
    clock.advance(-5_000);
    expect(available(budget)).toBe(6);
  });

  it('never gives more than the share and the free ones of the time that has passed', () => {
    const step = fc.record({
      requests: fc.nat(50),
      pause: fc.nat(3_000),
    });
    const ratio = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(ratio, fc.nat(10), fc.array(step), (share, minPerSecond, steps) => {
        const clock = testClock();
        const budget = new RetryBudget(share, minPerSecond, clock);
        let [requests, elapsed, spent] = [0, 0, 0];
        for (const { requests: more, pause } of steps) {
          earn(budget, more);
          requests += more;
          spent += available(budget);
          clock.advance(pause);
          elapsed += pause;
        }
        const limit = requests * share + minPerSecond * (1 + elapsed / 1_000);
        expect(spent).toBeLessThanOrEqual(limit + 1e-6);
      }),
      { seed: 3, numRuns: 200 },
    );
  });
});

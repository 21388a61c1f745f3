import { describe, expect, it } from '@jest/globals';
import { Flights } from '../../src/caching/flights.js';

describe('Flights', () => {
  it('has others wait until the first one lands', async () => {
    const flights = new Flights(5_000, () => 0);
    expect(flights.wait('a')).toBeUndefined();
    const first = flights.begin('a', true);
    const second = flights.begin('a', true);
    let hasLanded = false;
    const waiting = flights.wait('a')?.then(() => {
      hasLanded = true;
    });
    second.land();
    await Promise.resolve();
    expect([hasLanded, flights.wait('b')]).toEqual([false, undefined]);
    first.land();
    await waiting;
    expect([hasLanded, flights.wait('a')]).toEqual([true, undefined]);
  });

  it('has nobody wait for what only one may have', () => {
    const flights = new Flights(5_000, () => 0);
    flights.begin('a', false);
    expect(flights.wait('a')).toBeUndefined();
  });

  it('has nobody wait for a minute for what was not kept, and knows ten thousand of those', () => {
    let now = 0;
    const flights = new Flights(5_000, () => now);
    flights.begin('a', true);
    flights.note('a', false);
    expect(flights.wait('a')).toBeUndefined();
    now = 60_000;
    expect(flights.wait('a')).toBeDefined();
    flights.note('a', false);
    flights.note('a', true);
    expect(flights.wait('a')).toBeDefined();
    flights.note('a', false);
    for (let i = 0; i < 9_999; i++) flights.note(`other ${i}`, false);
    expect(flights.wait('a')).toBeUndefined();
    flights.note('one more', false);
    expect(flights.wait('a')).toBeDefined();
  });

  it('outdates what is under way, for a key or for all', () => {
    const flights = new Flights(0, () => 0);
    const [a, b, own] = [
      flights.begin('a', true),
      flights.begin('b', true),
      flights.begin('a', false),
    ];
    flights.outdate('a');
    expect([a, b, own].map(({ isOutdated }) => isOutdated)).toEqual([true, false, true]);
    flights.outdate();
    expect(b.isOutdated).toBe(true);
    const next = flights.begin('a', true);
    expect(next.isOutdated).toBe(false);
  });
});

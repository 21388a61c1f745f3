import { describe, expect, it } from '@jest/globals';
import { Flights } from '../../src/caching/flights.js';

/** A time by which nobody's patience ends in a test. */
const LATER = Number.MAX_SAFE_INTEGER;
const soon = () => performance.now() + 1_000;

describe('Flights', () => {
  it('has others wait until the first one lands', async () => {
    const flights = new Flights(() => 0);
    expect(flights.wait('a', soon())).toBeUndefined();
    const first = flights.begin('/', 'a');
    const second = flights.begin('/', 'a');
    let landing: string | undefined;
    const waiting = flights.wait('a', soon())?.then((how) => {
      landing = how;
    });
    second.land();
    await Promise.resolve();
    expect([landing, flights.wait('b', soon())]).toEqual([undefined, undefined]);
    first.land('one goes');
    await waiting;
    expect([landing, flights.wait('a', soon())]).toEqual(['one goes', undefined]);
  });

  it('tells those who wait when nobody need wait any longer', async () => {
    const flights = new Flights(() => 0);
    const flight = flights.begin('/', 'a');
    const waiting = flights.wait('a', soon());
    flight.land();
    flight.land('one goes');
    expect(await waiting).toBe('all go');
    flights.begin('/', 'a');
    expect(await flights.wait('a', performance.now() + 20)).toBe('all go');
    expect(flights.wait('a', performance.now())).toBeUndefined();
  });

  it('has nobody wait for what only one may have', () => {
    const flights = new Flights(() => 0);
    flights.begin('/', undefined);
    expect(flights.wait('/', LATER)).toBeUndefined();
  });

  it('has nobody wait for a minute for what was not kept, and knows ten thousand of those', () => {
    let now = 0;
    const flights = new Flights(() => now);
    const waits = () => flights.wait('a', soon()) !== undefined;
    flights.begin('/', 'a');
    flights.note('a', false);
    expect(waits()).toBe(false);
    now = 60_000;
    expect(waits()).toBe(true);
    flights.note('a', false);
    flights.note('a', true);
    expect(waits()).toBe(true);
    flights.note('a', false);
    for (let i = 0; i < 9_999; i++) flights.note(`other ${i}`, false);
    expect(waits()).toBe(false);
    flights.note('one more', false);
    expect(waits()).toBe(true);
  });

  it('outdates what is under way, for a place or for all', () => {
    const flights = new Flights(() => 0);
    const [a, b, own] = [
      flights.begin('/a', 'one'),
      flights.begin('/b', 'two'),
      flights.begin('/a', undefined),
    ];
    flights.outdate('/a');
    expect([a, b, own].map(({ isOutdated }) => isOutdated)).toEqual([true, false, true]);
    flights.outdate();
    expect(b.isOutdated).toBe(true);
    expect(flights.begin('/a', 'one').isOutdated).toBe(false);
  });
});

import { describe, expect, it } from '@jest/globals';
import { type Exchange, type Strategy, Upstream, UpstreamPool } from 'headrace';
import { anExchange, seeded, testClock } from '../helpers/exchanges.js';

const PICKS = 20_000;

/** Chooses by chance, all alike. */
function randomly(seed: number): Strategy {
  const random = seeded(seed);
  return { pick: (candidates) => candidates[Math.floor(random() * candidates.length)] };
}

/** Chooses by a key of the exchange, and so alike each time. */
function byKey(keys: WeakMap<Exchange, number>): Strategy {
  return {
    pick: (candidates, exchange) => candidates[(keys.get(exchange) ?? 0) % candidates.length],
  };
}

/** A pool of a and b that c joins at time 0, and the share of c's at any time. */
function joined(strategy: UpstreamPoolStrategy, keys?: WeakMap<Exchange, number>) {
  const clock = testClock();
  const options = { strategy, slowStartMs: 10_000, now: clock, random: seeded(11) };
  const pool = new UpstreamPool(['http://a', 'http://b'], options);
  const c = pool.add('http://c');
  const exchange = anExchange();
  const counts = (): Map<string, number> => {
    const picked = new Map<string, number>();
    for (let i = 0; i < PICKS; i++) {
      keys?.set(exchange, i);
      const { url } = pool.pick(exchange) as Upstream;
      picked.set(url, (picked.get(url) ?? 0) + 1);
    }
    return picked;
  };
  return { pool, clock, c, counts, share: () => (counts().get('http://c') ?? 0) / PICKS };
}

type UpstreamPoolStrategy = 'round-robin' | Strategy;

const strategies: [
  string,
  () => { strategy: UpstreamPoolStrategy; keys?: WeakMap<Exchange, number> },
][] = [
  ['round-robin', () => ({ strategy: 'round-robin' })],
  ['a random choice', () => ({ strategy: randomly(12) })],
  [
    'a choice by key',
    () => {
      const keys = new WeakMap<Exchange, number>();
      return { strategy: byKey(keys), keys };
    },
  ],
];

describe.each(strategies)('slow start behind %s', (_name, make) => {
  it('lets the share of a new upstream grow in a straight line', () => {
    const { strategy, keys } = make();
    const { clock, share } = joined(strategy, keys);
    expect(share()).toBe(0);
    // A newcomer of age x counts for x upstreams, or gets x of a full share: the two are close.
    for (const age of [0.1, 0.25, 0.5, 0.75, 0.9]) {
      clock.advance(age * 10_000);
      const got = share();
      clock.advance(-age * 10_000);
      expect(got).toBeGreaterThan(age / 3 - 0.02);
      expect(got).toBeLessThan(age / (2 + age) + 0.02);
    }
    clock.advance(10_000);
    expect(share()).toBeCloseTo(1 / 3, 1);
  });

  it('divides what it spares the new one among the others alike', () => {
    const { strategy, keys } = make();
    const { clock, counts } = joined(strategy, keys);
    clock.advance(2_000);
    const picked = counts();
    const [a = 0, b = 0] = [picked.get('http://a'), picked.get('http://b')];
    expect(Math.abs(a - b) / PICKS).toBeLessThan(0.08);
  });
});

describe('slow start', () => {
  it('begins again when an upstream recovers', () => {
    const { clock, c, share } = joined('round-robin');
    clock.advance(10_000);
    expect(share()).toBeCloseTo(1 / 3, 3);
    c.bar('unhealthy');
    c.lift('unhealthy');
    expect(share()).toBe(0);
    clock.advance(10_000);
    expect(share()).toBeCloseTo(1 / 3, 3);
  });

  it('waits for the last bar to be lifted', () => {
    const { clock, c, share } = joined('round-robin');
    clock.advance(10_000);
    c.bar('unhealthy');
    c.bar('ejected');
    c.lift('unhealthy');
    clock.advance(5_000);
    c.lift('ejected');
    clock.advance(5_000);
    expect(share()).toBeGreaterThan(0.15);
    expect(share()).toBeLessThan(0.25);
  });

  it('does not hold back a pool whose upstreams are all new', () => {
    const clock = testClock();
    const pool = new UpstreamPool(['http://a', 'http://b'], { slowStartMs: 10_000, now: clock });
    const picked = [1, 2, 3, 4].map(() => pool.pick(anExchange())?.url);
    expect(picked).toEqual(['http://a', 'http://b', 'http://a', 'http://b']);
  });

  it('never leaves a request without an upstream, even when all are starting', () => {
    const { pool, clock } = joined('round-robin');
    for (const upstream of pool.upstreams) {
      upstream.bar('unhealthy');
      upstream.lift('unhealthy');
    }
    clock.advance(1);
    for (let i = 0; i < 1_000; i++) expect(pool.pick(anExchange())).toBeInstanceOf(Upstream);
    pool.remove('http://a');
    pool.remove('http://b');
    expect(pool.pick(anExchange())?.url).toBe('http://c');
  });

  it('leaves a strategy alone that finds no upstream', () => {
    const { pool } = joined({ pick: () => undefined });
    expect(pool.pick(anExchange())).toBeUndefined();
  });

  it('asks the strategy once while none is starting', () => {
    let asked = 0;
    const strategy: Strategy = {
      pick: (candidates) => {
        asked++;
        return candidates[0];
      },
    };
    const { pool, clock, counts } = joined(strategy);
    clock.advance(10_000);
    pool.remove('http://c');
    counts();
    expect(asked).toBe(PICKS);
  });

  it('is off by default: a newcomer has its full share at once', () => {
    const pool = new UpstreamPool(['http://a']);
    pool.add('http://b');
    const picked = [1, 2, 3, 4].map(() => pool.pick(anExchange())?.url);
    expect(picked).toEqual(['http://a', 'http://b', 'http://a', 'http://b']);
  });

  it.each<[unknown, string]>([
    [-1, 'must be a whole number from 0 to 2147483647, received -1'],
    ['10s', 'must be a whole number, received "10s"'],
  ])('refuses slowStartMs: %p', (slowStartMs, message) => {
    const make = () => new UpstreamPool(['http://a'], { slowStartMs: slowStartMs as number });
    expect(make).toThrow(`UpstreamPool: slowStartMs ${message}`);
  });
});

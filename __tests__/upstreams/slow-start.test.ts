import { describe, expect, it } from '@jest/globals';
import {
  consistentHash,
  type Exchange,
  leastConnections,
  peakEwma,
  powerOfTwo,
  random as randomStrategy,
  roundRobin,
  type Strategy,
  Upstream,
  UpstreamPool,
  weightedRoundRobin,
} from 'headrace';
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

/** Strategies in use: with keys, each exchange has one of its own. */
const inUse: [string, number, () => Strategy][] = [
  ['roundRobin', 4, roundRobin],
  ['weightedRoundRobin', 4, weightedRoundRobin],
  ['random', 4, () => randomStrategy({ random: seeded(1) })],
  ['leastConnections', 4, leastConnections],
  ['leastConnections, of many', 20, leastConnections],
  ['powerOfTwo', 4, () => powerOfTwo({ random: seeded(2) })],
  ['powerOfTwo, of many', 20, () => powerOfTwo({ random: seeded(3) })],
  ['peakEwma', 4, () => peakEwma({ random: seeded(4), now: () => 0 })],
  ['peakEwma, of many', 20, () => peakEwma({ random: seeded(5), now: () => 0 })],
  ['consistentHash', 4, () => consistentHash({ key: { header: 'key' } })],
  [
    'consistentHash with a bound',
    4,
    () => consistentHash({ key: { header: 'key' }, boundedLoad: 1.25 }),
  ],
];

/**
 * A pool that one more upstream joins at time 0, with so many requests in flight for each upstream, which
 * end in any order; how much of a full share the new one gets at an age.
 */
function busy(strategy: Strategy, size: number, inFlight: number) {
  const clock = testClock();
  const random = seeded(21);
  const list = Array.from({ length: size - 1 }, (_, i) => `http://a${i}`);
  const pool = new UpstreamPool(list, { strategy, slowStartMs: 10_000, now: clock });
  const open: Exchange[] = [];
  const next = (i: number): Upstream => {
    const exchange = anExchange({ key: `${i}` });
    const upstream = pool.pick(exchange) as Upstream;
    upstream.noteAnswer(200, 10);
    open.push(exchange);
    if (open.length > inFlight * size) {
      open.splice(Math.floor(random() * open.length), 1)[0]?.settle('completed');
    }
    return upstream;
  };
  const run = (picks: number): Map<Upstream, number> => {
    const picked = new Map<Upstream, number>();
    for (let i = 0; i < picks; i++) {
      const upstream = next(i);
      picked.set(upstream, (picked.get(upstream) ?? 0) + 1);
    }
    return picked;
  };
  run(50 * size);
  const fresh = pool.add('http://b');
  return { clock, fresh, run };
}

describe.each(inUse)('slow start with %s', (_name, size, make) => {
  it.each([0.5, 2, 8])('grows evenly with %p requests in flight for each', (inFlight) => {
    // The share of a full one that the keys give it.
    const full = busy(make(), size, inFlight);
    full.clock.advance(10_000);
    full.run(100 * size);
    const most = (full.run(400 * size).get(full.fresh) ?? 0) / 400;
    const { clock, fresh, run } = busy(make(), size, inFlight);
    const shares: [age: number, share: number][] = [];
    for (const age of [0.1, 0.25, 0.5, 0.75, 0.9]) {
      clock.advance(age * 10_000);
      run(100 * size);
      shares.push([age, (run(400 * size).get(fresh) ?? 0) / 400 / most]);
      clock.advance(-age * 10_000);
    }
    for (const [age, share] of shares) {
      // An upstream of age x counts for x upstreams.
      const expected = (age * size) / (size - 1 + age);
      expect([age, share, Math.abs(share - expected) < 0.12]).toEqual([age, share, true]);
    }
  });
});

/** How often each is picked, while up to sixteen requests are in flight. */
function picks(pool: UpstreamPool, count: number): Map<string, number> {
  const picked = new Map<string, number>();
  const open: Exchange[] = [];
  for (let i = 0; i < count; i++) {
    const exchange = anExchange();
    const { url } = pool.pick(exchange) as Upstream;
    picked.set(url, (picked.get(url) ?? 0) + 1);
    open.push(exchange);
    if (open.length > 16) open.shift()?.settle('completed');
  }
  return picked;
}

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

  it.each([
    ['round-robin', 0.5],
    ['least-connections', 0.5],
    ['power-of-two', 0.5],
    ['least-connections', 0.01],
  ] as const)('counts each of several for what it is: %s, of age %p', (strategy, age) => {
    const clock = testClock();
    const pool = new UpstreamPool(['http://a'], { strategy, slowStartMs: 10_000, now: clock });
    for (const url of ['http://b', 'http://c', 'http://d']) pool.add(url);
    clock.advance(age * 10_000);
    const picked = picks(pool, 5_000);
    const part = age / (1 + 3 * age);
    for (const url of ['http://b', 'http://c', 'http://d']) {
      expect(Math.abs((picked.get(url) ?? 0) / 5_000 - part)).toBeLessThan(0.03);
    }
  });

  it('divides requests alike where all have recovered at once', () => {
    const clock = testClock();
    const strategy = 'least-connections';
    const options = { strategy, slowStartMs: 10_000, now: clock } as const;
    const pool = new UpstreamPool(['http://a', 'http://b'], options);
    for (const upstream of pool.upstreams) upstream.bar('unhealthy');
    for (const upstream of pool.upstreams) upstream.lift('unhealthy');
    for (const ms of [0, 100, 5_000]) {
      clock.advance(ms);
      expect(Math.abs((picks(pool, 1_000).get('http://a') ?? 0) - 500)).toBeLessThan(50);
    }
  });

  it('gives a new one its part of the weight', () => {
    const clock = testClock();
    const strategy = 'least-connections';
    const options = { strategy, slowStartMs: 10_000, now: clock } as const;
    const pool = new UpstreamPool([{ url: 'http://a', weight: 2 }], options);
    pool.add({ url: 'http://b', weight: 6 });
    clock.advance(5_000);
    const share = (picks(pool, 5_000).get('http://b') ?? 0) / 5_000;
    expect(Math.abs(share - 3 / 5)).toBeLessThan(0.03);
  });

  it('asks a strategy no more than once for what is none of a starting one’s', () => {
    let asked = 0;
    const strategy: Strategy = {
      pick: (candidates) => {
        asked++;
        return candidates[0];
      },
    };
    const { counts } = joined(strategy);
    counts();
    expect(asked).toBe(PICKS);
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

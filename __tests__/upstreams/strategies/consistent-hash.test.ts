import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import {
  type ConsistentHashOptions,
  consistentHash,
} from '../../../src/upstreams/strategies/consistent-hash.js';
import type { Strategy } from '../../../src/upstreams/strategy.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import { cpuMilliseconds } from '../../helpers/cpu-time.js';
import { received } from '../../helpers/inbound.js';
import {
  exchangeWith,
  manyUpstreams,
  picks,
  seeded,
  upstreamsOf,
} from '../../helpers/upstreams.js';

describe('consistentHash', () => {
  it.each<[string, ConsistentHashOptions, Record<string, string>, Record<string, string>]>([
    ['a header field', { key: { header: 'X-Tenant' } }, { 'x-tenant': '1' }, { 'x-tenant': '2' }],
    ['a cookie', { key: { cookie: 'id' } }, { cookie: 'a=1; id=1' }, { cookie: 'a=1; id=2' }],
    ['a function', { key: (req) => req.headers.accept }, { accept: '1' }, { accept: '2' }],
  ])('keeps requests together by %s', (_, options, one, other) => {
    const candidates = manyUpstreams(1_000);
    const strategy = consistentHash(options);
    const first = strategy.pick(candidates, exchangeWith(one));
    expect(strategy.pick(candidates, exchangeWith({ ...one, host: 'other' }))).toBe(first);
    expect(strategy.pick(candidates, exchangeWith(other))).not.toBe(first);
  });

  it('keeps requests together by the address of the client, when nothing else is said', async () => {
    const candidates = manyUpstreams(1_000);
    const strategy = consistentHash();
    const { req, res } = await received('X-Forwarded-For: 1.1.1.1');
    const again = await received('X-Forwarded-For: 2.2.2.2');
    const first = strategy.pick(candidates, exchangeOf(req, res));
    expect(strategy.pick(candidates, exchangeOf(again.req, again.res))).toBe(first);
  });

  it('goes by the address that a trusted proxy tells', async () => {
    const candidates = manyUpstreams(1_000);
    const strategy = consistentHash();
    const chosen = await Promise.all(
      ['1.1.1.1', '2.2.2.2', '1.1.1.1'].map(async (address) => {
        const { req, res } = await received(`X-Forwarded-For: ${address}`);
        Object.assign(req, { app: { get: () => () => true } });
        return strategy.pick(candidates, exchangeOf(req, res));
      }),
    );
    expect(chosen[0]).toBe(chosen[2]);
    expect(chosen[0]).not.toBe(chosen[1]);
  });

  it.each<ConsistentHashOptions>([
    { key: { header: 'x-tenant' } },
    { key: { cookie: 'id' } },
    { key: () => undefined },
    { key: () => '' },
  ])('goes by the address when a request has no key for %j', async (options) => {
    const candidates = manyUpstreams(1_000);
    const { req, res } = await received();
    const byAddress = consistentHash().pick(candidates, exchangeOf(req, res));
    expect(consistentHash(options).pick(candidates, exchangeOf(req, res))).toBe(byAddress);
  });

  it('spreads requests without key and address', () => {
    const visited = new Set(picks(consistentHash(), upstreamsOf(1, 1, 1), 100).split(' '));
    expect(visited.size).toBe(3);
  });

  it('gives the same answers in every process, in whatever order the upstreams are listed', () => {
    const candidates = manyUpstreams(50);
    const shuffled = [...candidates].reverse();
    expect(ownersOf(byHeader(), shuffled, 2_000)).toEqual(ownersOf(byHeader(), candidates, 2_000));
    // As computed when this test was written: a change here moves every key of every user.
    const urls = ownersOf(byHeader(), upstreamsOf(1, 1, 1, 1), 8).map(
      ({ hostname }) => hostname[0],
    );
    expect(urls.join('')).toBe('bcacbdac');
  });

  it('spreads keys over the upstreams by their weights', () => {
    const counts = countOwners(upstreamsOf(1, 2, 4, 8), 40_000);
    [1, 2, 4, 8].forEach((weight, i) => {
      const ratio = (counts[i] as number) / ((40_000 * weight) / 15);
      expect(ratio).toBeGreaterThan(0.75);
      expect(ratio).toBeLessThan(1.25);
    });
  });

  it.each([
    [[0.02, 0.06]],
    [[0.001, 0.003]],
    [[0.5, 0.3, 0.2]],
    [[0.95, 0.05]],
    [Array.from({ length: 60 }, (_, i) => (i < 30 ? 1 / 30 : 3 / 30))],
    [Array.from({ length: 20 }, (_, i) => (i < 10 ? 0.025 : 0.075))],
  ])('goes by weights in relation to each other, however small: %j', (weights) => {
    const counts = countOwners(
      manyUpstreams(weights.length, (i) => weights[i] as number),
      40_000,
    );
    const smallest = Math.min(...weights);
    const sumOf = (values: readonly number[]) =>
      values.reduce((sum, value, i) => sum + (weights[i] === smallest ? value : 0), 0);
    const ratio = sumOf(counts) / 40_000 / (sumOf(weights) / weights.reduce((a, b) => a + b));
    expect(ratio).toBeGreaterThan(0.85);
    expect(ratio).toBeLessThan(1.15);
  });

  it('moves no other keys when one of a small weight comes that others have as well', () => {
    const weightOf = (i: number) => (i % 2 === 0 ? 0.03 : 0.5);
    const [more, fewer] = [manyUpstreams(21, weightOf), manyUpstreams(20, weightOf)];
    const urlsOf = (upstreams: Upstream[]) => ownersOf(byHeader(), upstreams, 5_000).map(String);
    const [after, earlier] = [urlsOf(more), urlsOf(fewer)];
    const moved = after.filter((url, key) => url !== earlier[key]);
    expect(new Set(moved)).toEqual(new Set([String(more[20])]));
  });

  it('gives none of 100 upstreams 1.4 times its share of the keys', () => {
    const counts = countOwners(manyUpstreams(100), 40_000);
    expect(Math.max(...counts) / 400).toBeLessThan(1.4);
    expect(Math.min(...counts) / 400).toBeGreaterThan(0.6);
  });
});

describe('consistentHash, when the pool changes', () => {
  const KEYS = 5_000;
  const all = manyUpstreams(100);
  const before = ownersOf(byHeader(), all, KEYS);

  it('moves the keys of the one that leaves, and no others', () => {
    fc.assert(
      fc.property(fc.nat(99), (gone) => {
        const left = all[gone] as Upstream;
        const after = ownersOf(byHeader(), without(all, left), KEYS);
        const moved = after.filter((owner, key) => owner !== before[key]).length;
        expect(moved).toBe(before.filter((owner) => owner === left).length);
        expect(moved / KEYS).toBeLessThan(0.015);
      }),
      { numRuns: 20 },
    );
  });

  it('moves keys only to the one that comes, about 1/n of them', () => {
    const newcomer = manyUpstreams(101)[100] as Upstream;
    const after = ownersOf(byHeader(), [...all, newcomer], KEYS);
    const moved = after.filter((owner, key) => owner !== before[key]);
    expect(new Set(moved)).toEqual(new Set([newcomer]));
    expect(moved.length / KEYS).toBeLessThan(0.015);
    expect(moved.length / KEYS).toBeGreaterThan(0.005);
  });

  it('gives every key back to the one that returns', () => {
    const strategy = byHeader();
    ownersOf(strategy, all, KEYS);
    ownersOf(strategy, all.slice(10), KEYS);
    expect(ownersOf(strategy, [...all], KEYS)).toEqual(before);
  });

  it('sends a retry where the key would go if the ones that failed were gone', () => {
    const options = fc.constantFrom<ConsistentHashOptions>({}, { boundedLoad: 1.25 });
    const weights = fc.array(fc.constantFrom(1, 2, 5), { minLength: 3, maxLength: 12 });
    fc.assert(
      fc.property(weights, options, fc.nat(), fc.nat(), (each, options, seed, count) => {
        const candidates = manyUpstreams(each.length, (i) => each[i] as number);
        const random = seeded(seed);
        for (const upstream of candidates) upstream.inFlight = Math.floor(random() * 5);
        const failed = candidates
          .filter((_, i) => i > 0 && random() < 0.5)
          .slice(0, 1 + (count % 3));
        const left = candidates.filter((upstream) => !failed.includes(upstream));
        const strategy = byHeader(options);
        ownersOf(strategy, candidates, 1);
        const retried = Array.from({ length: 40 }, (_, i) =>
          strategy.pick([...left], exchangeWith({ key: `key ${i}` })),
        );
        expect(retried).toEqual(ownersOf(byHeader(options), left, 40));
      }),
    );
  });

  it('goes on as before after a retry', () => {
    const strategy = byHeader();
    const left = before[0] as Upstream;
    ownersOf(strategy, all, 1);
    strategy.pick(without(all, left), exchangeWith({ key: 'key 0' }));
    expect(ownersOf(strategy, all, 100)).toEqual(before.slice(0, 100));
  });

  it('is ready again after a change of 10,000 upstreams in less than a tenth of a second', () => {
    const strategy = byHeader();
    const many = manyUpstreams(10_000);
    ownersOf(strategy, many, 100);
    const took = [1, 2, 3].map((left) =>
      cpuMilliseconds(() => ownersOf(strategy, many.slice(left), 1)),
    );
    expect(Math.min(...took)).toBeLessThan(100);
  });
});

describe('consistentHash({ boundedLoad })', () => {
  it('gives no upstream more than that factor of the mean', () => {
    const factors = fc.double({ min: 1.05, max: 3, noNaN: true });
    const counts = fc.integer({ min: 2, max: 30 });
    fc.assert(
      fc.property(factors, counts, fc.nat(), (boundedLoad, count, seed) => {
        const strategy = byHeader({ boundedLoad });
        const candidates = manyUpstreams(count);
        const random = seeded(seed);
        for (let given = 1; given <= 300; given++) {
          // A third of all requests have one key.
          const key = random() < 0.3 ? 'hot' : `${random()}`;
          const upstream = strategy.pick(candidates, exchangeWith({ key })) as Upstream;
          upstream.inFlight += 1;
          expect(upstream.inFlight).toBeLessThanOrEqual(Math.ceil((boundedLoad * given) / count));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('measures against the weight', () => {
    const strategy = byHeader({ boundedLoad: 1.1 });
    const candidates = upstreamsOf(3, 1);
    for (let i = 0; i < 400; i++) {
      const upstream = strategy.pick(candidates, exchangeWith({ key: 'hot' })) as Upstream;
      upstream.inFlight += 1;
    }
    expect(candidates[0]?.inFlight).toBeLessThanOrEqual(Math.ceil(1.1 * 400 * 0.75));
    expect(candidates[1]?.inFlight).toBeLessThanOrEqual(Math.ceil(1.1 * 400 * 0.25));
  });

  it('sends a key home again when there is room', () => {
    const strategy = byHeader({ boundedLoad: 1.5 });
    const candidates = manyUpstreams(10);
    const [home] = ownersOf(strategy, candidates, 1) as [Upstream];
    home.inFlight = 10;
    const [away] = ownersOf(strategy, candidates, 1);
    expect(away).not.toBe(home);
    expect(ownersOf(strategy, candidates, 1)).toEqual([away]);
    home.inFlight = 0;
    expect(ownersOf(strategy, candidates, 1)).toEqual([home]);
  });

  it('counts on after the candidates have changed', () => {
    const strategy = byHeader({ boundedLoad: 1.25 });
    const all = manyUpstreams(4);
    ownersOf(strategy, all, 1);
    (all[0] as Upstream).bar('ejected');
    const left = all.slice(1);
    ownersOf(strategy, left, 1);
    (all[0] as Upstream).inFlight = 1_000;
    for (let i = 0; i < 30; i++) {
      const upstream = strategy.pick(left, exchangeWith({ key: 'hot' })) as Upstream;
      upstream.inFlight += 1;
    }
    expect(Math.max(...left.map(({ inFlight }) => inFlight))).toBe(13);
  });

  it('finds someone for a retry when all that are left are full', () => {
    const strategy = byHeader({ boundedLoad: 1.1 });
    const candidates = upstreamsOf(1, 1, 1);
    ownersOf(strategy, candidates, 1);
    candidates.slice(1).forEach((upstream) => {
      upstream.inFlight = 10;
    });
    expect(ownersOf(strategy, candidates, 1)).toEqual([candidates[0]]);
    expect(candidates.slice(1)).toContain(ownersOf(strategy, candidates.slice(1), 1)[0]);
  });
});

describe('consistentHash, given wrong options', () => {
  it.each<[ConsistentHashOptions, string]>([
    [
      { key: 'ip' as never },
      'key must be "address", { header }, { cookie } or a function, received "ip"',
    ],
    [
      { key: null as never },
      'key must be "address", { header }, { cookie } or a function, received null',
    ],
    [{ key: { header: 'a', cookie: 'b' } as never }, 'key must be "address"'],
    [{ key: { header: 'a b' } }, 'key.header must be a name, received "a b"'],
    [{ key: { cookie: '' } }, 'key.cookie must be a name, received ""'],
    [{ replicas: 0 }, 'replicas must be a whole number from 1 to 1000, received 0'],
    [{ boundedLoad: 1 }, 'boundedLoad must be a number greater than 1, received 1'],
    [{ boundedLoad: '2' as never }, 'boundedLoad must be a number greater than 1, received "2"'],
    [{ bounded: 2 } as never, 'unknown option "bounded"'],
  ])('refuses %j', (options, message) => {
    expect(() => consistentHash(options)).toThrow(`consistentHash: ${message}`);
  });
});

function byHeader(options: ConsistentHashOptions = {}): Strategy {
  return consistentHash({ key: { header: 'key' }, ...options });
}

function ownersOf(strategy: Strategy, candidates: readonly Upstream[], keys: number): Upstream[] {
  const exchange = exchangeWith();
  return Array.from({ length: keys }, (_, i) => {
    exchange.req.headers.key = `key ${i}`;
    return strategy.pick(candidates, exchange) as Upstream;
  });
}

function countOwners(candidates: readonly Upstream[], keys: number): number[] {
  const counts = new Map<Upstream, number>();
  for (const owner of ownersOf(byHeader(), candidates, keys)) {
    counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  return candidates.map((upstream) => counts.get(upstream) ?? 0);
}

function without(all: readonly Upstream[], left: Upstream): Upstream[] {
  return all.filter((upstream) => upstream !== left);
}

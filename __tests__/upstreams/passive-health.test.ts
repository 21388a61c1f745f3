import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  type PassiveHealthOptions,
  Upstream,
  type UpstreamInit,
  UpstreamPool,
  type UpstreamPoolOptions,
} from 'headrace';
import { anExchange } from '../helpers/exchanges.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const URLS = ['http://a', 'http://b', 'http://c', 'http://d'];

/** A pool whose clock is that of the timers, and what it tells. */
function watched(
  passive: PassiveHealthOptions | false,
  urls: readonly UpstreamInit[] = URLS,
  options: UpstreamPoolOptions = {},
) {
  const pool = new UpstreamPool(urls, { ...options, health: { passive }, now: Date.now });
  const told: string[] = [];
  pool.on('ejected', ({ url }, bar) => told.push(`${bar} ${url}`));
  pool.on('recovered', ({ url }) => told.push(`recovered ${url}`));
  return { pool, told, at: (i: number) => pool.upstreams[i] as Upstream };
}

function fail(upstream: Upstream, times = 1, code = 'ERR_PROXY_RESET'): void {
  for (let i = 0; i < times; i++) upstream.noteFailure(code);
}

/** How long an upstream stays out, in steps of a second. */
function secondsOut(upstream: Upstream): number {
  for (let seconds = 0; ; seconds++) {
    if (upstream.usable) return seconds;
    jest.advanceTimersByTime(1_000);
  }
}

describe('what ejects', () => {
  it('is as many failures as maxFailures, and not one fewer', () => {
    const { pool, told, at } = watched({ maxFailures: 3 });
    fail(at(0), 2);
    expect(pool.eligible).toHaveLength(4);
    fail(at(0));
    expect(pool.eligible.map(String)).toEqual(['http://b', 'http://c', 'http://d']);
    expect(told).toEqual(['ejected http://a']);
  });

  it('is five failures within ten seconds by default', () => {
    const { at } = watched({});
    fail(at(0), 4);
    jest.advanceTimersByTime(10_000);
    fail(at(0));
    expect(at(0).usable).toBe(false);
    fail(at(1), 4);
    jest.advanceTimersByTime(10_001);
    fail(at(1));
    expect(at(1).usable).toBe(true);
  });

  it('looks at the latest failures, however many there were before', () => {
    const { at } = watched({ maxFailures: 3, windowMs: 1_000 });
    for (let i = 0; i < 20; i++) {
      fail(at(0));
      jest.advanceTimersByTime(600);
    }
    expect(at(0).usable).toBe(true);
    fail(at(0), 2);
    expect(at(0).usable).toBe(false);
  });

  it.each([
    'ERR_PROXY_CONNECT',
    'ERR_PROXY_RESET',
    'ERR_PROXY_BAD_RESPONSE',
    'ERR_PROXY_CONNECT_TIMEOUT',
    'ERR_PROXY_HEADERS_TIMEOUT',
    'ERR_PROXY_BODY_TIMEOUT',
  ])('counts %s', (code) => {
    const { at } = watched({ maxFailures: 2 });
    fail(at(0), 2, code);
    expect(at(0).usable).toBe(false);
  });

  it.each(['ERR_PROXY_CLIENT_CLOSED', 'ERR_PROXY_BODY_TOO_LARGE', 'ERR_PROXY_BAD_REQUEST'])(
    'never counts %s, which is the client’s doing',
    (code) => {
      const { at } = watched({ maxFailures: 1 });
      fail(at(0), 50, code);
      expect(at(0).usable).toBe(true);
    },
  );

  it('counts 502, 503 and 504 by default, or the statuses that are named', () => {
    const { at } = watched({ maxFailures: 1 });
    for (const status of [200, 404, 429, 500, 501]) at(0).noteAnswer(status, 1);
    expect(at(0).usable).toBe(true);
    at(0).noteAnswer(503, 1);
    expect(at(0).usable).toBe(false);

    const named = watched({ maxFailures: 1, statuses: [500] });
    named.at(0).noteAnswer(503, 1);
    expect(named.at(0).usable).toBe(true);
    named.at(0).noteAnswer(500, 1);
    expect(named.at(0).usable).toBe(false);
  });

  it('counts no status when none is named', () => {
    const { at } = watched({ maxFailures: 1, statuses: [] });
    at(0).noteAnswer(503, 1);
    expect(at(0).usable).toBe(true);
  });

  it('is nothing at all when it is turned off', () => {
    const { at } = watched(false);
    fail(at(0), 1_000);
    expect(at(0).usable).toBe(true);
  });
});

describe('how many may be out', () => {
  it('is never the only upstream', () => {
    const { at } = watched({ maxFailures: 1, maxEjectedRatio: 1 }, ['http://a']);
    fail(at(0), 100);
    expect(at(0).usable).toBe(true);
  });

  it('is never the last one in use, whatever has taken the others out', () => {
    const { pool, at } = watched({ maxFailures: 1, maxEjectedRatio: 1 }, URLS.slice(0, 3));
    at(1).bar('unhealthy');
    at(2).weight = 0;
    fail(at(0), 100);
    expect(pool.eligible.map(String)).toEqual(['http://a']);
    at(1).lift('unhealthy');
    fail(at(0));
    expect(pool.eligible.map(String)).toEqual(['http://b']);
  });

  it('is half of the pool by default, rounded down', () => {
    const { pool, at } = watched({ maxFailures: 1 }, ['http://a', 'http://b', 'http://c']);
    for (const i of [0, 1, 2]) fail(at(i), 10);
    expect(pool.eligible).toHaveLength(2);
  });

  it.each([
    [0, 4],
    [0.25, 3],
    [0.5, 2],
    [0.74, 2],
    [0.75, 1],
    [1, 1],
  ])('is the share %d of the pool, so that of four %d stay', (maxEjectedRatio, left) => {
    const { pool, at } = watched({ maxFailures: 1, maxEjectedRatio });
    for (const i of [0, 1, 2, 3]) fail(at(i), 10);
    expect(pool.eligible).toHaveLength(left);
  });

  it('ejects the next one once another has come back', () => {
    const { at } = watched({ maxFailures: 1, ejectMs: 1_000 }, ['http://a', 'http://b']);
    fail(at(0));
    fail(at(1));
    expect([at(0).usable, at(1).usable]).toEqual([false, true]);
    jest.advanceTimersByTime(1_000);
    fail(at(1));
    expect([at(0).usable, at(1).usable]).toEqual([true, false]);
  });
});

describe('how many may be out, with others in reserve', () => {
  /** So many upstreams of each priority, from 0 on: `http://p0-0` and so on. */
  function tiers(passive: PassiveHealthOptions, ...sizes: number[]) {
    const list = sizes.flatMap((size, priority) =>
      Array.from({ length: size }, (_, i) => ({ url: `http://p${priority}-${i}`, priority })),
    );
    const { pool } = watched({ maxFailures: 1, ejectMs: 1_000, ...passive }, list);
    const named = (name: string) =>
      pool.upstreams.find(({ hostname }) => hostname === name) as Upstream;
    const eligible = () => pool.eligible.map(({ hostname }) => hostname).join(' ');
    return { pool, named, eligible };
  }

  it.each([0.01, 0.5, 1])(
    'is all that have somebody behind them, whatever the share: %d',
    (maxEjectedRatio) => {
      const { named, eligible } = tiers({ maxEjectedRatio }, 3, 1);
      for (const i of [0, 1, 2]) fail(named(`p0-${i}`));
      expect(eligible()).toBe('p1-0');
    },
  );

  it('is none where the share is 0', () => {
    const { named, eligible } = tiers({ maxEjectedRatio: 0 }, 2, 1);
    for (const i of [0, 1]) fail(named(`p0-${i}`), 9);
    expect(eligible()).toBe('p0-0 p0-1');
  });

  it('is the usual share where nobody in reserve is in use', () => {
    const { named, eligible } = tiers({}, 3, 1);
    named('p1-0').bar('unhealthy');
    for (const i of [0, 1, 2]) fail(named(`p0-${i}`));
    expect(eligible()).toBe('p0-2');
    named('p1-0').lift('unhealthy');
    fail(named('p0-2'));
    expect(eligible()).toBe('p1-0');
  });

  it('is the same share of the reserves, and never the last of them', () => {
    const { named, eligible } = tiers({}, 4, 2);
    for (const i of [0, 1, 2, 3]) fail(named(`p0-${i}`));
    fail(named('p1-0'));
    expect(eligible()).toBe('p1-1');
  });

  it('is a reserve that fails while those before it do not', () => {
    const { named, eligible } = tiers({}, 2, 1);
    fail(named('p1-0'));
    expect(named('p1-0').usable).toBe(false);
    fail(named('p0-0'));
    expect(eligible()).toBe('p0-0 p0-1');
  });

  it('is each priority in turn, of several', () => {
    const { named, eligible } = tiers({}, 2, 2, 1);
    for (const name of ['p0-0', 'p0-1', 'p1-0', 'p1-1']) fail(named(name));
    expect(eligible()).toBe('p2-0');
    jest.advanceTimersByTime(1_000);
    expect(eligible()).toBe('p0-0 p0-1');
  });

  it('is no more than the usual share once the reserve fails too: those come back that are next', () => {
    const { named, eligible } = tiers({}, 4, 1);
    for (const i of [2, 0, 1, 3]) {
      fail(named(`p0-${i}`));
      jest.advanceTimersByTime(10);
    }
    fail(named('p1-0'));
    expect(eligible()).toBe('p0-0 p0-2');
    expect(named('p1-0').usable).toBe(true);
  });

  it('asks all in turn while all fail, each for no longer than before', () => {
    const { named, eligible } = tiers({ ejectMs: 60_000 }, 2, 1);
    for (const name of ['p0-0', 'p0-1']) fail(named(name));
    const asked: string[] = [];
    for (let i = 0; i < 6; i++) {
      jest.advanceTimersByTime(10);
      const name = eligible();
      asked.push(name);
      fail(named(name));
    }
    expect(asked).toEqual(['p1-0', 'p0-0', 'p1-0', 'p0-1', 'p1-0', 'p0-0']);
    expect(secondsOut(named('p0-1'))).toBe(60);
  });

  it('leaves the reserve alone again when those before it are back', () => {
    const { pool, named, eligible } = tiers({}, 2, 1);
    for (const i of [0, 1]) fail(named(`p0-${i}`));
    expect(pool.pick(anExchange())?.hostname).toBe('p1-0');
    jest.advanceTimersByTime(1_000);
    expect(eligible()).toBe('p0-0 p0-1');
  });
});

describe('how long it lasts', () => {
  it('doubles with each ejection in a row, up to the limit', () => {
    const { at, told } = watched({ maxFailures: 1, ejectMs: 2_000, maxEjectMs: 10_000 });
    const lasted: number[] = [];
    for (let i = 0; i < 5; i++) {
      fail(at(0));
      lasted.push(secondsOut(at(0)));
    }
    expect(lasted).toEqual([2, 4, 8, 10, 10]);
    expect(told.filter((line) => line.startsWith('recovered'))).toHaveLength(5);
  });

  it('is ten seconds at first, by default', () => {
    const { at } = watched({ maxFailures: 1 });
    fail(at(0));
    expect(secondsOut(at(0))).toBe(10);
  });

  it('starts over after a good answer, but not after one that was on its way', () => {
    const { at } = watched({ maxFailures: 1, ejectMs: 2_000 });
    fail(at(0));
    at(0).noteAnswer(200, 1);
    expect(secondsOut(at(0))).toBe(2);
    fail(at(0));
    expect(secondsOut(at(0))).toBe(4);
    at(0).noteAnswer(200, 1);
    fail(at(0));
    expect(secondsOut(at(0))).toBe(2);
  });

  it('is a whole one after one that somebody has cut short', () => {
    const { at } = watched({ maxFailures: 1, ejectMs: 10_000 });
    fail(at(0));
    jest.advanceTimersByTime(8_000);
    at(0).lift('ejected');
    fail(at(0));
    expect(secondsOut(at(0))).toBe(20);
  });

  it('stays within what a timer can wait after very many ejections', () => {
    const limit = 2 ** 31 - 1;
    const { at } = watched({ maxFailures: 1, ejectMs: 1, maxEjectMs: limit });
    for (let i = 0; i < 60; i++) {
      fail(at(0));
      expect(at(0).usable).toBe(false);
      jest.advanceTimersByTime(limit);
      expect(at(0).usable).toBe(true);
    }
  });

  it('tells since when an upstream is out', () => {
    const { pool, at } = watched({ maxFailures: 1 });
    const before = at(0).since;
    jest.advanceTimersByTime(500);
    fail(at(0));
    expect(at(0).since).toBe(before + 500);
    expect(pool.stats()[0]).toMatchObject({ usable: false, bars: ['ejected'], since: at(0).since });
  });
});

describe('what has left the pool', () => {
  it('is neither ejected nor let back, however its last requests end', () => {
    const { pool, told, at } = watched({ maxFailures: 1, ejectMs: 1_000 });
    const [a, b] = [at(0), at(1)];
    fail(a);
    pool.remove('http://a');
    pool.remove('http://b');
    fail(b, 10);
    jest.advanceTimersByTime(60_000);
    expect(told).toEqual(['ejected http://a']);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('leaves no timer behind when the pool closes', async () => {
    const { pool, at } = watched({ maxFailures: 1 });
    fail(at(0));
    fail(at(1));
    expect(jest.getTimerCount()).toBe(2);
    await pool.close();
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('options of passive health', () => {
  it.each<[string, unknown, string]>([
    ['maxFailures', 0, 'must be a whole number of at least 1, received 0'],
    ['maxFailures', '5', 'must be a whole number, received "5"'],
    ['windowMs', 0, 'must be a whole number from 1 to 2147483647, received 0'],
    ['ejectMs', 1.5, 'must be a whole number from 1 to 2147483647, received 1.5'],
    ['maxEjectMs', 9_999, 'must be a whole number from 10000 to 2147483647, received 9999'],
    ['maxEjectedRatio', 1.1, 'must be a number from 0 to 1, received 1.1'],
    ['maxEjectedRatio', Number.NaN, 'must be a number from 0 to 1, received NaN'],
    ['statuses', 503, 'must be an array, received 503'],
  ])('refuse %s: %p', (name, value, message) => {
    const passive = { [name]: value } as PassiveHealthOptions;
    expect(() => new UpstreamPool(URLS, { health: { passive } })).toThrow(
      new Error(`UpstreamPool: health.passive.${name} ${message}`),
    );
  });

  it('take a first ejection that is longer than the longest would be', () => {
    const { at } = watched({ maxFailures: 1, ejectMs: 600_000 });
    fail(at(0));
    expect(secondsOut(at(0))).toBe(600);
  });

  it('refuse a status that is none, by its place', () => {
    const passive = { statuses: [503, '504'] } as unknown as PassiveHealthOptions;
    expect(() => new UpstreamPool(URLS, { health: { passive } })).toThrow(
      'UpstreamPool: health.passive.statuses[1] must be a whole number, received "504"',
    );
  });

  it('refuse what they do not know', () => {
    const passive = { maxFailure: 3 } as PassiveHealthOptions;
    expect(() => new UpstreamPool(URLS, { health: { passive } })).toThrow(
      'UpstreamPool: health.passive: unknown option "maxFailure", did you mean "maxFailures"?',
    );
    expect(() => new UpstreamPool(URLS, { health: { pasive: {} } as object })).toThrow(
      'UpstreamPool: health: unknown option "pasive", did you mean "passive"?',
    );
  });

  it('take undefined for the default', () => {
    const upstream = new Upstream('http://a');
    expect(upstream.usable).toBe(true);
    const { at } = watched({ maxFailures: undefined, statuses: undefined });
    fail(at(0), 5);
    expect(at(0).usable).toBe(false);
  });
});

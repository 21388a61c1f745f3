import { describe, expect, it } from '@jest/globals';
import { type Upstream, UpstreamPool } from 'headrace';
import { Sampler } from '../../src/status/sampler.js';
import { UpstreamSample } from '../../src/status/upstream-sample.js';
import { cpuMilliseconds } from '../helpers/cpu-time.js';

/** A sampler whose clock the test advances, and what it says. */
function sampled(urls: readonly string[] = ['http://a', 'http://b']) {
  const pool = new UpstreamPool(urls, { health: { passive: false } });
  let now = 0;
  const sampler = new Sampler('gateway', { api: pool }, () => now);
  return {
    pool,
    at: (i: number) => pool.upstreams[i] as Upstream,
    look(ms = 1_000) {
      now += ms;
      return sampler.look();
    },
    snapshot: () => JSON.parse(sampler.snapshot()).pools[0],
    frame: () => JSON.parse(sampler.frame()),
    sampler,
  };
}

/** Lets tries be answered, each after so many milliseconds. */
function answer(upstream: Upstream, statuses: readonly number[], latencyMs = 10): void {
  for (const status of statuses) {
    upstream.requests += 1;
    upstream.noteAnswer(status, latencyMs);
  }
}

const many = (status: number, times: number): number[] => Array(times).fill(status);

describe('rates', () => {
  it('are those of what happened since the last looks, and fade', () => {
    const { at, look, snapshot } = sampled();
    answer(at(0), many(200, 30));
    look();
    expect(snapshot()).toMatchObject({ requestsPerSecond: 30, errorsPerSecond: 0, errorRatio: 0 });
    for (let i = 0; i < 5; i++) look();
    const { requestsPerSecond } = snapshot();
    expect(requestsPerSecond).toBeGreaterThan(1);
    expect(requestsPerSecond).toBeLessThan(5);
    for (let i = 0; i < 60; i++) look();
    expect(snapshot()).toMatchObject({ requestsPerSecond: 0, requests: 30 });
  });

  it('come close to the true ones under a steady load, however long a look has to wait', () => {
    const { at, look, snapshot } = sampled();
    for (const ms of [1_000, 1_400, 3_000, 1_000, 600, 1_000]) {
      answer(at(1), many(200, ms / 20));
      look(ms);
    }
    expect(snapshot().upstreams[1].requestsPerSecond).toBeCloseTo(50, 0);
  });

  it('begin with the first look, and not with what the upstream has counted before', () => {
    const pool = new UpstreamPool(['http://a']);
    answer(pool.upstreams[0] as Upstream, many(500, 100));
    let now = 0;
    const sampler = new Sampler('', { api: pool }, () => now);
    now = 1_000;
    sampler.look();
    const [{ requestsPerSecond, errorRatio, requests }] = JSON.parse(sampler.snapshot()).pools;
    expect([requestsPerSecond, errorRatio, requests]).toEqual([0, 0, 100]);
  });

  it('count as errors what the upstream did, and not what the client did', () => {
    const { at, look, snapshot } = sampled();
    answer(at(0), [200, 404, 500, 503]);
    at(0).requests += 4;
    at(0).noteFailure('ERR_PROXY_RESET');
    at(0).noteFailure('ERR_PROXY_CONNECT');
    at(0).noteFailure('ERR_PROXY_CLIENT_CLOSED');
    at(0).noteFailure('ERR_PROXY_BODY_TOO_LARGE');
    look();
    expect(snapshot().upstreams[0]).toMatchObject({ errorRatio: 0.5, errors: 4, requests: 8 });
  });

  it('are never those of more errors than requests', () => {
    const { at, look, snapshot } = sampled();
    at(0).requests += 10;
    look();
    for (let i = 0; i < 30; i++) look();
    for (let i = 0; i < 10; i++) at(0).noteFailure('ERR_PROXY_HEADERS_TIMEOUT');
    look();
    expect(snapshot().upstreams[0].errorRatio).toBe(1);
  });
});

describe('quantiles', () => {
  it('are within 6.25 % of the exact ones, for upstreams and their pool', () => {
    const { at, look, snapshot } = sampled();
    for (let ms = 1; ms <= 1_000; ms++) answer(at(ms % 2), [200], ms);
    look();
    const { latencyMs, upstreams } = snapshot();
    for (const found of [latencyMs, upstreams[0].latencyMs]) {
      for (const [name, exact] of [
        ['p50', 500],
        ['p95', 950],
        ['p99', 990],
      ] as const) {
        expect(Math.abs(found[name] / exact - 1)).toBeLessThan(0.07);
      }
    }
  });

  it('are those of the last seconds, and none without any answer', () => {
    const { at, look, snapshot } = sampled();
    look();
    expect(snapshot().latencyMs).toEqual({ p50: null, p95: null, p99: null });
    answer(at(0), many(200, 1_000), 1_000);
    look();
    for (let i = 0; i < 30; i++) {
      answer(at(0), many(200, 10), 1);
      look();
    }
    expect(snapshot().latencyMs.p95).toBeLessThan(2);
  });
});

describe('what is remembered', () => {
  it('is five minutes, by the second for a pool, and in steps of five for an upstream', () => {
    const { at, look, snapshot } = sampled();
    for (let i = 0; i < 400; i++) {
      answer(at(0), many(200, 5));
      look();
    }
    const { history, upstreams } = snapshot();
    expect(history.everyMs).toBe(1_000);
    expect(history.requestsPerSecond).toEqual(Array(300).fill(5));
    expect(history.p99).toHaveLength(300);
    expect(upstreams[0].history.everyMs).toBe(5_000);
    expect(upstreams[0].history.requestsPerSecond).toEqual(Array(60).fill(5));
  });

  it('has a place for the seconds that a busy or sleeping process has left out', () => {
    const { look, snapshot, frame } = sampled();
    look(7_200);
    expect(snapshot().history.inFlight).toHaveLength(7);
    expect(snapshot().upstreams[0].history.requestsPerSecond).toHaveLength(1);
    expect(frame()).toMatchObject({ steps: 7, points: 1 });
    look(24 * 3_600_000);
    expect(snapshot().history.inFlight).toHaveLength(300);
  });

  it('does not suffer from a clock that is put back', () => {
    const { at, look, snapshot } = sampled();
    answer(at(0), [200]);
    expect(look(-5_000)).toBe(false);
    expect(look(0)).toBe(false);
    expect(snapshot().history.inFlight).toHaveLength(0);
    expect(look()).toBe(true);
    expect(snapshot().requestsPerSecond).toBe(1);
  });
});

describe('the state of an upstream', () => {
  it('is what stands against choosing it, or how its tries fare', () => {
    const { at, look, snapshot } = sampled();
    const state = () => {
      look();
      const [{ state, level }] = snapshot().upstreams;
      return `${state} ${level}`;
    };
    expect(state()).toBe('up good');
    answer(at(0), [...many(200, 95), ...many(500, 5)]);
    expect(state()).toBe('erring warn');
    answer(at(0), many(502, 100));
    expect(state()).toBe('failing bad');
    for (const [bar, expected] of [
      ['open', 'open bad'],
      ['ejected', 'ejected bad'],
      ['unhealthy', 'unhealthy bad'],
      ['held', 'held off'],
    ] as const) {
      at(0).bar(bar);
      expect(state()).toBe(expected);
    }
    for (const bar of [...at(0).bars]) at(0).lift(bar);
    at(0).weight = 0;
    expect(state()).toBe('unused off');
  });

  it('is draining for one that was removed, until nothing is in flight there any more', () => {
    const { pool, at, look, snapshot, frame } = sampled();
    const leaving = at(0);
    leaving.inFlight = 1;
    look();
    pool.remove('http://a');
    pool.add('http://a');
    look();
    const states = () => {
      return snapshot().upstreams.map(({ id, url, state }: never) => [id, url, state]);
    };
    expect(states()).toEqual([
      ['http://b', 'http://b', 'up'],
      ['http://a#2', 'http://a', 'up'],
      ['http://a', 'http://a', 'draining'],
    ]);
    expect(frame().pools[0].order).toEqual(['http://b', 'http://a#2', 'http://a']);
    expect(snapshot()).toMatchObject({ eligible: 2, of: 2, draining: 1, inFlight: 1 });
    expect(snapshot().upstreams[2]).toMatchObject({ level: 'off', inFlight: 1 });
    leaving.release();
    look();
    expect(states()).toEqual([
      ['http://b', 'http://b', 'up'],
      ['http://a#2', 'http://a', 'up'],
    ]);
    expect(snapshot()).toMatchObject({ draining: 0, inFlight: 0 });
  });

  it('is told with the moment at which it came to be, seen or not', () => {
    const { at, look, snapshot } = sampled();
    const since = () => Date.parse(snapshot().upstreams[0].since);
    at(0).since -= 60_000;
    look();
    const began = since();
    answer(at(0), many(500, 10));
    look();
    expect(since()).toBeGreaterThanOrEqual(began);
    expect(Math.abs(since() - Date.now())).toBeLessThan(5_000);
    at(0).bar('ejected');
    at(0).since -= 30_000;
    look();
    expect(Math.abs(since() + 30_000 - Date.now())).toBeLessThan(5_000);
  });

  it('is told with the time of day since when, which does not waver', () => {
    const { at, look, snapshot } = sampled();
    at(0).bar('held');
    look();
    const [{ since }] = snapshot().upstreams;
    expect(Math.abs(Date.parse(since) - Date.now())).toBeLessThan(5_000);
    look();
    expect(snapshot().upstreams[0].since).toBe(since);
  });
});

describe('a frame', () => {
  it('has the upstreams that have changed, and no others', () => {
    const { at, look, frame } = sampled();
    const urls = () => frame().pools[0].upstreams.map(({ url }: { url: string }) => url);
    look();
    expect(urls()).toEqual(['http://a', 'http://b']);
    look();
    expect(urls()).toEqual([]);
    at(1).inFlight += 1;
    // Between two looks, everybody gets to know the same.
    expect(urls()).toEqual([]);
    look();
    expect(urls()).toEqual(['http://b']);
    expect(frame().pools[0]).toMatchObject({ inFlight: 1 });
  });

  it('has the order of the list when that is another one', () => {
    const { pool, look, frame, snapshot } = sampled();
    look();
    expect(frame().pools[0].order).toBeUndefined();
    pool.update(['http://c', 'http://a']);
    look();
    expect(frame().pools[0].order).toEqual(['http://c', 'http://a']);
    expect(snapshot().upstreams).toHaveLength(2);
    look();
    expect(frame().pools[0].order).toBeUndefined();
  });

  it('of a thousand busy upstreams is made in a few milliseconds', () => {
    const { pool, look, sampler } = sampled(
      Array.from({ length: 1_000 }, (_, i) => `http://u${i}`),
    );
    const took: number[] = [];
    for (let i = 0; i < 9; i++) {
      for (const upstream of pool.upstreams) answer(upstream, [200, 200, 500], i + 1);
      took.push(
        cpuMilliseconds(() => {
          look();
          sampler.frame();
        }),
      );
    }
    // A few on a machine that is not so slow.
    expect(Math.min(...took)).toBeLessThan(50);
  });
});

describe('UpstreamSample', () => {
  it('goes on counting where a count of the histogram runs over', () => {
    const upstream = new UpstreamPool(['http://a']).upstreams[0] as Upstream;
    const counts = upstream.latency.counts as Uint32Array;
    upstream.latency.record(10);
    const bucket = counts.indexOf(1);
    counts[bucket] = 2 ** 32 - 1;
    const sample = new UpstreamSample(upstream);
    upstream.latency.record(10);
    expect(counts[bucket]).toBe(0);
    const told: number[] = [];
    const pool = { count: () => {}, answered: (_: number, more: number) => told.push(more) };
    sample.look(1_000, pool as never);
    expect(told).toEqual([1]);
  });
});

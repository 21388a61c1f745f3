import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { loadBalancer, proxyErrors, proxyPass, retry, UpstreamPool } from 'headrace';
import request from 'supertest';
import { LatencyHistogram } from '../../src/upstreams/stats.js';
import { appWith } from '../helpers/apps.js';
import { anExchange, seeded } from '../helpers/exchanges.js';
import { closeAfter, serve } from '../helpers/servers.js';

describe('LatencyHistogram', () => {
  it('knows nothing at first', () => {
    const histogram = new LatencyHistogram();
    expect(histogram.count).toBe(0);
    expect(histogram.quantile(0.5)).toBe(0);
  });

  it('is off by at most 6.25 % anywhere between a microsecond and a minute', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 60_000, noNaN: true }), (ms) => {
        const histogram = new LatencyHistogram();
        histogram.record(ms);
        expect(Math.abs(histogram.quantile(0.5) / ms - 1)).toBeLessThanOrEqual(0.0625);
      }),
      { seed: 1, numRuns: 1_000 },
    );
  });

  it('tells the quantiles of many durations', () => {
    const histogram = new LatencyHistogram();
    const random = seeded(7);
    const all = Array.from({ length: 10_000 }, () => Math.exp(random() * 8));
    for (const ms of all) histogram.record(ms);
    all.sort((a, b) => a - b);
    for (const q of [0.01, 0.5, 0.9, 0.99, 0.999]) {
      const exact = all[Math.ceil(q * all.length) - 1] as number;
      expect(Math.abs(histogram.quantile(q) / exact - 1)).toBeLessThanOrEqual(0.0625);
    }
    expect(histogram.count).toBe(10_000);
  });

  it('counts what is below its range and beyond it at its ends', () => {
    const histogram = new LatencyHistogram();
    for (const ms of [0, 0.0001]) histogram.record(ms);
    expect(histogram.quantile(1)).toBeLessThan(0.002);
    for (const ms of [200_000, 1e12, Number.POSITIVE_INFINITY]) histogram.record(ms);
    expect(histogram.quantile(1)).toBeGreaterThan(60_000);
    expect(histogram.count).toBe(5);
  });

  it('never has a lower quantile above a higher one', () => {
    const durations = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(durations, (all) => {
        const histogram = new LatencyHistogram();
        for (const ms of all) histogram.record(ms);
        const quantiles = [0, 0.1, 0.5, 0.9, 1].map((q) => histogram.quantile(q));
        expect(quantiles).toEqual([...quantiles].sort((a, b) => a - b));
      }),
      { seed: 2 },
    );
  });
});

describe('pool.stats()', () => {
  it('is nothing but zeros before the first request', () => {
    const pool = new UpstreamPool([{ url: 'http://user:secret@a/base', weight: 2, priority: 1 }]);
    expect(pool.stats()).toEqual([
      {
        url: 'http://a/base',
        weight: 2,
        priority: 1,
        usable: true,
        bars: [],
        since: expect.any(Number),
        requests: 0,
        failures: {},
        inFlight: 0,
        retries: 0,
        serverErrors: 0,
        bytesSent: 0,
        bytesReceived: 0,
        latencyMs: { p50: 0, p90: 0, p99: 0 },
      },
    ]);
  });

  it('tells failures by code, what is in flight, and every bar', () => {
    const pool = new UpstreamPool(['http://a', 'http://b']);
    const [upstream] = pool.upstreams;
    pool.pick(anExchange());
    upstream?.noteFailure('ERR_PROXY_RESET');
    upstream?.noteFailure('ERR_PROXY_RESET');
    upstream?.noteFailure('ERR_PROXY_CONNECT');
    upstream?.bar('unhealthy');
    upstream?.bar('open');
    expect(pool.stats()[0]).toMatchObject({
      failures: { ERR_PROXY_RESET: 2, ERR_PROXY_CONNECT: 1 },
      inFlight: 1,
      usable: false,
      bars: ['unhealthy', 'open'],
    });
  });

  it('counts retries where they went, and answers from 500 on', async () => {
    const bad = await serve((_req, res) => void res.writeHead(503).end());
    const good = await serve((_req, res) => void res.writeHead(404).end());
    const pool = new UpstreamPool([bad.url, good.url]);
    closeAfter(() => pool.close());
    const app = appWith(loadBalancer({ upstreams: pool }), retry(), proxyPass(), proxyErrors());
    await request(app).get('/').expect(404);
    expect(pool.stats()).toMatchObject([
      { requests: 1, retries: 0, serverErrors: 1 },
      { requests: 1, retries: 1, serverErrors: 0 },
    ]);
  });

  it('is a snapshot, which later requests do not change', () => {
    const pool = new UpstreamPool(['http://a']);
    const [before] = pool.stats();
    pool.pick(anExchange());
    pool.upstreams[0]?.noteFailure('ERR_PROXY_RESET');
    expect(before).toMatchObject({ inFlight: 0, failures: {} });
  });
});

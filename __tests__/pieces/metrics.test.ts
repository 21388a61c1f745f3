import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import express from 'express';
import {
  cache,
  circuitBreaker,
  concurrencyLimit,
  fallback,
  type Handler,
  type Metrics,
  type MetricsOptions,
  metrics,
  proxyErrors,
  proxyPass,
  retry,
  UpstreamPool,
} from 'headrace';
import { Registry } from 'prom-client';
import { rawClient } from '../helpers/client.js';
import { dashboardQueries } from '../helpers/dashboard.js';
import { fetchWhole } from '../helpers/http.js';
import { http2Upstream } from '../helpers/http2.js';
import { complaintsOf, hasPrometheus, prometheusOf, samplesOf } from '../helpers/prometheus.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  openForAll,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import { chatUpstream, tunnelClient, tunnelGateway } from '../helpers/tunnels.js';

let scraped: Scraped | undefined;

// It looks at its targets for the first time after five seconds: the other tests run meanwhile.
beforeAll(async () => {
  if (hasPrometheus) scraped = await openForAll(scrapedGateway);
});

const OPEN_METRICS = { accept: 'application/openmetrics-text;version=1.0.0,*/*;q=0.1' };

/** Metrics that end with the test. */
function measured(options?: MetricsOptions): Metrics {
  const m = metrics(options);
  closeAfter(() => m.close());
  return m;
}

/** What metrics expose: its text, asked for where nothing else is. */
async function scrape(m: Metrics, headers: Record<string, string> = {}) {
  const { url } = await gateway('node:http', m.handler);
  return fetchWhole(url, { headers });
}

/** The samples of metrics, once one of them is as it is awaited. */
async function samples(m: Metrics, series: string, value: number): Promise<Map<string, number>> {
  const { url } = await gateway('node:http', m.handler);
  let found = new Map<string, number>();
  const deadline = performance.now() + 5_000;
  while (found.get(series) !== value && performance.now() < deadline) {
    found = samplesOf(String((await fetchWhole(url)).body));
  }
  expect(found.get(series)).toBe(value);
  return found;
}

/** A pipeline to an upstream; its connections close with the test. */
function passTo(target: string | UpstreamPool): Handler {
  const pass = proxyPass(target);
  closeAfter(() => pass.close());
  return pass;
}

/** A pool that closes with the test. */
function poolOf(...args: ConstructorParameters<typeof UpstreamPool>): UpstreamPool {
  const pool = new UpstreamPool(...args);
  closeAfter(() => pool.close());
  return pool;
}

describe('metrics', () => {
  it.each([
    [{ bucket: [1] }, 'metrics: unknown option "bucket", did you mean "buckets"?'],
    [{ buckets: 1 }, 'metrics: buckets must be an array, received 1'],
    [{ buckets: [] }, 'metrics: buckets must be from 1 to 100 bounds, received an array of 0'],
    [{ buckets: [0] }, 'metrics: buckets[0] must be a number above 0, received 0'],
    [{ buckets: [1, 1] }, 'metrics: buckets[1] must be a number above 1, received 1'],
    [{ buckets: [1, Infinity] }, 'metrics: buckets[1] must be a number above 1, received Infinity'],
    [
      { labels: [] },
      'metrics: labels must be an object of functions by name, received an array of 0',
    ],
    [{ labels: { 'a-b': () => '' } }, 'metrics: labels: "a-b" is no name for a label'],
    [{ labels: { __a: () => '' } }, 'metrics: labels: "__a" is no name for a label'],
    [{ labels: { status: () => '' } }, 'metrics: labels: "status" is taken'],
    [{ labels: { tenant: 'a' } }, 'metrics: labels.tenant must be a function, received "a"'],
    [{ pools: { api: {} } }, 'metrics: pools.api must be an UpstreamPool, received an object []'],
    [{ limits: { all: 3 } }, 'metrics: limits.all must be a concurrencyLimit(), received 3'],
    [
      { breakers: { all: () => {} } },
      'metrics: breakers.all must be a circuitBreaker(), received function all',
    ],
    [{ budgets: { all: {} } }, 'metrics: budgets.all must be a retry(), received an object []'],
    [{ caches: { all: {} } }, 'metrics: caches.all must be a cache(), received an object []'],
    [{ registry: 'mine' }, 'metrics: registry must be a registry, received "mine"'],
    [{ registry: {} }, 'metrics: registry.metrics must be a function, received undefined'],
    [{ now: 1 }, 'metrics: now must be a function, received 1'],
  ])('refuses %p', (options, message) => {
    expect(() => metrics(options as never)).toThrow(message);
  });

  it.each(frameworks)('counts and measures requests in %s', async (framework) => {
    const { url: upstream } = await serve((req, res) => void req.pipe(res));
    const m = measured();
    const { url } = await gateway(framework, m, passTo(upstream));
    const { status } = await fetchWhole(`${url}/secret/42?token=x`, { method: 'GET' });
    expect(status).toBe(200);
    const found = await samples(
      m,
      'headrace_requests_total{method="GET",route="/*",status="200",outcome="completed"}',
      1,
    );
    const ofGet = '{method="GET",route="/*"}';
    expect(found.get(`headrace_request_duration_seconds_count${ofGet}`)).toBe(1);
    expect(found.get(`headrace_request_duration_seconds_sum${ofGet}`)).toBeGreaterThan(0);
    expect(found.get(`headrace_request_time_to_head_seconds_count${ofGet}`)).toBe(1);
    expect(found.get(`headrace_upstream_tries_total{upstream="${upstream}",status="2xx"}`)).toBe(1);
    expect(found.get('headrace_requests_in_flight')).toBe(0);
    expect([...found.keys()].join()).not.toMatch(/secret|token/);
  });

  it('tells how requests end, and how many bytes of bodies went each way', async () => {
    const { url: upstream } = await serve((req, res) => {
      if (req.url === '/break') res.writeHead(200).write('x', () => res.destroy());
      else if (req.url !== '/wait') req.on('end', () => res.writeHead(599).end('four')).resume();
    });
    const m = measured();
    const { url, port } = await gateway('express 5', m, passTo(upstream), proxyErrors());
    const sent = fetch(url, { method: 'PUT', body: 'seven b' });
    expect(await (await sent).text()).toBe('four');
    await expect(fetchWhole(`${url}/break`)).rejects.toThrow();
    const leaver = await rawClient(port, 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n');
    await samples(m, 'headrace_requests_in_flight', 1);
    leaver.socket.destroy();
    const put = 'method="PUT",route="/*"';
    const get = 'method="GET",route="/*"';
    const found = await samples(
      m,
      `headrace_requests_total{${get},status="499",outcome="client-closed"}`,
      1,
    );
    expect(found.get('headrace_requests_in_flight')).toBe(0);
    expect(found.get(`headrace_requests_total{${put},status="5xx",outcome="completed"}`)).toBe(1);
    expect(found.get(`headrace_requests_total{${get},status="200",outcome="failed"}`)).toBe(1);
    expect(found.get(`headrace_request_body_bytes_total{${put}}`)).toBe(7);
    expect(found.get(`headrace_response_body_bytes_total{${put}}`)).toBe(4);
    expect(found.get(`headrace_request_failures_total{${get},code="ERR_PROXY_RESET"}`)).toBe(1);
    expect(
      found.get(`headrace_request_failures_total{${get},code="ERR_PROXY_CLIENT_CLOSED"}`),
    ).toBe(1);
    const failed = `headrace_upstream_failures_total{upstream="${upstream}",code=`;
    expect(found.get(`${failed}"ERR_PROXY_RESET"}`)).toBe(1);
    expect(found.has(`${failed}"ERR_PROXY_CLIENT_CLOSED"}`)).toBe(false);
  });

  it('keeps the route of a request that an error handler has answered', async () => {
    const m = measured();
    const app = express().set('env', 'test');
    app.use(m);
    app.get('/users/:id', passTo('http://127.0.0.1:1') as express.RequestHandler);
    app.use(proxyErrors());
    const { url } = await serve(app);
    await fetchWhole(`${url}/users/1`);
    await fetchWhole(`${url}/users/2`);
    const labels = 'method="GET",route="/users/:id"';
    await samples(m, `headrace_requests_total{${labels},status="502",outcome="failed"}`, 2);
  });

  it('counts retries, those that the budget refused, and what a fallback made up for', async () => {
    const { url: upstream } = await serve((_req, res) => res.writeHead(503).end());
    const m = measured();
    const again = retry({
      retries: 3,
      budget: { ratio: 0, minPerSecond: 1 },
      backoff: { baseMs: 0 },
      now: () => 0,
    });
    const instead = fallback({ status: 200, body: 'all is well' });
    const { url } = await gateway('express 5', m, again, passTo(upstream));
    await fetchWhole(url);
    const down = await gateway('express 5', m, instead, passTo('http://127.0.0.1:1'));
    await fetchWhole(down.url, { method: 'HEAD' });
    const labels = '{method="GET",route="/*"}';
    const found = await samples(m, 'headrace_degraded_total{method="HEAD",route="/*"}', 1);
    expect(found.get(`headrace_retries_total${labels}`)).toBe(1);
    expect(found.get(`headrace_retries_refused_total${labels}`)).toBe(1);
    expect(found.get(`headrace_upstream_tries_total{upstream="${upstream}",status="5xx"}`)).toBe(2);
    const head = 'method="HEAD",route="/*"';
    const failures = `headrace_request_failures_total{${head},code="ERR_PROXY_CONNECT"}`;
    expect(found.get(failures)).toBe(1);
  });

  it('shows tunnels while they are open, and keeps what went through them', async () => {
    const upstream = await chatUpstream();
    const m = measured();
    const { port } = await tunnelGateway('express 5', m, passTo(upstream.url));
    const client = await tunnelClient(port);
    client.write('hello');
    await eventually('the bytes', () => upstream.received().endsWith('hello'));
    const sent = 'headrace_tunnel_bytes_total{direction="sent"}';
    const open = await samples(m, 'headrace_tunnels_open', 1);
    expect(open.get('headrace_tunnels_total')).toBe(1);
    expect(open.get('headrace_requests_in_flight')).toBe(0);
    expect(open.get(sent)).toBe(5);
    client.socket.destroy();
    const over = await samples(m, 'headrace_tunnels_open', 0);
    expect(over.get('headrace_tunnels_total')).toBe(1);
    expect(over.get(sent)).toBe(5);
    const labels = 'method="GET",route="/*"';
    const total = `headrace_requests_total{${labels},status="101",outcome="upgraded"}`;
    expect(over.get(total)).toBe(1);
    expect(over.get(`headrace_request_duration_seconds_count{${labels}}`)).toBe(0);
  });

  it('shows pools: upstreams, what stands against them, circuits, connections', async () => {
    let down = true;
    const { url: upstream } = await serve((_req, res) => res.writeHead(down ? 500 : 200).end());
    const pool = poolOf([`${upstream}/?key=secret`, { url: `${upstream}/?key=other`, weight: 0 }], {
      health: { passive: false },
    });
    let time = 0;
    const breaker = circuitBreaker({ volumeThreshold: 1, resetTimeoutMs: 1_000, now: () => time });
    const m = measured({ pools: { api: pool, again: pool } });
    const { url } = await gateway('express 5', m, breaker, passTo(pool), proxyErrors());
    await fetchWhole(url);
    const its = (rest = '', name = upstream) => `{pool="api",upstream="${name}"${rest}}`;
    const transitions = 'headrace_upstream_circuit_transitions_total';
    const open = await samples(m, `${transitions}${its(',state="open"')}`, 1);
    expect(open.get(`headrace_upstream_circuit_state${its(',state="open"')}`)).toBe(1);
    expect(open.get(`headrace_upstream_circuit_state${its(',state="closed"')}`)).toBe(0);
    expect(open.get(`headrace_upstream_ejections_total${its(',reason="open"')}`)).toBe(1);
    expect(open.get(`headrace_upstream_eligible${its()}`)).toBe(0);
    expect(open.get('headrace_pool_upstreams{pool="api"}')).toBe(2);
    expect(open.get('headrace_pool_upstreams_eligible{pool="api"}')).toBe(0);
    expect(open.get(`headrace_upstream_connections${its(',state="idle"')}`)).toBe(1);
    expect(open.get(`headrace_upstream_connections${its(',state="busy"')}`)).toBe(0);
    expect(open.get(`headrace_upstream_requests_waiting${its()}`)).toBe(0);
    expect(open.get(`headrace_upstream_eligible{pool="api",upstream="${upstream}#2"}`)).toBe(0);
    expect([...open.keys()].join()).not.toMatch(/secret|other/);
    down = false;
    time = 1_000;
    await fetchWhole(url);
    await fetchWhole(url);
    await samples(m, `${transitions}${its(',state="closed"')}`, 1);
  });

  it('shows connections that are busy, and what waits for one, over HTTP/2 as well', async () => {
    const waiting = await serve(() => {});
    const { port: http2Port } = await http2Upstream(() => {});
    const streaming = `http://127.0.0.1:${http2Port}`;
    const one = poolOf([waiting.url], { transport: { connections: 1 } });
    const two = poolOf([streaming], { transport: { http2: 'prior-knowledge' } });
    const m = measured({ pools: { one, two } });
    const first = await gateway('node:http', m, passTo(one));
    const second = await gateway('node:http', m, passTo(two));
    const ask = ({ port }: { port: number }) =>
      rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    for (const at of [first, first, first, second]) await ask(at);
    const its = (pool: string, url: string) => `pool="${pool}",upstream="${url}"`;
    const toOne = its('one', waiting.url);
    const toTwo = its('two', streaming);
    await samples(m, `headrace_upstream_requests_waiting{${toOne}}`, 2);
    await samples(m, `headrace_upstream_connections{${toOne},state="busy"}`, 1);
    const found = await samples(m, `headrace_upstream_connections{${toTwo},state="busy"}`, 1);
    expect(found.get(`headrace_upstream_connections{${toTwo},state="idle"}`)).toBe(0);
    expect(found.get(`headrace_upstream_requests_waiting{${toTwo}}`)).toBe(0);
  });

  it('shows the upstreams that a pool has now', async () => {
    const pool = poolOf(['http://a.test', 'http://b.test']);
    const m = measured({ pools: { api: pool } });
    const eligible = (name: string) =>
      `headrace_upstream_eligible{pool="api",upstream="http://${name}.test"}`;
    await samples(m, eligible('a'), 1);
    pool.remove('http://a.test');
    pool.add('http://c.test');
    const found = await samples(m, eligible('c'), 1);
    expect([found.has(eligible('a')), found.get(eligible('b'))]).toEqual([false, 1]);
  });

  it('shows how full limits are', async () => {
    const { url: upstream, server } = await serve(() => {});
    const limit = concurrencyLimit({ limit: 1, queue: { size: 1 } });
    const m = measured({ limits: { all: limit } });
    const { port } = await gateway('express 5', m, limit, passTo(upstream), proxyErrors());
    const asked = once(server, 'request');
    await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await asked;
    await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const found = await samples(m, 'headrace_limit_waiting{limit="all"}', 1);
    expect(found.get('headrace_limit_in_flight{limit="all"}')).toBe(1);
  });

  it('shows what caches hold, and what they answer', async () => {
    const { url: upstream } = await serve((_req, res) => {
      res.setHeader('Cache-Control', 'max-age=60').end('hello');
    });
    const kept = cache();
    const m = measured({ caches: { pages: kept } });
    const { url } = await gateway('express 5', m, kept, passTo(upstream), proxyErrors());
    for (const path of ['/a', '/a', '/a', '/b']) await fetchWhole(url + path);
    const count = (result: string) =>
      `headrace_cache_requests_total{cache="pages",result="${result}"}`;
    const found = await samples(m, count('hit'), 2);
    expect(['miss', 'revalidated', 'stale'].map((one) => found.get(count(one)))).toEqual([2, 0, 0]);
    expect(found.get('headrace_cache_entries{cache="pages"}')).toBe(2);
    expect(found.get('headrace_cache_bytes{cache="pages"}')).toBe(kept.stats().bytes);
  });

  it('shows the circuits of breakers by their states, and no key of a client', async () => {
    const { url: upstream } = await serve((req, res) => {
      res.writeHead(req.headers['x-key'] === 'well' ? 200 : 500).end();
    });
    let time = 0;
    const given = { volumeThreshold: 1, resetTimeoutMs: 1_000, now: () => time };
    const keys = circuitBreaker({ ...given, per: (req) => String(req.headers['x-key']) });
    const route = circuitBreaker({ ...given, per: 'route' });
    const each = circuitBreaker(given);
    const m = measured({ breakers: { keys, route, each } });
    const ofKeys = await gateway('express 5', keys, passTo(upstream), proxyErrors());
    const others = await gateway('express 5', route, each, passTo(upstream), proxyErrors());
    for (const key of ['well', 'ill', 'worse']) {
      await fetchWhole(ofKeys.url, { headers: { 'x-key': key } });
    }
    await fetchWhole(others.url);
    const circuits = (breaker: string, state: string) =>
      `headrace_breaker_circuits{breaker="${breaker}",state="${state}"}`;
    const found = await samples(m, circuits('keys', 'open'), 2);
    expect(found.get(circuits('keys', 'closed'))).toBe(1);
    expect(found.get(circuits('keys', 'half-open'))).toBe(0);
    expect(found.get(circuits('route', 'open'))).toBe(1);
    expect(found.get(circuits('each', 'open'))).toBe(1);
    const opened = (breaker: string) =>
      `headrace_breaker_transitions_total{breaker="${breaker}",state="open"}`;
    expect(['keys', 'route', 'each'].map((name) => found.get(opened(name)))).toEqual([2, 1, 1]);
    expect([...found.keys()].join()).not.toMatch(/well|ill|worse/);
    time = 1_000;
    const later = await samples(m, circuits('keys', 'half-open'), 2);
    expect(later.get(circuits('keys', 'open'))).toBe(0);
    expect(later.get(opened('keys'))).toBe(2);
  });

  it('shows what the budgets of retries have left', async () => {
    const { url: upstream } = await serve((_req, res) => res.writeHead(503).end());
    const given = { backoff: { baseMs: 0 }, now: () => 0 };
    const again = retry({ ...given, retries: 1, budget: { ratio: 0.5, minPerSecond: 2 } });
    const m = measured({ budgets: { api: again, boundless: retry({ budget: false }) } });
    const left = 'headrace_retry_budget_left{budget="api"}';
    const found = await samples(m, left, 2);
    expect([...found.keys()].join()).not.toContain('boundless');
    const { url } = await gateway('express 5', again, passTo(upstream));
    for (const expected of [1, 1, 0, 0]) {
      await fetchWhole(url);
      expect(again.retriesLeft).toBe(expected);
    }
    await samples(m, left, 0);
  });

  it('has labels of the user: of functions, cut and counted, whatever they do', async () => {
    const m = measured({
      labels: {
        route: ({ req }) => `of ${req.method}`,
        tenant: ({ req }) => req.headers['x-tenant'] as string | undefined,
        broken: () => {
          throw new Error('no label today');
        },
        odd: (() => 7) as never,
        late: (async () => Promise.reject(new Error('no label today'))) as never,
      },
    });
    const { url } = await gateway('node:http', m, (_req, res) => res.end());
    await fetchWhole(url, { headers: { 'x-tenant': 'a"b\\' } });
    await fetchWhole(url, { headers: { 'x-tenant': 'x'.repeat(500) } });
    await fetchWhole(url);
    const of = (tenant: string) =>
      `headrace_requests_total{method="GET",route="of GET",tenant="${tenant}",broken="other",odd="other",late="other",status="200",outcome="completed"}`;
    const found = await samples(m, of(''), 1);
    expect(found.get(of('a\\"b\\\\'))).toBe(1);
    expect(found.get(of('x'.repeat(128)))).toBe(1);
  });

  it('counts a request once, however often it comes by', async () => {
    const m = measured();
    const { url } = await gateway('express 5', m, m, (_req, res) => res.end());
    await fetchWhole(url);
    const labels = 'method="GET",route="/*",status="200",outcome="completed"';
    await samples(m, `headrace_requests_total{${labels}}`, 1);
  });
});

describe('the handler of metrics', () => {
  it('writes the format that is asked for, and is not counted', async () => {
    const m = measured();
    const { url } = await gateway('express 5', m, m.handler);
    const older = await fetchWhole(url);
    const newer = await fetchWhole(url, { headers: OPEN_METRICS });
    expect([older.status, older.headers['content-type'], older.headers['cache-control']]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
      'no-store',
    ]);
    expect(newer.headers['content-type']).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    expect(String(newer.body)).toMatch(/\n# EOF\n$/);
    expect(samplesOf(String(newer.body)).get('headrace_requests_in_flight')).toBe(0);
    expect(String(newer.body)).not.toContain('headrace_requests_total{');
  });

  it('answers HEAD without a body, and refuses other methods', async () => {
    const { url } = await gateway('node:http', measured().handler);
    const head = await fetchWhole(url, { method: 'HEAD' });
    expect([head.status, head.body.length]).toEqual([200, 0]);
    expect(Number(head.headers['content-length'])).toBeGreaterThan(100);
    const posted = await fetchWhole(url, { method: 'POST' });
    expect([posted.status, posted.headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  it('has the error of a registry for next', async () => {
    const registry = new Registry();
    registry.metrics = () => Promise.reject(new Error('not today'));
    const m = measured({ registry });
    const report: Middleware = (error: Error, _req: never, res: express.Response, _next: never) =>
      res.end(error.message);
    const { url } = await gateway('express 5', m.handler, report);
    expect(String((await fetchWhole(url)).body)).toBe('not today');
  });
});

describe('metrics in a registry of the user', () => {
  const [major = 0] = process.versions.node.split('.').map(Number);
  const registries: [string, () => Promise<new (type?: never) => Registry>][] = [
    ['prom-client', async () => Registry],
    [
      '@prometheus-io/client',
      async () => (await import('@prometheus-io/client')).Registry as never,
    ],
  ];
  // The second one needs Node 22.
  const usable = registries.slice(0, major >= 22 ? 2 : 1);

  it.each(usable)('of %s come out as in our own', async (_, load) => {
    const TheirRegistry = await load();
    const { url: upstream } = await serve((_req, res) => res.end('ok'));
    for (const headers of [{}, OPEN_METRICS]) {
      const registry = new TheirRegistry();
      const both = [measured({ registry }), measured()] as const;
      if (headers === OPEN_METRICS) registry.setContentType(OPEN_METRICS_TYPE as never);
      const { url } = await gateway('express 5', ...both, passTo(upstream));
      await fetchWhole(url);
      const series =
        'headrace_requests_total{method="GET",route="/*",status="200",outcome="completed"}';
      const [theirs, ours] = [await samples(both[0], series, 1), await samples(both[1], series, 1)];
      expect([...theirs.keys()].sort()).toEqual([...ours.keys()].sort());
      const { headers: got } = await scrape(both[0], headers);
      expect(got['content-type']).toBe(registry.contentType);
      if (hasPrometheus && headers !== OPEN_METRICS) {
        expect(await complaintsOf(await registry.metrics())).toBe('');
      }
      registry.resetMetrics();
      expect(await registry.getMetricsAsJSON()).toContainEqual(
        expect.objectContaining({ type: 'histogram', aggregator: 'sum' }),
      );
      both[0].close();
      expect(registry.getMetricsAsArray()).toEqual([]);
    }
  });

  it('do not go in where one of the names is taken, and leave nothing behind', () => {
    const registry = new Registry();
    const first = measured({ registry });
    const count = registry.getMetricsAsArray().length;
    expect(() => metrics({ registry })).toThrow(
      'metrics: registry has a metric "headrace_requests_total" already',
    );
    expect(registry.getMetricsAsArray()).toHaveLength(count);
    first.close();
    measured({ registry });
    expect(registry.getMetricsAsArray()).toHaveLength(count);
  });
});

const OPEN_METRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

const withPrometheus = hasPrometheus || process.env.CI ? describe : describe.skip;

withPrometheus('Prometheus', () => {
  it('finds nothing wrong with the older format', async () => {
    const { url: upstream } = await serve((_req, res) => res.end('ok'));
    const m = measured({ pools: { 'a "b" \\c\n': poolOf([upstream]) } });
    const { url } = await gateway('express 5', m, passTo(upstream));
    await fetchWhole(url);
    expect(await complaintsOf(String((await scrape(m)).body))).toBe('');
  });

  it('scrapes OpenMetrics, answers queries, and understands those of the dashboard', async () => {
    const { ask, upstream, types } = scraped as Scraped;
    const find = async (query: string) => {
      for (;;) {
        const found = await ask(query);
        if (found.length > 0) return found;
        await delay(50);
      }
    };
    const [total] = await find('sum by (route) (headrace_requests_total)');
    expect(total).toEqual({ metric: { route: '/api/*' }, value: 3 });
    const [le] = await find('headrace_request_duration_seconds_bucket{le="1.0"}');
    expect(le?.value).toBe(3);
    const [eligible] = await find('headrace_upstream_eligible');
    expect(eligible?.metric).toMatchObject({ pool: 'a "b" \\c\n', upstream });
    const [up] = await find('up');
    expect(up?.value).toBe(1);
    expect(types[0]).toBe(OPEN_METRICS_TYPE);
    for (const query of dashboardQueries()) await ask(query);
  });
});

/** A gateway that Prometheus scrapes, what it was given, and a way to ask it. */
interface Scraped {
  readonly ask: Awaited<ReturnType<typeof prometheusOf>>;
  readonly upstream: string;
  readonly types: unknown[];
}

async function scrapedGateway(): Promise<Scraped> {
  const { url: upstream } = await serve((_req, res) => res.end('ok'));
  const m = measured({ pools: { 'a "b" \\c\n': poolOf([upstream]) } });
  const types: unknown[] = [];
  const app = express();
  app.use(m);
  app.get('/metrics', (req, res, next) => {
    m.handler(req, res, next);
    res.on('close', () => types.push(res.getHeader('content-type')));
  });
  app.use('/api', passTo(upstream) as express.RequestHandler);
  const { url, port } = await serve(app);
  for (let i = 0; i < 3; i++) await fetchWhole(`${url}/api/${i}`);
  return { ask: await prometheusOf(port), upstream, types };
}

describe('metrics that are closed', () => {
  it('no longer listen to their pools', () => {
    const pool = poolOf(['http://127.0.0.1:1']);
    const on = jest.spyOn(pool, 'on');
    const off = jest.spyOn(pool, 'off');
    metrics({ pools: { api: pool } }).close();
    expect(on.mock.calls.map(([event]) => event)).toEqual(['ejected', 'circuit']);
    expect(off.mock.calls).toEqual(on.mock.calls);
  });
});

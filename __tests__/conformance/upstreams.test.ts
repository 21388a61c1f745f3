import { describe, expect, it } from '@jest/globals';
import {
  consistentHash,
  type Exchange,
  exchangeOf,
  type Handler,
  type LoadBalancerOptions,
  loadBalancer,
  type PoolListener,
  proxyErrors,
  proxyPass,
  proxyStatus,
  type RetryOptions,
  retry,
  type UpstreamInit,
  UpstreamPool,
  type UpstreamPoolEvents,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { seeded, testClock } from '../helpers/exchanges.js';
import { load } from '../helpers/load.js';
import { runProgram } from '../helpers/programs.js';
import { request, requestsOf, upload } from '../helpers/requests.js';
import {
  closeAfter,
  gateway,
  type Middleware,
  type RawUpstream,
  rawUpstream,
  refusing,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import type * as scenarios from '../load/scenarios.js';

/** Upstreams that answer with their names. */
function named(...names: string[]): Promise<string[]> {
  return Promise.all(names.map(async (name) => (await serve((_req, res) => res.end(name))).url));
}

/** What one of the scenarios under load sees, in a process of its own. */
async function scenario<K extends keyof typeof scenarios>(
  name: K,
): Promise<Awaited<ReturnType<(typeof scenarios)[K]>>> {
  const printed = await runProgram(`
    import { ${name} } from './__tests__/load/scenarios.ts';
    ${name}().then((seen) => console.log(JSON.stringify(seen)));
  `);
  return JSON.parse(printed);
}

/** A pipeline over a pool; `before` stands before `loadBalancer()`, `after` behind it. */
async function balanced(
  options: LoadBalancerOptions,
  { before = [], after = [] }: { before?: Middleware[]; after?: Middleware[] } = {},
) {
  const balancer = loadBalancer(options);
  closeAfter(() => balancer.close());
  const pipeline = [...before, balancer, ...after, proxyPass(), proxyErrors()];
  const { port } = await gateway('express 5', ...pipeline);
  const ask = async (...headers: string[]) => rawRequest(port, request('GET /', headers));
  const askTimes = async (times: number, ...headers: string[]): Promise<string> => {
    let bodies = '';
    for (let i = 0; i < times; i++) bodies += (await ask(...headers)).body;
    return bodies;
  };
  return { port, pool: balancer.upstreams, ask, askTimes };
}

/** Resolves with the first event of a kind. */
function first<K extends keyof UpstreamPoolEvents>(
  pool: UpstreamPool,
  event: K,
): Promise<UpstreamPoolEvents[K]> {
  return new Promise((resolve) => {
    const listener: PoolListener<K> = (...args) => resolve(args);
    pool.on(event, listener);
  });
}

describe('1. Strategies', () => {
  it('are chosen by name: smooth weights', async () => {
    const [a = '', b = '', c = ''] = await named('A', 'B', 'C');
    const { askTimes } = await balanced({
      strategy: 'weighted-round-robin',
      upstreams: [
        { url: a, weight: 4 },
        { url: b, weight: 3 },
        { url: c, weight: 2 },
      ],
    });
    expect(await askTimes(18)).toBe('ABCABCABA'.repeat(2));
  });

  it('count requests in flight from pick to close', async () => {
    const held = await rawUpstream((_bytes, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh');
      return undefined;
    });
    const [b = ''] = await named('B');
    const upstreams = [held.url, b];
    const { port, pool, askTimes } = await balanced({ strategy: 'least-connections', upstreams });
    const client = await rawClient(port, request('GET /'));
    await client.until((received) => received.endsWith('h'));
    expect(await askTimes(5)).toBe('BBBBB');
    held.sockets[0]?.write('!');
    await client.until((received) => received.endsWith('h!'));
    await eventually('the end', () => pool.stats()[0]?.inFlight === 0);
    expect(pool.stats()[1]?.inFlight).toBe(0);
  });

  it('keep a client, or a key of the request, on one upstream', async () => {
    const upstreams = await named('A', 'B', 'C');
    const byAddress = await balanced({ strategy: 'ip-hash', upstreams });
    expect(new Set(await byAddress.askTimes(10)).size).toBe(1);
    const key = (req: { headers: NodeJS.Dict<string | string[]> }) => String(req.headers['x-key']);
    const byKey = await balanced({ strategy: consistentHash({ key }), upstreams });
    const seen = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const bodies = new Set(await byKey.askTimes(2, `X-Key: ${i}`));
      expect(bodies.size).toBe(1);
      for (const body of bodies) seen.add(body);
    }
    expect([...seen].sort()).toEqual(['A', 'B', 'C']);
  });

  it('may be an object of one’s own', async () => {
    const upstreams = await named('A', 'B', 'C');
    const strategy: LoadBalancerOptions['strategy'] = {
      pick: (candidates, { path }) => candidates[path.length % candidates.length],
    };
    const { port } = await balanced({ upstreams, strategy });
    const at = async (path: string) => (await rawRequest(port, request(`GET ${path}`))).body;
    expect(await at('/')).toBe('B');
    expect(await at('/12')).toBe('A');
  });
});

describe('2. What gets nothing', () => {
  it('is an upstream of weight 0', async () => {
    const [a = '', b = ''] = await named('A', 'B');
    const { askTimes } = await balanced({ upstreams: [{ url: a, weight: 0 }, b] });
    expect(await askTimes(6)).toBe('BBBBBB');
  });

  it('is a client of a pool of which nothing may be used: 503', async () => {
    const { ask, pool } = await balanced({ upstreams: await named('A', 'B') });
    for (const upstream of pool.upstreams) upstream.bar('unhealthy');
    const { status, body } = await ask();
    expect([status, JSON.parse(body).code]).toEqual([503, 'ERR_PROXY_NO_UPSTREAM']);
  });

  it('is never a single upstream’s fate, however often it fails', async () => {
    const url = await refusing();
    const passive = { maxFailures: 1, maxEjectedRatio: 1 };
    const { ask, pool } = await balanced({ upstreams: [url], health: { passive } });
    for (let i = 0; i < 20; i++) expect((await ask()).status).toBe(502);
    expect(pool.stats()).toMatchObject([{ usable: true, requests: 20 }]);
  });
});

describe('4. Passive health', () => {
  it('takes a failing upstream out for a while, and lets it back', async () => {
    let broken = true;
    const shaky = await rawUpstream((_bytes, socket) => {
      if (broken) socket.destroy();
      return broken ? undefined : 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nS';
    });
    const [b = ''] = await named('B');
    const { ask, askTimes, pool } = await balanced({
      upstreams: [shaky.url, b],
      health: { passive: { maxFailures: 3, ejectMs: 150 } },
    });
    const recovered = first(pool, 'recovered');
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push((await ask()).status);
    expect(statuses).toEqual([502, 200, 502, 200, 502, 200]);
    expect(pool.stats()[0]).toMatchObject({ usable: false, bars: ['ejected'] });
    expect(await askTimes(4)).toBe('BBBB');
    broken = false;
    expect((await recovered)[0]).toBe(pool.upstreams[0]);
    expect([...(await askTimes(4))].sort().join('')).toBe('BBSS');
  });

  it('counts neither clients that leave nor clients that stand still', async () => {
    const silent = await rawUpstream(() => undefined);
    const balancer = loadBalancer({
      upstreams: [silent.url, await refusing()],
      strategy: { pick: ([upstream]) => upstream },
      health: { passive: { maxFailures: 1 } },
    });
    closeAfter(() => balancer.close());
    const pass = proxyPass({ bodyTimeoutMs: 60 });
    const { port } = await gateway('express 5', balancer, pass, proxyErrors());
    for (let i = 0; i < 5; i++) {
      const client = await rawClient(port, request('GET /'));
      await eventually('the request', () => requestsOf(silent).length === i + 1);
      client.socket.destroy();
    }
    const [stats] = balancer.upstreams.stats();
    await eventually('the end', () => balancer.upstreams.stats()[0]?.inFlight === 0);
    const half = upload('POST /', [], 'half of it').slice(0, -5);
    expect((await rawRequest(port, half)).status).toBe(408);
    expect(stats?.usable).toBe(true);
    expect(balancer.upstreams.stats()[0]).toMatchObject({
      usable: true,
      failures: { ERR_PROXY_CLIENT_CLOSED: 5 },
    });
  });
});

describe('5. Active health', () => {
  it('takes an upstream out that answers badly, and brings it back, without a request', async () => {
    let status = 200;
    const { url } = await serve((req, res) => {
      res.statusCode = req.url === '/health' ? status : 200;
      res.end('A');
    });
    const [b = ''] = await named('B');
    const active = { path: '/health', intervalMs: 15, healthyAfter: 2, unhealthyAfter: 2 };
    const expectStatus = (code: number): boolean => code !== 503;
    const { askTimes, pool } = await balanced({
      upstreams: [url, b],
      health: { active: { ...active, expectStatus } },
    });
    const ejected = first(pool, 'ejected');
    status = 503;
    expect(await ejected).toEqual([pool.upstreams[0], 'unhealthy']);
    expect(await askTimes(3)).toBe('BBB');
    const recovered = first(pool, 'recovered');
    status = 200;
    await recovered;
    expect([...(await askTimes(4))].sort().join('')).toBe('AABB');
  });

  it('waits for a good answer where upstreams are taken for unhealthy, discovered ones too', async () => {
    let status = 503;
    const { url } = await serve((_req, res) => {
      res.statusCode = status;
      res.end('A');
    });
    const discovery = (async function* discover(): AsyncGenerator<UpstreamInit[]> {
      yield [url, await refusing()];
      await new Promise(() => {});
    })();
    const active = { intervalMs: 15, initial: 'unhealthy' } as const;
    const { ask, askTimes, pool } = await balanced({ upstreams: discovery, health: { active } });
    const recovered = first(pool, 'recovered');
    const refusal = await ask();
    expect(refusal.status).toBe(503);
    expect(String(refusal.body)).not.toBe('A');
    status = 200;
    await recovered;
    expect(await askTimes(3)).toBe('AAA');
    expect(pool.stats().map(({ usable }) => usable)).toEqual([true, false]);
  });
});

describe('6. Slow start', () => {
  it('lets the share of a new upstream grow with its age', async () => {
    const [a = '', b = ''] = await named('A', 'B');
    const clock = testClock();
    const { port, pool } = await balanced({
      upstreams: [a],
      slowStartMs: 10_000,
      now: clock,
      random: seeded(21),
    });
    pool.add(b);
    const share = async (): Promise<number> => {
      const { bodies } = await load(port, { more: (sent) => sent < 200, clients: 8 });
      return (bodies.B ?? 0) / 200;
    };
    expect(await share()).toBe(0);
    clock.advance(5_000);
    const half = await share();
    expect(half).toBeGreaterThan(0.24);
    expect(half).toBeLessThan(0.43);
    clock.advance(5_000);
    expect(await share()).toBeCloseTo(0.5, 2);
  });
});

describe('7. Sticky sessions', () => {
  it('bring clients back, by a cookie that tells nothing', async () => {
    const upstreams = await named('A', 'B', 'C');
    const sticky = { secret: 'a secret of enough length', name: 'up', ttlMs: 60_000 };
    const { ask, askTimes, pool } = await balanced({ upstreams, sticky });
    const { body, header } = await ask();
    const [cookie = '', ...attributes] = String(header('set-cookie')).split('; ');
    expect(attributes).toEqual(['Path=/', 'Max-Age=60', 'HttpOnly', 'SameSite=Lax']);
    expect(cookie).toMatch(/^up=[\w-]{22}\.[a-z0-9]+\.[\w-]{22}$/);
    expect(await askTimes(4, `Cookie: a=b; ${cookie}`)).toBe(body.repeat(4));
    expect((await ask(`Cookie: ${cookie}`)).header('set-cookie')).toBeUndefined();
    pool.remove(upstreams['ABC'.indexOf(body)] ?? '');
    const moved = await ask(`Cookie: ${cookie}`);
    expect([moved.status, moved.body === body]).toEqual([200, false]);
    expect(moved.header('set-cookie')).toBeDefined();
  });
});

describe('8. Changing the pool at run time', () => {
  it('loses no request with 100 updates a second under load', async () => {
    const { requests, statuses, errors, updates, inFlight } = await scenario('manyUpdates');
    expect(errors).toEqual([]);
    expect(statuses).toEqual({ 200: requests });
    expect(requests).toBeGreaterThan(200);
    expect(updates).toBeGreaterThan(50);
    expect(inFlight).toBe(0);
  });

  it('lets what is in flight finish on a removed upstream, then closes its sockets', async () => {
    let finish = (): void => {};
    const slow = await rawUpstream((_bytes, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbe');
      finish = () => void socket.write('gun');
      return undefined;
    });
    const [b = ''] = await named('B');
    const { port, pool, askTimes } = await balanced({ upstreams: [slow.url, b] });
    const drained: unknown[] = [];
    pool.on('drained', (upstream) => drained.push(upstream));
    const [upstream] = pool.upstreams;
    const client = await rawClient(port, request('GET /'));
    await client.until((received) => received.endsWith('be'));
    expect(pool.remove(slow.url)).toBe(true);
    expect(await askTimes(3)).toBe('BBB');
    expect([drained, slow.sockets[0]?.destroyed]).toEqual([[], false]);
    finish();
    await client.until((received) => received.endsWith('begun'));
    await eventually('the end of the connection', () => slow.sockets[0]?.destroyed === true);
    expect(drained).toEqual([upstream]);
  });

  it('closes a pool once what is in flight has finished', async () => {
    let finish = (): void => {};
    const slow = await rawUpstream((_bytes, socket) => {
      finish = () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      return undefined;
    });
    const pool = new UpstreamPool([slow.url]);
    const { ask } = await balanced({ upstreams: pool });
    const answered = ask();
    await eventually('the request', () => requestsOf(slow).length === 1);
    let closed = false;
    const closing = pool.close().then(() => {
      closed = true;
    });
    expect([closed, slow.sockets[0]?.destroyed]).toEqual([false, false]);
    finish();
    expect(await answered).toMatchObject({ status: 200, body: 'ok' });
    await closing;
    await eventually('the end of the connection', () => slow.sockets[0]?.destroyed === true);
  });
});

describe('10. Retry', () => {
  /** A pipeline with retry() before upstreams that are asked in their order. */
  async function retrying(urls: readonly string[], options: RetryOptions = {}) {
    const strategy: LoadBalancerOptions['strategy'] = { pick: ([upstream]) => upstream };
    const piece = retry({ random: () => 0, ...options });
    return balanced({ upstreams: urls, strategy }, { after: [piece] });
  }

  const lost = (): Promise<RawUpstream> => rawUpstream((_bytes, socket) => void socket.destroy());

  it.each([
    ['GET', 200],
    ['HEAD', 200],
    ['OPTIONS', 200],
    ['PUT', 200],
    ['DELETE', 200],
    ['POST', 502],
    ['PATCH', 502],
  ])('of %s after a lost connection gives %d', async (method, status) => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const { port } = await retrying([bad.url, good.url]);
    expect((await rawRequest(port, request(`${method} /`))).status).toBe(status);
    const body = await rawRequest(port, upload(`${method} /`, [], 'a body'));
    expect(body.status).toBe(status);
    const expected = status === 200 ? ['', 'a body'] : [];
    expect(requestsOf(good).map((one) => one.body)).toEqual(expected);
  });

  it('of anything that was never sent gives the other upstream’s answer, its body whole', async () => {
    const good = await rawUpstream();
    const { port } = await retrying([await refusing(), good.url], { bufferBodyBytes: 0 });
    const body = 'x'.repeat(100_000);
    expect((await rawRequest(port, upload('POST /', [], body))).status).toBe(200);
    expect(requestsOf(good).map((one) => one.body.length)).toEqual([100_000]);
  });

  it('gives the last answer when all fail', async () => {
    const [one, two] = [
      await rawUpstream('HTTP/1.1 502 One\r\nContent-Length: 3\r\n\r\none'),
      await rawUpstream('HTTP/1.1 503 Two\r\nContent-Length: 3\r\n\r\ntwo'),
    ];
    const { ask } = await retrying([one.url, two.url], { retries: 1 });
    expect(await ask()).toMatchObject({ status: 503, body: 'two' });
  });
});

describe('11. Retry budget', () => {
  it('keeps 1,000 requests at upstreams that are all down to 1,203 tries', async () => {
    const { statuses, errors, tries } = await scenario('allDead');
    expect(errors).toEqual([]);
    expect(statuses).toEqual({ 502: 1_000 });
    expect(tries).toBeLessThanOrEqual(1_203);
    expect(tries).toBeGreaterThan(1_190);
  });
});

describe('12. What happened', () => {
  it('is told by the attempts, and to the client where that is wanted', async () => {
    const [dead, good] = [await refusing(), await rawUpstream()];
    const exchanges: Exchange[] = [];
    const note: Handler = (req, res, next) => {
      exchanges.push(exchangeOf(req, res));
      next?.();
    };
    const { ask, pool } = await balanced(
      { upstreams: [dead, good.url] },
      { before: [proxyStatus(), note], after: [retry()] },
    );
    const { header } = await ask();
    expect(header('proxy-status')).toBe('headrace; received-status=200');
    const [failed, answered] = exchanges[0]?.attempts ?? [];
    expect(failed).toMatchObject({
      upstream: pool.upstreams[0],
      status: undefined,
      sentAt: undefined,
      headAt: undefined,
      error: { code: 'ERR_PROXY_CONNECT' },
    });
    expect(answered).toMatchObject({
      upstream: pool.upstreams[1],
      path: '/',
      status: 200,
      error: undefined,
    });
    const times = [failed?.startedAt, answered?.startedAt, answered?.sentAt, answered?.headAt];
    expect(times).toEqual([...times].sort((a, b) => (a ?? 0) - (b ?? 0)));
    expect(times).not.toContain(undefined);
  });
});

describe('13. pool.stats()', () => {
  it('counts each try once: requests, failures, bytes each way and times', async () => {
    const good = await rawUpstream();
    const upstreams = [good.url, await refusing()];
    const { port, pool } = await balanced({ upstreams });
    for (let i = 0; i < 4; i++) await rawRequest(port, upload('POST /', [], 'seven b'));
    expect(pool.stats()).toMatchObject([
      { requests: 2, failures: {}, inFlight: 0, bytesSent: 14, bytesReceived: 4 },
      { requests: 2, failures: { ERR_PROXY_CONNECT: 2 }, bytesSent: 0, bytesReceived: 0 },
    ]);
    const [{ latencyMs } = { latencyMs: undefined }] = pool.stats();
    expect(latencyMs?.p50).toBeGreaterThan(0);
    expect(latencyMs?.p99).toBeGreaterThanOrEqual(latencyMs?.p50 ?? 0);
  });
});

describe('14. A dead upstream among three', () => {
  it('costs clients nothing: 10,000 requests, no error', async () => {
    const { statuses, bodies, errors, usable } = await scenario('oneDead');
    expect(errors).toEqual([]);
    expect(statuses).toEqual({ 200: 10_000 });
    expect(Math.abs((bodies.A ?? 0) - (bodies.C ?? 0))).toBeLessThan(500);
    expect(usable).toEqual([true, false, true]);
  }, 180_000);
});

import type { Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import {
  type Around,
  type ConcurrencyLimitOptions,
  circuitBreaker,
  concurrencyLimit,
  exchangeOf,
  type Handler,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  retry,
  sendResponse,
  type Upstream,
  UpstreamPool,
  UpstreamResponse,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { load } from '../helpers/load.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  OK,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

/** An upstream that answers when it is told to; its requests, by the path they ask for. */
async function waiting() {
  const open: { path: string; socket: Socket }[] = [];
  const seen: string[] = [];
  const upstream = await rawUpstream((bytes, socket) => {
    const [, path = ''] = bytes.split(' ');
    seen.push(path);
    open.push({ path, socket });
    socket.on('close', () => {
      const at = open.findIndex((one) => one.socket === socket);
      if (at !== -1) open.splice(at, 1);
    });
    return undefined;
  });
  /** Answers the request that came first. */
  const answer = (bytes = OK): void => void open.shift()?.socket.write(bytes);
  const has = (count: number) => eventually(`request ${count}`, () => seen.length >= count);
  return { url: upstream.url, seen, open, answer, has };
}

/** A gateway with a limit before one upstream. */
async function limited(
  url: string,
  options: Partial<ConcurrencyLimitOptions> = {},
  { before = [], after = [] }: { before?: Middleware[]; after?: Middleware[] } = {},
) {
  const limit = concurrencyLimit({ limit: 1, ...options });
  const pass = proxyPass(url);
  closeAfter(() => pass.close());
  const { port } = await gateway('express 5', ...before, limit, ...after, pass, proxyErrors());
  return { port, limit };
}

/** Sends a GET; the connection it went over. */
const ask = (port: number, path: string) => rawClient(port, request(`GET ${path}`));
const answered = (status: number) => (text: string) => text.startsWith(`HTTP/1.1 ${status} `);
const idle = (limit: { inFlight: number; waiting: number }) =>
  eventually('rest', () => limit.inFlight === 0 && limit.waiting === 0);

describe('concurrencyLimit', () => {
  it.each([
    [undefined, 'concurrencyLimit: options must be an object, received undefined'],
    [{}, 'concurrencyLimit: limit must be a whole number, received undefined'],
    [{ limit: 0 }, 'concurrencyLimit: limit must be a whole number of at least 1, received 0'],
    [{ limit: 1, qeue: {} }, 'concurrencyLimit: unknown option "qeue", did you mean "queue"?'],
    [
      { limit: 1, per: 'route!' },
      'concurrencyLimit: per must be "upstream", "route" or a function, received "route!"',
    ],
    [
      { limit: 1, queue: { size: -1 } },
      'concurrencyLimit: queue.size must be a whole number of at least 0, received -1',
    ],
    [
      { limit: 1, queue: { timeoutMs: 0 } },
      'concurrencyLimit: queue.timeoutMs must be a whole number from 1 to 2147483647, received 0',
    ],
    [
      { limit: 1, queue: { length: 1 } },
      'concurrencyLimit: queue: unknown option "length"; known are size, timeoutMs',
    ],
    [{ limit: 1, now: 5 }, 'concurrencyLimit: now must be a function, received 5'],
  ])('refuses %j', (options, message) => {
    expect(() => concurrencyLimit(options as ConcurrencyLimitOptions)).toThrow(message);
  });

  it.each(frameworks)(
    'answers 503 beyond the limit, with Retry-After, in %s',
    async (framework) => {
      const upstream = await waiting();
      const pass = proxyPass(upstream.url);
      closeAfter(() => pass.close());
      const limit = concurrencyLimit({ limit: 1 });
      const { port } = await gateway(framework, limit, pass, proxyErrors());
      const first = await ask(port, '/1');
      await upstream.has(1);
      const refused = await rawRequest(port, request('GET /2'));
      expect([refused.status, refused.header('retry-after')]).toEqual([503, '1']);
      upstream.answer();
      await first.until(answered(200));
      const next = await ask(port, '/3');
      await upstream.has(2);
      upstream.answer();
      await next.until(answered(200));
      expect(upstream.seen).toEqual(['/1', '/3']);
      await idle(limit);
    },
  );

  it('never has more in flight than the limit, whatever comes at once', async () => {
    let most = 0;
    let now = 0;
    const upstream = await rawUpstream((_bytes, socket) => {
      most = Math.max(most, ++now);
      setTimeout(() => {
        now -= 1;
        socket.write(OK);
      }, 5);
      return undefined;
    });
    const { port, limit } = await limited(upstream.url, {
      limit: 7,
      queue: { size: 25, timeoutMs: 10_000 },
    });
    const { statuses, errors } = await load(port, { more: (sent) => sent < 400, clients: 32 });
    expect([statuses, errors]).toEqual([{ 200: 400 }, []]);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(7);
    await idle(limit);
  });

  it('counts exactly: of forty at once, limit and queue get through, and the rest get 503', async () => {
    const upstream = await waiting();
    const { port, limit } = await limited(upstream.url, {
      limit: 10,
      queue: { size: 5, timeoutMs: 10_000 },
    });
    const statuses: number[] = [];
    const all = Array.from({ length: 40 }, async (_, i) => {
      statuses.push((await rawRequest(port, request(`GET /${i}`))).status);
    });
    await eventually('the refusal of the rest', () => statuses.length === 25);
    expect([limit.inFlight, limit.waiting]).toEqual([10, 5]);
    for (let i = 1; i <= 15; i++) {
      await upstream.has(i);
      upstream.answer();
    }
    await Promise.all(all);
    expect(statuses.filter((status) => status === 503)).toHaveLength(25);
    expect(statuses.filter((status) => status === 200)).toHaveLength(15);
    await idle(limit);
  });

  describe('the queue', () => {
    it('is served in the order in which requests came', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url, {
        queue: { size: 5, timeoutMs: 10_000 },
      });
      const clients = [await ask(port, '/0')];
      await upstream.has(1);
      for (let i = 1; i <= 5; i++) {
        clients.push(await ask(port, `/${i}`));
        await eventually('a place in the queue', () => limit.waiting === i);
      }
      for (const [i, client] of clients.entries()) {
        await upstream.has(i + 1);
        upstream.answer();
        await client.until(answered(200));
      }
      expect(upstream.seen).toEqual(['/0', '/1', '/2', '/3', '/4', '/5']);
      await idle(limit);
    });

    it('ends in 503 for who has waited too long', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url, { queue: { size: 1, timeoutMs: 30 } });
      const first = await ask(port, '/1');
      await upstream.has(1);
      const late = await rawRequest(port, request('GET /2'));
      expect([late.status, late.header('retry-after'), limit.waiting]).toEqual([503, '1', 0]);
      upstream.answer();
      await first.until(answered(200));
      await idle(limit);
    });

    it('closes up when a client leaves that waits', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url, {
        queue: { size: 2, timeoutMs: 10_000 },
      });
      const first = await ask(port, '/1');
      await upstream.has(1);
      const second = await ask(port, '/2');
      await eventually('a place', () => limit.waiting === 1);
      const third = await ask(port, '/3');
      await eventually('another', () => limit.waiting === 2);
      second.socket.destroy();
      await eventually('a free place', () => limit.waiting === 1);
      const fourth = await ask(port, '/4');
      await eventually('its place', () => limit.waiting === 2);
      for (const [i, client] of [first, third, fourth].entries()) {
        await upstream.has(i + 1);
        upstream.answer();
        await client.until(answered(200));
      }
      expect(upstream.seen).toEqual(['/1', '/3', '/4']);
      await idle(limit);
    });

    it('is left by who was answered otherwise, however slowly the answer leaves', async () => {
      const upstream = await waiting();
      let finish = (): void => {};
      const impatient: Handler = (req, res, next) => {
        if (req.url === '/2') finish = () => res.end('x'.repeat(50_000_000));
        next?.();
      };
      const queue = { size: 1, timeoutMs: 10_000 };
      const { port, limit } = await limited(upstream.url, { queue }, { before: [impatient] });
      const first = await ask(port, '/1');
      await upstream.has(1);
      const second = await ask(port, '/2');
      await eventually('a place', () => limit.waiting === 1);
      second.socket.pause();
      finish();
      upstream.answer();
      await first.until(answered(200));
      await idle(limit);
      expect(upstream.seen).toEqual(['/1']);
      second.socket.resume();
      await second.until(answered(200));
    });

    it('leaves the body of a waiting request unread', async () => {
      const finish: (() => void)[] = [];
      const { url } = await serve((req, res) => {
        req.resume().on('end', () => finish.push(() => res.end('ok')));
      });
      const { port, limit } = await limited(url, { queue: { size: 1, timeoutMs: 10_000 } });
      const first = await ask(port, '/1');
      await eventually('the first', () => finish.length === 1);
      const second = await rawClient(port, upload('POST /2', [], 'x'.repeat(20_000_000)));
      await eventually('a place', () => limit.waiting === 1);
      // What is not read here stays with the client: the buffers in between do not hold 20 MB.
      expect(await settled(() => second.socket.writableLength)).toBeGreaterThan(5_000_000);
      finish[0]?.();
      await first.until(answered(200));
      await eventually('the second', () => finish.length === 2);
      finish[1]?.();
      await second.until(answered(200));
      await idle(limit);
    });
  });

  describe('a place is given back', () => {
    it('when the upstream fails', async () => {
      const upstream = await rawUpstream((_bytes, socket) => void socket.destroy());
      const { port, limit } = await limited(upstream.url);
      for (let i = 0; i < 3; i++) {
        expect((await rawRequest(port, request('POST /'))).status).toBe(502);
      }
      await idle(limit);
    });

    it('when a client leaves that has no answer yet', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url);
      const client = await ask(port, '/1');
      await upstream.has(1);
      client.socket.destroy();
      await idle(limit);
    });

    it('when a client leaves in the middle of a body, and when the upstream does', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url);
      const part = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart';
      const client = await ask(port, '/1');
      await upstream.has(1);
      upstream.answer(part);
      await client.until((text) => text.endsWith('part'));
      expect(limit.inFlight).toBe(1);
      client.socket.destroy();
      await idle(limit);
      const other = await ask(port, '/2');
      await upstream.has(2);
      const { socket } = upstream.open[0] as { socket: Socket };
      socket.write(part);
      await other.until((text) => text.endsWith('part'));
      socket.destroy();
      await other.closed();
      await idle(limit);
    });

    it('when the last byte has gone to the client, and not before', async () => {
      const upstream = await waiting();
      const { port, limit } = await limited(upstream.url);
      const client = await ask(port, '/1');
      await upstream.has(1);
      const { socket } = upstream.open[0] as { socket: Socket };
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart');
      await client.until((text) => text.endsWith('part'));
      expect((await rawRequest(port, request('GET /2'))).status).toBe(503);
      socket.write('rest');
      await client.until((text) => text.endsWith('partrest'));
      await idle(limit);
    });

    it('when an edit of the response throws', async () => {
      const upstream = await rawUpstream();
      const edit = modifyResponse(() => {
        throw new Error('no');
      });
      const { port, limit } = await limited(upstream.url, {}, { after: [edit] });
      for (let i = 0; i < 3; i++) {
        expect((await rawRequest(port, request('GET /'))).status).toBe(502);
      }
      await idle(limit);
    });

    it.each(['before', 'after'] as const)('when a wrapper throws that stands %s it', async (at) => {
      const upstream = await rawUpstream();
      const around: Around = async (_exchange, send) => {
        if (at === 'before') await send();
        throw new Error('no');
      };
      const wrapper: Handler = (req, res, next) => {
        exchangeOf(req, res).around(around);
        next?.();
      };
      const { port, limit } = await limited(upstream.url, {}, { [at]: [wrapper] });
      for (let i = 0; i < 3; i++) {
        expect((await rawRequest(port, request('GET /'))).status).toBe(500);
      }
      await idle(limit);
    });

    it('when a held response is sent, discarded, or left lying', async () => {
      const upstream = await rawUpstream();
      const limit = concurrencyLimit({ limit: 1 });
      const held: Handler = (req, res, next) => {
        const exchange = exchangeOf(req, res);
        if (req.url === '/sent') return next?.();
        if (req.url === '/discarded') {
          exchange.response?.discard();
          expect(limit.inFlight).toBe(0);
        }
        res.end('mine');
      };
      const pass = proxyPass(upstream.url, { hold: true });
      closeAfter(() => pass.close());
      const { port } = await gateway('express 5', limit, pass, held, sendResponse());
      for (const path of ['/sent', '/discarded', '/left', '/sent']) {
        expect((await rawRequest(port, request(`GET ${path}`))).status).toBe(200);
        await idle(limit);
      }
    });

    it('when the response is a HEAD, a 304 or an early answer to an upload', async () => {
      const upstream = await rawUpstream((bytes) =>
        bytes.startsWith('GET') ? 'HTTP/1.1 304 Not Modified\r\n\r\n' : OK,
      );
      const { port, limit } = await limited(upstream.url);
      expect((await rawRequest(port, request('HEAD /'))).status).toBe(200);
      await idle(limit);
      expect((await rawRequest(port, request('GET /'))).status).toBe(304);
      await idle(limit);
    });

    it('when somebody else answers in the meantime', async () => {
      const upstream = await waiting();
      let finish = (): void => {};
      const impatient: Handler = (_req, res, next) => {
        finish = () => res.end('never mind');
        next?.();
      };
      const { port, limit } = await limited(upstream.url, {}, { before: [impatient] });
      const client = await ask(port, '/1');
      await upstream.has(1);
      finish();
      await client.until(answered(200));
      await idle(limit);
    });
  });

  describe('with retry() before it', () => {
    /** Balances over upstreams in their order, and tries again at once. */
    async function retrying(
      urls: readonly string[],
      options: Partial<ConcurrencyLimitOptions> = {},
    ) {
      const balancer = loadBalancer({
        upstreams: urls,
        strategy: { pick: ([first]) => first },
        health: { passive: false },
      });
      closeAfter(() => balancer.close());
      const limit = concurrencyLimit({ limit: 1, ...options });
      const again = retry({ random: () => 0, budget: false });
      const { port } = await gateway(
        'express 5',
        balancer,
        again,
        limit,
        proxyPass(),
        proxyErrors(),
      );
      return { port, limit };
    }

    it('a try gives its place back before the next one asks for one', async () => {
      const sad = 'HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nsad.';
      const upstream = await rawUpstream(sad);
      const { port, limit } = await retrying([upstream.url]);
      const response = await rawRequest(port, request('GET /'));
      expect([response.status, response.body]).toEqual([503, 'sad.']);
      expect(upstream.received().match(/^GET/gm)).toHaveLength(3);
      await idle(limit);
    });

    it('a try that failed holds nothing while the next one waits elsewhere', async () => {
      const lost = await rawUpstream((_bytes, socket) => void socket.destroy());
      const slow = await waiting();
      const { port, limit } = await retrying([lost.url, slow.url]);
      const client = await ask(port, '/1');
      await slow.has(1);
      expect(limit.inFlight).toBe(1);
      slow.answer();
      await client.until(answered(200));
      await idle(limit);
    });

    it('a try gives its place back even where a wrapper has put another response in its place', async () => {
      const upstream = await rawUpstream('HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nsad.');
      const swallow: Around = async (_exchange, send) => {
        const { status } = await send();
        return new UpstreamResponse({ status, body: 'mine' });
      };
      const limit = concurrencyLimit({ limit: 1 });
      const swallowing: Handler = (req, res, next) => {
        exchangeOf(req, res).around(swallow);
        next?.();
      };
      const again = retry({ random: () => 0, budget: false });
      const pass = proxyPass(upstream.url);
      closeAfter(() => pass.close());
      const { port } = await gateway('express 5', again, swallowing, limit, pass, proxyErrors());
      expect((await rawRequest(port, request('GET /'))).body).toBe('mine');
      expect(upstream.received().match(/^GET/gm)).toHaveLength(3);
      await idle(limit);
    });

    it('an overload is nothing to try again', async () => {
      const upstream = await waiting();
      const { port } = await retrying([upstream.url]);
      const client = await ask(port, '/1');
      await upstream.has(1);
      const refused = await rawRequest(port, request('GET /2'));
      expect(refused.status).toBe(503);
      upstream.answer();
      await client.until(answered(200));
      expect(upstream.seen).toEqual(['/1']);
    });
  });

  it('counts two tries at once of the same request as two', async () => {
    const upstream = await waiting();
    const hedge: Around = (_exchange, send) => Promise.any([send(), send()]);
    const hedging: Handler = (req, res, next) => {
      exchangeOf(req, res).around(hedge);
      next?.();
    };
    const { port, limit } = await limited(upstream.url, { limit: 2 }, { before: [hedging] });
    const client = await ask(port, '/1');
    await upstream.has(2);
    expect(limit.inFlight).toBe(2);
    upstream.answer();
    await client.until(answered(200));
    upstream.answer();
    await idle(limit);
  });

  describe('per upstream', () => {
    it('goes where there is room, and refuses when there is none', async () => {
      const [a, b] = [await waiting(), await waiting()];
      const strategy = { pick: (all: readonly Upstream[]) => all.at(-1) };
      const pool = new UpstreamPool([a.url, b.url], { strategy });
      closeAfter(() => pool.close());
      const limit = concurrencyLimit({ limit: 1 });
      const balancer = loadBalancer({ upstreams: pool });
      const { errors, record } = recordErrors();
      const { port } = await gateway('express 5', balancer, limit, proxyPass(), record);
      const first = await ask(port, '/1');
      await b.has(1);
      const second = await ask(port, '/2');
      await a.has(1);
      expect((await rawRequest(port, request('GET /3'))).status).toBe(503);
      expect(errors).toMatchObject([{ code: 'ERR_PROXY_OVERLOADED', upstream: { url: b.url } }]);
      await eventually('the end of the third', () => pool.upstreams[1]?.inFlight === 1);
      expect(pool.upstreams.map(({ inFlight }) => inFlight)).toEqual([1, 1]);
      a.answer();
      b.answer();
      await Promise.all([first.until(answered(200)), second.until(answered(200))]);
      await idle(limit);
      expect(pool.upstreams.map(({ inFlight }) => inFlight)).toEqual([0, 0]);
    });

    it('counts where a request goes in the end, whoever has sent it there', async () => {
      const [a, b] = [await waiting(), await waiting()];
      const balancer = loadBalancer({ upstreams: [a.url], health: { passive: false } });
      const elsewhere = new UpstreamPool([b.url]);
      closeAfter(() => balancer.close());
      closeAfter(() => elsewhere.close());
      const move: Around = async (exchange, send) => {
        if (exchange.req.url === '/b') exchange.upstream = elsewhere.pick(exchange);
        return send();
      };
      const moving: Handler = (req, res, next) => {
        exchangeOf(req, res).around(move);
        next?.();
      };
      const limit = concurrencyLimit({ limit: 1, queue: { size: 1, timeoutMs: 10_000 } });
      const { port } = await gateway(
        'express 5',
        balancer,
        limit,
        moving,
        proxyPass(),
        proxyErrors(),
      );
      const first = await ask(port, '/b');
      await b.has(1);
      // Its place is at b now, and that at a is free.
      const second = await ask(port, '/a');
      await a.has(1);
      expect(limit.inFlight).toBe(2);
      a.answer();
      await second.until(answered(200));
      const third = await ask(port, '/b');
      await eventually('a place in the queue', () => limit.waiting === 1);
      expect(limit.inFlight).toBe(1);
      b.answer();
      await first.until(answered(200));
      await b.has(2);
      b.answer();
      await third.until(answered(200));
      await idle(limit);
    });

    it('goes along with retry() behind it', async () => {
      const [lost, slow] = [
        await rawUpstream((_bytes, socket) => void socket.destroy()),
        await waiting(),
      ];
      const balancer = loadBalancer({
        upstreams: [lost.url, slow.url],
        strategy: { pick: ([first]) => first },
        health: { passive: false },
      });
      closeAfter(() => balancer.close());
      const limit = concurrencyLimit({ limit: 1 });
      const again = retry({ random: () => 0, budget: false });
      const { port } = await gateway(
        'express 5',
        balancer,
        limit,
        again,
        proxyPass(),
        proxyErrors(),
      );
      const first = await ask(port, '/1');
      await slow.has(1);
      expect(limit.inFlight).toBe(1);
      expect((await rawRequest(port, request('GET /2'))).status).toBe(503);
      slow.answer();
      await first.until(answered(200));
      await idle(limit);
    });

    it('is no failure for a circuit breaker, before it or behind', async () => {
      const upstream = await waiting();
      for (const at of ['before', 'behind'] as const) {
        const limit = concurrencyLimit({ limit: 1 });
        const breaker = circuitBreaker({ volumeThreshold: 1, errorThresholdPercentage: 1 });
        const pool = new UpstreamPool([upstream.url]);
        closeAfter(() => pool.close());
        const pieces = at === 'before' ? [breaker, limit] : [limit, breaker];
        const { port } = await gateway(
          'express 5',
          loadBalancer({ upstreams: pool }),
          ...pieces,
          proxyPass(),
          proxyErrors(),
        );
        const client = await ask(port, '/1');
        await eventually('the request', () => upstream.open.length === 1);
        for (let i = 0; i < 5; i++) await rawRequest(port, request('GET /2'));
        expect(pool.stats()[0]?.circuit?.state ?? 'closed').toBe('closed');
        upstream.answer();
        await client.until(answered(200));
        await idle(limit);
      }
    });

    it('is no failure of the upstream: passive health takes no notice', async () => {
      const upstream = await waiting();
      const pool = new UpstreamPool([upstream.url], {
        health: { passive: { maxFailures: 1, maxEjectedRatio: 1 } },
      });
      closeAfter(() => pool.close());
      const limit = concurrencyLimit({ limit: 1 });
      const balancer = loadBalancer({ upstreams: pool });
      const { port } = await gateway('express 5', balancer, limit, proxyPass(), proxyErrors());
      const client = await ask(port, '/1');
      await upstream.has(1);
      for (let i = 0; i < 5; i++) await rawRequest(port, request('GET /2'));
      expect(pool.eligible).toHaveLength(1);
      expect(pool.upstreams[0]?.failures.size).toBe(0);
      upstream.answer();
      await client.until(answered(200));
    });

    it('leaves it to proxyPass() to say that there is none', async () => {
      const { port } = await gateway(
        'express 5',
        concurrencyLimit({ limit: 1 }),
        proxyPass(),
        proxyErrors(),
      );
      expect((await rawRequest(port, request('GET /'))).status).toBe(500);
    });
  });

  it('per route, counts over all upstreams', async () => {
    const [a, b] = [await waiting(), await waiting()];
    const balancer = loadBalancer({ upstreams: [a.url, b.url] });
    closeAfter(() => balancer.close());
    const limit = concurrencyLimit({ limit: 1, per: 'route' });
    const { port } = await gateway('express 5', balancer, limit, proxyPass(), proxyErrors());
    const client = await ask(port, '/1');
    await a.has(1);
    expect((await rawRequest(port, request('GET /2'))).status).toBe(503);
    a.answer();
    await client.until(answered(200));
    expect(b.seen).toEqual([]);
    await idle(limit);
  });

  describe('per key', () => {
    it('counts each key by itself', async () => {
      const upstream = await waiting();
      const per = (req: { url?: string }) => String(req.url).slice(0, 2);
      const { port, limit } = await limited(upstream.url, { per: per as never });
      const [a, b] = [await ask(port, '/a/1'), await ask(port, '/b/1')];
      await upstream.has(2);
      expect((await rawRequest(port, request('GET /a/2'))).status).toBe(503);
      upstream.answer();
      upstream.answer();
      await Promise.all([a.until(answered(200)), b.until(answered(200))]);
      await idle(limit);
    });

    it.each([
      [
        'throws',
        () => {
          throw new Error('no key');
        },
        'no key',
      ],
      ['returns no string', () => 5, 'concurrencyLimit: per() must return a string, received 5'],
    ])('goes to next(error) when the function %s', async (_, per, message) => {
      const upstream = await rawUpstream();
      const errors: unknown[] = [];
      const note = (error: Error, _req: unknown, res: { end(): void }, _next: unknown) => {
        errors.push(error.message);
        res.end();
      };
      const limit = concurrencyLimit({ limit: 1, per: per as never });
      const { port } = await gateway('express 5', limit, proxyPass(upstream.url), note);
      await rawRequest(port, request('GET /'));
      await rawRequest(port, request('GET /'));
      expect(errors).toEqual([message, message]);
      await idle(limit);
      expect(upstream.received()).toBe('');
    });
  });
});

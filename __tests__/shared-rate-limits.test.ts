import { describe, expect, it } from '@jest/globals';
import { type Handler, proxyErrors, type RateLimiterOptions, rateLimiter } from 'headrace';
import { RedisStore } from 'rate-limit-redis';
import { rawRequest } from './helpers/client.js';
import { runProgram } from './helpers/programs.js';
import { redis, redisClient, redisServer } from './helpers/redis.js';
import { request } from './helpers/requests.js';
import { closeAfter, gateway } from './helpers/servers.js';

/**
 * A gateway in a process of its own. It waits until all are there, sends itself a hundred requests at
 * once, and prints how many there were of each status.
 */
const program = (url: string, processes: number) => `
  import { createServer, get } from 'node:http';
  import { proxyErrors, rateLimiter } from './src/index.ts';
  import { RedisStore } from 'rate-limit-redis';
  import { createClient } from 'redis';

  async function main() {
    const client = createClient({ url: '${url}' });
    await client.connect();
    const store = new RedisStore({ sendCommand: (...args) => client.sendCommand(args) });
    const limiter = rateLimiter({ limit: 100, store });
    const answer = proxyErrors();
    const server = createServer((req, res) => {
      limiter(req, res, (error) => {
        if (error === undefined) res.end('ok');
        else answer(error, req, res, () => res.destroy());
      });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    await client.incr('there');
    while (Number(await client.get('there')) < ${processes}) await new Promise(setImmediate);
    const statuses = {};
    await Promise.all(Array.from({ length: 100 }, () => new Promise((resolve, reject) => {
      get({ port: server.address().port, host: '127.0.0.1', agent: false }, (res) => {
        statuses[res.statusCode] = (statuses[res.statusCode] ?? 0) + 1;
        res.resume().on('end', resolve);
      }).on('error', reject);
    })));
    process.stdout.write(JSON.stringify(statuses));
    server.close();
    client.destroy();
  }
  void main();
`;

const ok: Handler = (_req, res) => void res.end('ok');

/** A gateway that counts in a Redis which can be taken away from it. */
async function counting(options: RateLimiterOptions = {}) {
  const server = await redis();
  const client = await redisClient(server.url);
  const store = new RedisStore({ sendCommand: (...args) => client.sendCommand(args) });
  const limiter = rateLimiter({ limit: 1_000, storeTimeoutMs: 200, store, ...options });
  closeAfter(() => limiter.close());
  const { port } = await gateway('express 5', limiter, ok, proxyErrors());
  const ask = () => rawRequest(port, request('GET /'));
  /** How long it took, and what came of it. */
  const many = async (count: number) => {
    const began = performance.now();
    const answers = await Promise.all(Array.from({ length: count }, ask));
    const statuses = [...new Set(answers.map(({ status }) => status))];
    return { statuses, ms: performance.now() - began };
  };
  /** Resolves once requests are counted. */
  const counted = async () => {
    while ((await ask()).header('ratelimit') === undefined) await new Promise(setImmediate);
  };
  return { server, client, limiter, ask, many, counted };
}

// Where Redis is missing these are reported as skipped; CI has to have it.
const withRedis = redisServer === undefined && !process.env.CI ? describe.skip : describe;

withRedis(
  'rateLimiter with a real Redis (needs redis-server: apt-get install redis-server)',
  () => {
    it('lets exactly as many through as it should, over four processes', async () => {
      const { url } = await redis();
      const runs = Array.from({ length: 4 }, () => runProgram(program(url, 4)));
      const printed = (await Promise.all(runs)).map((text) => JSON.parse(text));
      const sum = (status: number) => printed.reduce((total, one) => total + (one[status] ?? 0), 0);
      expect([sum(200), sum(429)]).toEqual([100, 300]);
    }, 60_000);

    describe.each([
      [true, 200],
      [false, 503],
    ])('that goes away, with passOnStoreError: %s', (passOnStoreError, status) => {
      it('answers in a bounded time, and counts again once Redis is back', async () => {
        const { server, ask, many, counted } = await counting({ passOnStoreError });
        expect((await ask()).header('ratelimit')).toMatch(/r=999;/);
        await server.kill();
        const first = await many(50);
        expect(first.statuses).toEqual([status]);
        expect(first.ms).toBeLessThan(3_000);
        // What is overdue once is not waited for by each request anew.
        const second = await many(50);
        expect(second.statuses).toEqual([status]);
        await server.restart();
        await counted();
        expect((await many(20)).statuses).toEqual([200]);
      });

      it('does the same while Redis takes commands and answers none', async () => {
        const { server, ask, many, counted } = await counting({ passOnStoreError });
        await ask();
        server.pause();
        const { statuses, ms } = await many(50);
        expect(statuses).toEqual([status]);
        expect(ms).toBeLessThan(3_000);
        server.resume();
        await counted();
        expect((await ask()).status).toBe(200);
      });
    });

    it('does not count the requests of an outage afterwards, but for the first ones', async () => {
      const { server, ask, many, counted, limiter } = await counting({ passOnStoreError: true });
      await ask();
      server.pause();
      await many(5);
      for (let i = 0; i < 20; i++) await many(10);
      server.resume();
      await counted();
      const { totalHits = 0 } = (await limiter.getKey('127.0.0.1')) ?? {};
      // One before it, five that waited, a few that asked whether Redis was back, those that waited for it.
      expect(totalHits).toBeLessThan(50);
    });

    it('starts without Redis and counts once it is there', async () => {
      const server = await redis();
      const client = await redisClient(server.url);
      await server.kill();
      const store = new RedisStore({ sendCommand: (...args) => client.sendCommand(args) });
      const limiter = rateLimiter({ store, storeTimeoutMs: 100 });
      const { port } = await gateway('express 5', limiter, ok, proxyErrors());
      expect((await rawRequest(port, request('GET /'))).status).toBe(503);
      await server.restart();
      while ((await rawRequest(port, request('GET /'))).status !== 200) {
        await new Promise(setImmediate);
      }
    });
  },
);

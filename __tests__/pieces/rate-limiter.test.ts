import type { IncomingMessage } from 'node:http';
import { describe, expect, it, jest } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import {
  type Handler,
  proxyErrors,
  proxyPass,
  type RateLimiterOptions,
  type RateLimitStore,
  rateLimiter,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** A limiter that is closed after the test. */
function limiterOf(options: RateLimiterOptions = {}) {
  const limiter = rateLimiter(options);
  closeAfter(() => limiter.close());
  return limiter;
}

const ok: Handler = (_req, res) => void res.end('ok');

/** A gateway with a limiter before something that says `ok`. */
async function limited(options: RateLimiterOptions, { after = ok }: { after?: Middleware } = {}) {
  const limiter = limiterOf(options);
  const { errors, record } = recordErrors();
  const { port } = await gateway('express 5', limiter, after, record);
  const ask = (path = '/', ...headers: string[]) =>
    rawRequest(port, request(`GET ${path}`, headers));
  const statuses = async (count: number) => {
    const seen: number[] = [];
    for (let i = 0; i < count; i++) seen.push((await ask()).status);
    return seen;
  };
  return { limiter, port, errors, ask, statuses };
}

/** A limiter in an Express app that trusts its peer; it answers with the key that was counted. */
async function trusting(options: RateLimiterOptions = {}) {
  const app = express().set('env', 'test').set('trust proxy', 'loopback');
  const key: RequestHandler = (req, res) => {
    res.end((req as unknown as { rateLimit: { key: string } }).rateLimit.key);
  };
  app.use(limiterOf(options) as RequestHandler, key);
  const { port } = await serve(app);
  return async (from: string) =>
    (await rawRequest(port, request('GET /', [`X-Forwarded-For: ${from}`]))).body;
}

describe('rateLimiter', () => {
  const store = { increment() {}, decrement() {}, resetKey() {} };
  it.each([
    [{ windowsMs: 5 }, 'rateLimiter: unknown option "windowsMs", did you mean "windowMs"?'],
    [{ windowMs: 0 }, 'windowMs must be a whole number from 1 to 2147483647, received 0'],
    [
      { windowMs: 2 ** 31 },
      'windowMs must be a whole number from 1 to 2147483647, received 2147483648',
    ],
    [{ windowMs: 0, store }, 'windowMs must be a whole number of at least 1, received 0'],
    [{ limit: -1 }, 'limit must be a whole number of at least 0, received -1'],
    [{ limit: '5' }, 'limit must be a whole number, received "5"'],
    [{ max: 1.5 }, 'max must be a whole number of at least 0, received 1.5'],
    [{ statusCode: 200 }, 'statusCode must be a whole number from 400 to 599, received 200'],
    [{ handler: 5 }, 'handler must be a function, received 5'],
    [{ keyGenerator: 'ip' }, 'keyGenerator must be a function, received "ip"'],
    [{ skip: true }, 'skip must be a function, received true'],
    [{ legacyHeaders: 'yes' }, 'legacyHeaders must be true or false, received "yes"'],
    [{ passOnStoreError: 1 }, 'passOnStoreError must be true or false, received 1'],
    [
      { standardHeaders: 'draft-9' },
      'standardHeaders must be one of "draft-6", "draft-7", "draft-8", received "draft-9", did you mean "draft-6"?',
    ],
    [{ identifier: 'a"b' }, 'identifier must be printable characters without quotes'],
    [{ retryAfter: -1 }, 'retryAfter must be a whole number of at least 0, received -1'],
    [{ requestPropertyName: 5 }, 'requestPropertyName must be a name, received 5'],
    [{ ipv6Subnet: 20 }, 'ipv6Subnet must be a whole number from 32 to 64, received 20'],
    [
      { ipv6Subnet: 64, keyGenerator: () => 'a' },
      'ipv6Subnet has no effect beside keyGenerator, leave one of them out',
    ],
    [
      { trust: 'loopback', keyGenerator: () => 'a' },
      'trust has no effect beside keyGenerator, leave one of them out',
    ],
    [{ trust: 'me' }, 'trust[0] must be an address or a range, received "me"'],
    [{ store: {} }, 'store must have a method increment, received an object []'],
    [{ store: null }, 'store must have a method increment, received null'],
    [
      { storeTimeoutMs: 0 },
      'storeTimeoutMs must be a whole number from 1 to 2147483647, received 0',
    ],
    [{ validate: { nonsense: true } }, 'options.validate.nonsense is not recognized'],
    [{ logger: {} }, 'logger must have a method error, received an object []'],
    [
      { keyGenerator: (request: { ip: string }) => request.ip },
      'Custom keyGenerator appears to use request IP',
    ],
  ])('refuses %j', (options, message) => {
    const make = () => rateLimiter(options as unknown as RateLimiterOptions);
    expect(make).toThrow(message);
    expect(make).toThrow(/^rateLimiter: /);
  });

  it('refuses a store that another limiter has', () => {
    const shared = store as unknown as RateLimitStore;
    rateLimiter({ store: shared });
    expect(() => rateLimiter({ store: shared })).toThrow(
      'rateLimiter: store counts for another limiter already, give each one of its own',
    );
  });

  it.each(frameworks)(
    'refuses one too many with 429 and says when to come again, in %s',
    async (framework) => {
      const { errors, record } = recordErrors();
      const { port } = await gateway(framework, limiterOf({ limit: 2 }), ok, record);
      const answers = [];
      for (let i = 0; i < 3; i++) answers.push(await rawRequest(port, request('GET /')));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
      const fields = answers.map(({ header }) => header('ratelimit'));
      expect(fields).toEqual(
        [1, 0, 0].map((left) =>
          expect.stringMatching(new RegExp(`^"2-in-1min"; r=${left}; t=\\d+$`)),
        ),
      );
      for (const { header } of answers) {
        expect(header('ratelimit-policy')).toMatch(/^"2-in-1min"; q=2; w=60; pk=:[\w=]+:$/);
        expect(header('x-ratelimit-limit')).toBeUndefined();
      }
      expect(Number(answers[2]?.header('retry-after'))).toBeGreaterThan(50);
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject({
        code: 'ERR_PROXY_RATE_LIMITED',
        status: 429,
        expose: false,
      });
    },
  );

  it.each(frameworks)('keeps its fields whoever answers, in %s', async (framework) => {
    const missing = (name: string | undefined) => name === undefined;
    for (const more of [[proxyErrors()], []]) {
      const last = framework === 'node:http' && more.length === 0 ? [] : [ok, ...more];
      const { port } = await gateway(
        framework,
        limiterOf({ limit: 0, legacyHeaders: true }),
        ...last,
      );
      const { status, header } = await rawRequest(port, request('GET /'));
      const names = ['ratelimit', 'ratelimit-policy', 'retry-after', 'x-ratelimit-limit'];
      expect([status, names.map(header).some(missing)]).toEqual([429, false]);
    }
  });

  it('lets exactly as many through as it should when they come at once', async () => {
    const { port } = await limited({ limit: 20 });
    const all = await Promise.all(
      Array.from({ length: 60 }, () => rawRequest(port, request('GET /'))),
    );
    expect(all.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(all.filter(({ status }) => status === 429)).toHaveLength(40);
    const left = all.map(({ header }) => /r=(\d+)/.exec(header('ratelimit') ?? '')?.[1]);
    expect(new Set(left).size).toBe(20);
  });

  it('answers one too many that has an upload without reading all of it first', async () => {
    const { port } = await limited({ limit: 0 });
    const response = await rawRequest(port, upload('POST /', [], 'x'.repeat(100_000)));
    expect(response.status).toBe(429);
  });

  it('prints nothing, whatever express-rate-limit makes of a request', async () => {
    const methods = ['error', 'warn', 'log'] as const;
    const printed = methods.map((one) => jest.spyOn(console, one).mockImplementation(() => {}));
    const told: unknown[] = [];
    const note = (error: unknown) => void told.push((error as { code: string }).code);
    const logger = { error: note, warn: note };
    const { ask } = await limited({ limit: 0, logger });
    await ask('/', 'X-Forwarded-For: 203.0.113.7', 'Forwarded: for=203.0.113.7');
    expect(printed.map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0]);
    expect(told).toEqual(['WRN_ERL_MAX_ZERO']);
    for (const spy of printed) spy.mockRestore();
  });

  it('leaves the fields of the upstream beside its own', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nRateLimit: "api"; r=1; t=2\r\nContent-Length: 2\r\n\r\nok',
    );
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { ask } = await limited({ identifier: 'gateway' }, { after: pass });
    const lines = (await ask()).headers.filter(([name]) => name.toLowerCase() === 'ratelimit');
    expect(lines.map(([, value]) => value)).toEqual([
      expect.stringMatching(/^"gateway"; r=4; t=\d+$/),
      '"api"; r=1; t=2',
    ]);
  });

  describe('clients', () => {
    it.each(frameworks)(
      'are told apart by where they come from, not by what they say, in %s',
      async (framework) => {
        const { port } = await gateway(framework, limiterOf({ limit: 2 }), ok, proxyErrors());
        const seen = [];
        for (const from of ['203.0.113.1', '203.0.113.2', '203.0.113.3']) {
          const headers = [
            `X-Forwarded-For: ${from}`,
            `X-Real-IP: ${from}`,
            `Forwarded: for=${from}`,
          ];
          seen.push((await rawRequest(port, request('GET /', headers))).status);
        }
        expect(seen.at(-1)).toBe(429);
      },
    );

    it.each([
      ['203.0.113.7', '203.0.113.7'],
      ['203.0.113.7:4711', '203.0.113.7'],
      ['6.6.6.6, 203.0.113.7', '203.0.113.7'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
      ['::ffff:cb00:7107', '203.0.113.7'],
      ['2001:db8:1:2ff::1', '2001:db8:1:200::/56'],
      ['2001:db8:1:200:ffff::', '2001:db8:1:200::/56'],
      ['2001:DB8:1:300::1', '2001:db8:1:300::/56'],
      ['[2001:db8:1:200::1]:443', '2001:db8:1:200::/56'],
      ['nobody knows', 'nobody knows'],
    ])('that a trusted proxy calls %s are counted as %s', async (from, key) => {
      const keyFor = await trusting();
      expect(await keyFor(from)).toBe(key);
    });

    it.each(frameworks)(
      'behind a proxy are known by what it says where it is trusted, in %s',
      async (framework) => {
        const { port } = await gateway(framework, limiterOf({ limit: 1, trust: 'loopback' }), ok);
        const seen = [];
        for (const from of ['203.0.113.1', '203.0.113.2', '6.6.6.6, 203.0.113.1']) {
          const headers = [`X-Forwarded-For: ${from}`];
          seen.push((await rawRequest(port, request('GET /', headers))).status);
        }
        expect(seen).toEqual([200, 200, 429]);
      },
    );

    it('can be told apart by more or less of an IPv6 address', async () => {
      const address = '2001:db8:1:2ff::1';
      expect(await (await trusting({ ipv6Subnet: 48 }))(address)).toBe('2001:db8:1::/48');
      expect(await (await trusting({ ipv6Subnet: false }))(address)).toBe(address);
      const subnet = async () => 64;
      expect(await (await trusting({ ipv6Subnet: subnet }))(address)).toBe('2001:db8:1:2ff::/64');
    });

    it('can be told apart by anything else', async () => {
      const keyGenerator = (req: express.Request) => String(req.headers['x-key']);
      const { ask, limiter } = await limited({ limit: 1, keyGenerator });
      const seen = [];
      for (const key of ['a', 'b', 'a']) seen.push((await ask('/', `X-Key: ${key}`)).status);
      expect(seen).toEqual([200, 200, 429]);
      expect(await limiter.getKey('a')).toMatchObject({ totalHits: 2 });
      await limiter.resetKey('a');
      expect(await limiter.getKey('a')).toBeUndefined();
      expect((await ask('/', 'X-Key: a')).status).toBe(200);
    });
  });

  describe('one too many', () => {
    it('can be another status', async () => {
      const { ask, errors } = await limited({ limit: 0, statusCode: 503 });
      expect((await ask()).status).toBe(503);
      expect(errors).toMatchObject([
        { code: 'ERR_PROXY_RATE_LIMITED', status: 503, statusCode: 503 },
      ]);
    });

    it.each([
      ['text', 'Slow down', 'text/plain; charset=utf-8', 'Slow down'],
      ['an object', { error: 'slow' }, 'application/json; charset=utf-8', '{"error":"slow"}'],
      [
        'a function',
        async (req: IncomingMessage) => `Not ${req.url}`,
        'text/plain; charset=utf-8',
        'Not /',
      ],
    ])('gets a message that is %s as its answer', async (_, message, type, body) => {
      for (const framework of frameworks) {
        const limiter = limiterOf({ limit: 0, message, statusCode: 420 });
        const { port } = await gateway(framework, limiter, ok);
        const response = await rawRequest(port, request('GET /'));
        expect([response.status, response.header('content-type'), response.body]).toEqual([
          420,
          type,
          body,
        ]);
        expect(response.header('retry-after')).toBeDefined();
        expect(response.header('ratelimit')).toBeDefined();
      }
    });

    it('is left to a handler where there is one', async () => {
      const told: unknown[] = [];
      const handler = ((req, res, next, { statusCode }: { statusCode: number }) => {
        told.push(statusCode);
        if (req.url === '/pass') next();
        else if (req.url === '/fail') next(new Error('no'));
        else res.end('mine');
      }) as NonNullable<RateLimiterOptions['handler']>;
      const { ask } = await limited({ limit: 0, handler });
      const bodies = [];
      for (const path of ['/', '/pass', '/fail']) {
        const { status, body } = await ask(path);
        bodies.push(`${status} ${body}`);
      }
      expect(bodies).toEqual(['200 mine', '200 ok', '500 ']);
      expect(told).toEqual([429, 429, 429]);
    });

    it('is every one with a limit of 0, and none with a limit as high as can be', async () => {
      expect(await (await limited({ limit: 0 })).statuses(2)).toEqual([429, 429]);
      expect(await (await limited({ max: 1 })).statuses(2)).toEqual([200, 429]);
      const limit = Number.MAX_SAFE_INTEGER;
      expect(await (await limited({ limit })).statuses(2)).toEqual([200, 200]);
    });

    it('can be decided for each request', async () => {
      const limit = async (req: IncomingMessage) => (req.url === '/many' ? 10 : 0);
      const { ask } = await limited({ limit });
      expect([(await ask('/many')).status, (await ask('/')).status]).toEqual([200, 429]);
    });

    it('is none any more when the window has gone by', async () => {
      const { ask } = await limited({ limit: 1, windowMs: 100 });
      while ((await ask()).status !== 429) await new Promise(setImmediate);
      while ((await ask()).status !== 200) await new Promise(setImmediate);
    });
  });

  it.each([
    [
      'draft-6',
      { 'ratelimit-policy': '5;w=60', 'ratelimit-limit': '5', 'ratelimit-remaining': '4' },
    ],
    ['draft-7', { 'ratelimit-policy': '5;w=60', ratelimit: 'limit=5, remaining=4, reset=60' }],
    [false, {}],
  ] as const)('writes the fields of %s', async (standardHeaders, fields) => {
    const { ask } = await limited({ standardHeaders });
    const { headers } = await ask();
    const seen = headers.filter(([name]) => /^ratelimit/i.test(name));
    const names = seen.map(([name, value]) => [name.toLowerCase(), value]);
    expect(Object.fromEntries(names)).toMatchObject(fields);
    if (!standardHeaders) expect(seen).toEqual([]);
  });

  it.each([
    [{}, /^60$/],
    [{ retryAfter: 7 }, /^7$/],
    [{ retryAfter: async () => 8 }, /^8$/],
  ])('says when to come again even without other fields, with %j', async (options, pattern) => {
    const { ask } = await limited({ limit: 0, standardHeaders: false, ...options });
    expect((await ask()).header('retry-after')).toMatch(pattern);
  });

  it('leaves out what is skipped', async () => {
    const { ask } = await limited({ limit: 0, skip: (req) => req.url === '/health' });
    expect([(await ask('/health')).status, (await ask('/')).status]).toEqual([200, 429]);
    expect((await ask('/health')).header('ratelimit')).toBeUndefined();
  });

  it.each([
    ['skipFailedRequests', '/bad'],
    ['skipSuccessfulRequests', '/good'],
  ])('takes back what was counted, with %s', async (option, path) => {
    const after: Handler = (req, res) => {
      res.statusCode = req.url === '/bad' ? 500 : 200;
      res.end();
    };
    const { ask, limiter } = await limited({ [option]: true }, { after });
    const hits = async () => (await limiter.getKey('127.0.0.1'))?.totalHits;
    await ask(path === '/bad' ? '/good' : '/bad');
    expect(await hits()).toBe(1);
    await ask(path);
    let now: number | undefined;
    await eventually('the taking back', () => {
      void hits().then((count) => {
        now = count;
      });
      return now === 1;
    });
  });

  it.each([
    [
      'keyGenerator',
      () => {
        throw new Error('no key');
      },
      'no key',
    ],
    [
      'skip',
      async () => {
        throw new Error('no skip');
      },
      'no skip',
    ],
    [
      'limit',
      () => Number.NaN,
      'rateLimiter: limit() must return a number of at least 0, received NaN',
    ],
    [
      'identifier',
      () => 'a"; q=999',
      'rateLimiter: identifier() must return printable characters without quotes, received "a\\"; q=999"',
    ],
    [
      'identifier',
      async () => undefined,
      'rateLimiter: identifier() must return printable characters without quotes, received undefined',
    ],
    [
      'retryAfter',
      () => Number.NaN,
      'rateLimiter: retryAfter() must return a number of at least 0, received NaN',
    ],
    [
      'retryAfter',
      async () => -7,
      'rateLimiter: retryAfter() must return a number of at least 0, received -7',
    ],
  ])('hands on what %s throws, or that it says what cannot be', async (name, option, message) => {
    const { ask, errors } = await limited({ limit: 0, [name]: option });
    const answer = await ask();
    expect([answer.status, answer.header('retry-after')]).toEqual([500, undefined]);
    expect(errors).toMatchObject([{ message }]);
  });

  describe('a store that fails', () => {
    const failing = (): RateLimitStore => ({
      increment: () => Promise.reject(new Error('ECONNREFUSED 10.0.0.1')),
      decrement: () => {},
      resetKey: () => {},
    });

    it('gives 503 through next(error), and its words stay here', async () => {
      const { ask, errors } = await limited({ store: failing() });
      const { status, header } = await ask();
      expect([status, header('retry-after')]).toEqual([503, '1']);
      expect(errors).toMatchObject([
        {
          code: 'ERR_PROXY_RATE_LIMIT_STORE',
          headers: { 'Retry-After': '1' },
          cause: { message: 'ECONNREFUSED 10.0.0.1' },
        },
      ]);
      expect(errors[0]?.message).not.toContain('10.0.0.1');
    });

    it('lets requests pass where that is wanted, and tells the logger', async () => {
      const told: unknown[] = [];
      const logger = { error: (error: unknown) => void told.push(error), warn: () => {} };
      const { statuses } = await limited({ store: failing(), passOnStoreError: true, logger });
      expect(await statuses(2)).toEqual([200, 200]);
      expect(told).toMatchObject([{ code: 'ERR_PROXY_RATE_LIMIT_STORE' }, {}]);
    });

    it.each([true, false])(
      'has failed when it does not answer in time (passOnStoreError: %s)',
      async (passOnStoreError) => {
        const silent = { ...failing(), increment: () => new Promise<never>(() => {}) };
        const { statuses } = await limited({ store: silent, storeTimeoutMs: 20, passOnStoreError });
        const status = passOnStoreError ? 200 : 503;
        expect(await statuses(3)).toEqual([status, status, status]);
      },
    );

    it('does not keep the gateway from being made', async () => {
      const init = () => Promise.reject(new Error('not yet'));
      const { statuses } = await limited({ store: { ...failing(), init } });
      expect(await statuses(1)).toEqual([503]);
    });
  });
});

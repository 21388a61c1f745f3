import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import type { RequestHandler } from 'express';
import {
  type Around,
  circuitBreaker,
  concurrencyLimit,
  exchangeOf,
  type Handler,
  loadBalancer,
  type ProxyPass,
  proxyErrors,
  proxyPass,
  retry,
  type Send,
  type Target,
  Upstream,
  UpstreamPool,
  UpstreamResponse,
} from 'headrace';
import request from 'supertest';
import { Agent } from 'undici';
import { answer, appWith, errorOf } from '../helpers/apps.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { request as requestText } from '../helpers/requests.js';
import { closeAfter, gateway, rawUpstream, refusing, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** The upstream that a request goes to, in a pipeline with this end. */
async function upstreamOf(pass: ProxyPass, ...before: Handler[]): Promise<string | undefined> {
  let chosen: string | undefined;
  const look: Handler = (req, res, next) => {
    exchangeOf(req, res).around(async ({ upstream }) => {
      chosen = upstream?.url;
      return new UpstreamResponse();
    });
    next?.();
  };
  await request(appWith(...before, look, pass, proxyErrors()))
    .get('/path')
    .expect(200);
  return chosen;
}

/** A piece that chooses the upstream, as `loadBalancer()` does. */
function choose(url: string): Handler {
  return (req, res, next) => {
    exchangeOf(req, res).upstream = new Upstream(url);
    next?.();
  };
}

describe('the target', () => {
  it.each<[string, (url: string) => Target]>([
    ['a URL', (url) => url],
    ['a function', (url) => () => url],
  ])('that is %s has nobody beside it, whatever has been chosen before', async (_, targetOf) => {
    const shop = await rawUpstream();
    const busy = await rawUpstream('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n');
    const balancer = loadBalancer({ upstreams: [shop.url] });
    closeAfter(() => balancer.close());
    for (const [url, status] of [
      [await refusing(), 502],
      [busy.url, 503],
    ] as const) {
      const pass = proxyPass(targetOf(url));
      closeAfter(() => pass.close());
      const limit = concurrencyLimit({ limit: 1, queue: { size: 1 } });
      const again = retry({ backoff: { baseMs: 0 } });
      const { port } = await gateway('express 5', balancer, limit, again, pass, proxyErrors());
      const asked = [1, 2].map(() => rawRequest(port, requestText('GET /billing')));
      expect((await Promise.all(asked)).map((one) => one.status)).toEqual([status, status]);
    }
    expect(shop.connections()).toEqual([]);
  });

  it.each([
    ['a string', 'http://a.example/base', 'http://a.example/base'],
    ['a URL', new URL('https://a.example'), 'https://a.example'],
    ['a Unix socket', 'unix:/run/app.sock', 'unix:/run/app.sock'],
    ['a pool', new UpstreamPool(['http://pool.example']), 'http://pool.example'],
    ['a function', () => 'http://fn.example', 'http://fn.example'],
    ['a function that returns a URL', () => new URL('http://fn.example/x'), 'http://fn.example/x'],
  ])('can be %s', async (_, target, url) => {
    expect(await upstreamOf(proxyPass(target))).toBe(url);
    expect(await upstreamOf(proxyPass(target, { host: 'client' }))).toBe(url);
    expect(await upstreamOf(proxyPass(target), choose('http://other.example'))).toBe(url);
  });

  it('is what exchange.upstream says where none is given', async () => {
    const before = choose('http://chosen.example');
    expect(await upstreamOf(proxyPass(), before)).toBe('http://chosen.example');
    expect(await upstreamOf(proxyPass({ host: 'client' }), before)).toBe('http://chosen.example');
    expect(await upstreamOf(proxyPass(undefined, {}), before)).toBe('http://chosen.example');
  });

  it('of a function depends on the request', async () => {
    const pass = proxyPass((req) => `http://${req.headers['x-tenant']}.example`);
    const tenant: Handler = (req, _res, next) => {
      req.headers['x-tenant'] = 'one';
      next?.();
    };
    expect(await upstreamOf(pass, tenant)).toBe('http://one.example');
  });

  it('that nobody has named is an error that says which piece to add: 500', async () => {
    const seen: string[] = [];
    const log = ({ message }: Error) => void seen.push(message);
    const { body } = await request(appWith(proxyPass(), proxyErrors({ log })))
      .get('/')
      .expect(500);
    expect(body.code).toBe('ERR_PROXY_NO_TARGET');
    expect(seen).toEqual([
      'proxyPass: nothing says where to send the request: ' +
        'give proxyPass() a target, or place loadBalancer() before it',
    ]);
  });

  it('of an empty pool is 503', async () => {
    const app = appWith(proxyPass(new UpstreamPool([])), proxyErrors());
    const { body } = await request(app).get('/').expect(503);
    expect(body.code).toBe('ERR_PROXY_NO_UPSTREAM');
  });

  it('of a function that throws, or returns none, goes to next(err)', async () => {
    const broken = proxyPass(() => {
      throw new RangeError('no');
    });
    expect(await errorOf(broken)).toBe('RangeError: no');
    expect(await errorOf(proxyPass(() => undefined as never))).toBe(
      'TypeError: proxyPass: target() must be an http(s) URL, received undefined',
    );
    expect(await errorOf(proxyPass(() => 'htp://user:secret@a'))).toBe(
      'TypeError: proxyPass: target() must be an http(s) URL, received "htp://***@a"',
    );
  });

  it.each([
    ['htp://a', undefined, 'proxyPass: target must be an http(s) URL, received "htp://a"'],
    ['', undefined, 'proxyPass: target must be an http(s) URL, received ""'],
    [
      'http://u:p@a#x',
      undefined,
      'proxyPass: target must be an http(s) URL, received "http://***@a#x"',
    ],
    [new URL('ftp://a'), {}, 'proxyPass: target must be an http(s) URL, received "ftp://a/"'],
    [5, undefined, 'proxyPass: options must be an object, received 5'],
    [null, undefined, 'proxyPass: options must be an object, received null'],
    [['http://a'], undefined, 'proxyPass: options must be an object, received an array of 1'],
    [5, {}, 'proxyPass: target must be a URL, a pool or a function, received 5'],
    [null, {}, 'proxyPass: target must be a URL, a pool or a function, received null'],
    [
      { hold: true },
      {},
      'proxyPass: target must be a URL, a pool or a function, received an object ["hold"]',
    ],
    ['http://a', null, 'proxyPass: options must be an object, received null'],
    ['http://a', 'http://b', 'proxyPass: options must be an object, received "http://b"'],
    [undefined, [], 'proxyPass: options must be an object, received an array of 0'],
  ])('cannot be %p with options %p', (target, options, message) => {
    expect(() => proxyPass(target as never, options as never)).toThrow(new TypeError(message));
  });
});

describe('options', () => {
  it.each([
    [{ header: 1 }, 'proxyPass: unknown option "header"'],
    [
      { headerTimeoutMs: 1 },
      'proxyPass: unknown option "headerTimeoutMs", did you mean "headersTimeoutMs"?',
    ],
    [
      { target: 'http://a' },
      'proxyPass: unknown option "target"; known are hold, host, headersTimeoutMs',
    ],
    [{ hold: 'yes' }, 'proxyPass: hold must be true or false, received "yes"'],
    [{ host: '' }, "proxyPass: host must be 'upstream', 'client' or a host, received \"\""],
    [{ host: 'a b' }, "proxyPass: host must be 'upstream', 'client' or a host, received \"a b\""],
    [
      { host: 'http://a' },
      "proxyPass: host must be 'upstream', 'client' or a host, received \"http://a\"",
    ],
    [
      { host: 'a:port' },
      "proxyPass: host must be 'upstream', 'client' or a host, received \"a:port\"",
    ],
    [{ host: true }, "proxyPass: host must be 'upstream', 'client' or a host, received true"],
    [{ tls: 'ca' }, 'proxyPass: tls must be an object, received "ca"'],
    [{ tls: null }, 'proxyPass: tls must be an object, received null'],
    [{ http2: 1 }, 'proxyPass: http2 must be true, false or "prior-knowledge", received 1'],
    [{ allowTrace: null }, 'proxyPass: allowTrace must be true or false, received null'],
    [
      { dispatcher: {} },
      'proxyPass: dispatcher must be an undici dispatcher, received an object []',
    ],
    [{ dispatcher: null }, 'proxyPass: dispatcher must be an undici dispatcher, received null'],
  ])('%j are refused', (options, message) => {
    expect(() => proxyPass('http://a', options as never)).toThrow(TypeError);
    expect(() => proxyPass('http://a', options as never)).toThrow(message);
    expect(() => proxyPass(options as never)).toThrow(message);
  });

  it.each(['connectTimeoutMs', 'headersTimeoutMs', 'bodyTimeoutMs', 'keepAliveMs'])(
    '%s is a duration that a timer can wait for',
    (name) => {
      const at = `proxyPass: ${name} must be a whole number`;
      for (const value of [0, -1, 1.5, 2 ** 31])
        expect(() => proxyPass({ [name]: value })).toThrow(
          new RangeError(`${at} from 1 to 2147483647, received ${value}`),
        );
      expect(() => proxyPass({ [name]: '5s' })).toThrow(new TypeError(`${at}, received "5s"`));
      expect(() => proxyPass({ [name]: 2 ** 31 - 1 })).not.toThrow();
    },
  );

  it.each([
    ['connections', 1],
    ['maxHeaderBytes', 1],
    ['maxHeaderFields', 1],
    ['maxBodyBytes', 0],
  ])('%s is a whole number of at least %i', (name, least) => {
    const at = `proxyPass: ${name} must be a whole number`;
    for (const value of [least - 1, 1.5, Number.NaN])
      expect(() => proxyPass({ [name]: value })).toThrow(
        new RangeError(`${at} of at least ${least}, received ${value}`),
      );
    expect(() => proxyPass({ [name]: '1' })).toThrow(new TypeError(`${at}, received "1"`));
    expect(() => proxyPass({ [name]: least })).not.toThrow();
  });

  it.each([
    [{ host: 'client' }],
    [{ host: 'app.example:8080' }],
    [{ host: '[::1]:80' }],
    [{ maxBodyBytes: Number.POSITIVE_INFINITY }],
    [{ tls: { rejectUnauthorized: false } }],
    [{ http2: true, allowTrace: true, hold: false }],
    [{ host: undefined, tls: undefined, hold: undefined, maxBodyBytes: undefined }],
  ])('%j are taken, and left as they are', (options) => {
    expect(() => proxyPass(Object.freeze(options))).not.toThrow();
  });

  it('takes a dispatcher to send with, and leaves it to its owner to close', async () => {
    const upstream = await rawUpstream();
    const dispatcher = new Agent();
    closeAfter(() => dispatcher.close());
    const pass = proxyPass(upstream.url, { dispatcher });
    await request(appWith(pass)).get('/').expect(200, 'ok');
    await pass.close();
    expect(dispatcher.closed).toBe(false);
  });
});

describe('hold', () => {
  const held = answer({ status: 404, body: 'not here' });
  const pass = () => proxyPass('http://backend.example', { hold: true });

  it('puts the response on the exchange and calls next()', async () => {
    const show: RequestHandler = async (_req, res) => {
      const { response } = res.locals.proxy;
      res.json([response?.status, await response?.text()]);
    };
    const { body } = await request(appWith(held, pass(), show))
      .get('/')
      .expect(200);
    expect(body).toEqual([404, 'not here']);
  });

  it('lets a 404 fall through to a local route, and releases what nobody sends', async () => {
    const seen: UpstreamResponse[] = [];
    const local: RequestHandler = (_req, res) => {
      seen.push(res.locals.proxy.response!);
      res.send('local');
    };
    await request(appWith(held, pass(), local))
      .get('/')
      .expect(200, 'local');
    expect(seen.map(({ content }) => content.at)).toEqual(['nowhere']);
  });

  it('releases the response that a pipeline before it held', async () => {
    const first = new UpstreamResponse({ body: 'first' });
    const hold: Handler = (req, res, next) => {
      exchangeOf(req, res).response = first;
      next?.();
    };
    await request(appWith(hold, answer({ body: 'second' }), proxyPass('http://a')))
      .get('/')
      .expect('second');
    expect(first.content.at).toBe('nowhere');
  });

  it('releases the response when the client has left meanwhile', async () => {
    const response = new UpstreamResponse({ body: 'late' });
    let behind = 0;
    const leave: Handler = (req, res, next) => {
      exchangeOf(req, res).around(async () => {
        req.socket.destroy();
        await once(res, 'close');
        return response;
      });
      next?.();
    };
    const count: Handler = () => void behind++;
    await expect(request(appWith(leave, pass(), count)).get('/')).rejects.toThrow(/hang up/);
    expect([response.content.at, behind]).toEqual(['nowhere', 0]);
  });

  it('without anything behind it says so: 500', async () => {
    const { url } = await gateway('node:http', held, pass());
    expect((await fetch(url)).status).toBe(500);
  });
});

describe('proxyPass', () => {
  it('does nothing once somebody has answered', async () => {
    const early: RequestHandler = (_req, res, next) => {
      res.end('early');
      next();
    };
    await request(appWith(early, proxyPass('http://backend.example')))
      .get('/')
      .expect(200, 'early');
  });

  it.each<[what: string, begin: RequestHandler]>([
    [
      'before it',
      (_req, res, next) => {
        res.flushHeaders();
        next();
      },
    ],
    [
      'while it calls',
      (req, res, next) => {
        exchangeOf(req, res).around(async (_exchange, send) => {
          const response = await send();
          res.write('begun');
          return response;
        });
        next();
      },
    ],
  ])('breaks off an answer that was begun %s, and that nobody would end', async (_what, begin) => {
    const upstream = await rawUpstream();
    const outcomes: (string | undefined)[] = [];
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome?.type));
      next?.();
    };
    const pass = proxyPass(upstream.url, { bodyTimeoutMs: 50 });
    const { port } = await gateway('express 5', look, begin, pass);
    const client = await rawClient(port, requestText('GET /'));
    expect(await client.closed()).not.toMatch(/0\r\n\r\n$/);
    expect(outcomes).toEqual(['failed']);
  });

  it('leaves alone an answer that somebody has begun, and ends later', async () => {
    const upstream = await rawUpstream();
    const slow: RequestHandler = (_req, res, next) => {
      res.write('begun, ');
      setTimeout(() => res.end('ended'), 30);
      next();
    };
    const { url } = await gateway('express 5', slow, proxyPass(upstream.url));
    expect(await (await fetch(url)).text()).toBe('begun, ended');
  });

  it('gives way to an answer that somebody has ended while it calls, compressed or not', async () => {
    const upstream = await rawUpstream();
    const instead: RequestHandler = (req, res, next) => {
      exchangeOf(req, res).around(async (_exchange, send) => {
        const response = await send();
        res.type('text').end('x'.repeat(100_000));
        return response;
      });
      next();
    };
    for (const before of [[], [compression()]]) {
      const { url } = await gateway('express 5', ...before, instead, proxyPass(upstream.url));
      expect(await (await fetch(url)).text()).toBe('x'.repeat(100_000));
    }
  });

  it('closes the connections to its target', async () => {
    const upstream = await rawUpstream();
    for (const target of [upstream.url, () => upstream.url]) {
      const pass = proxyPass(target);
      await request(appWith(pass)).get('/').expect(200, 'ok');
      const socket = upstream.sockets.at(-1)!;
      const ended = new Promise((resolve) => socket.once('close', resolve));
      await pass.close();
      await ended;
    }
  });

  it('leaves the connections of a pool, and of exchange.upstream, to their owners', async () => {
    const pool = new UpstreamPool(['http://pool.example']);
    let closed = 0;
    pool.upstreams[0]!.connections.set({}, { close: async () => void closed++ });
    await proxyPass(pool).close();
    await proxyPass().close();
    expect(closed).toBe(0);
  });

  it('knows middleware that was given in place of a target', () => {
    expect(() => proxyPass(loadBalancer({ upstreams: [] }) as never)).toThrow(
      'proxyPass: target() must take req and res and return a URL, received function loadBalancerMiddleware; ' +
        'middleware stands before it: app.use(loadBalancer(…), proxyPass())',
    );
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(proxyPass)).toBe(
      'TypeError: proxyPass: it was given a request. Mount what it returns: app.use(proxyPass(…))',
    );
  });
});

describe('a wrapper around the call', () => {
  it.each<[what: string, wrapper: unknown, received: string]>([
    ['forgets to return', (_: unknown, send: Send) => void send(), 'undefined'],
    ['resolves with nothing', async (_: unknown, send: Send) => void (await send()), 'undefined'],
    ['returns null', () => null, 'null'],
    ['returns what is no response', () => ({ status: 200 }), 'an object ["status"]'],
  ])('that %s fails its own request, and says so: 500', async (_, wrapper, received) => {
    const upstream = await serve((_req, res) => res.end('from upstream'));
    const wrap: Handler = (req, res, next) => {
      exchangeOf(req, res).around(wrapper as Around);
      next?.();
    };
    const message = `exchange.around(): a wrapper must return a response, such as that of send(), received ${received}`;
    const pass = proxyPass(upstream.url);
    for (const outside of [[], [circuitBreaker()]]) {
      expect(await errorOf([...outside, wrap, pass])).toBe(`TypeError: ${message}`);
    }
    // Nothing is left open that it would wait for.
    await pass.close();
  });
});

describe('a call that was put off', () => {
  it('is not made once the app has answered, however slowly that leaves', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    let refused: unknown;
    const impatient: Handler = (req, res, next) => {
      exchangeOf(req, res).around(async (_exchange, send) => {
        res.end('x'.repeat(50_000_000));
        return send().catch((error: unknown) => {
          refused = error;
          throw error;
        });
      });
      next?.();
    };
    const { port } = await gateway('express 5', impatient, pass, proxyErrors());
    const client = await rawClient(port, requestText('GET /'));
    client.socket.pause();
    await eventually('the refusal', () => refused !== undefined);
    expect(refused).toMatchObject({ code: 'ERR_PROXY_CLIENT_CLOSED' });
    expect(upstream.received()).toBe('');
    client.socket.resume();
    await client.until((text) => text.startsWith('HTTP/1.1 200 '));
  });
});

it('sends an upload that was waited for, though the connections have been closed meanwhile', async () => {
  const { url } = await serve((req, res) => void req.pipe(res));
  const pass = proxyPass(url);
  closeAfter(() => pass.close());
  const { port } = await gateway('express 5', pass, proxyErrors());
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';
  const client = await rawClient(port, head);
  await delay(100);
  await pass.close();
  client.socket.write('hello');
  await client.until((text) => text.startsWith('HTTP/1.1 200 ') && text.endsWith('hello'));
});

describe('proxyPass, given a pool', () => {
  it('has the upstreams of a pool asked how they are', async () => {
    const asked: (string | undefined)[] = [];
    const { url } = await serve((req, res) => {
      asked.push(req.url);
      res.end('up');
    });
    const active = { path: '/health', intervalMs: 5, initial: 'unhealthy' } as const;
    const pool = new UpstreamPool([url], { health: { active } });
    closeAfter(() => pool.close());
    const { port } = await gateway('express 5', proxyPass(pool));
    await eventually('a good answer', () => pool.eligible.length === 1);
    expect(asked[0]).toBe('/health');
    expect((await rawRequest(port, requestText('GET /'))).body).toBe('up');
  });
});

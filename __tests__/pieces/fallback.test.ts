import { once } from 'node:events';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, it, jest } from '@jest/globals';
import {
  type Exchange,
  exchangeOf,
  type FallbackHandler,
  fallback,
  forwardedFor,
  type Handler,
  loadBalancer,
  modifyResponse,
  type ProxyError,
  proxyErrors,
  proxyPass,
  proxyStatus,
  rateLimiter,
  retry,
  reverseProxy,
  rewriteUrl,
  sendResponse,
  Upstream,
  UpstreamPool,
  UpstreamResponse,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { load } from '../helpers/load.js';
import { onlyRequest, request, requestsOf, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  listen,
  rawUpstream,
  refusing,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const STATIC = { status: 203, headers: { 'X-Degraded': 'yes' }, body: 'stale' } as const;
const GET = request('GET /page');

/** Notes the exchange of each request. */
function watching(): { exchanges: Exchange[]; watch: Handler } {
  const exchanges: Exchange[] = [];
  const watch: Handler = (req, res, next) => {
    exchanges.push(exchangeOf(req, res));
    next?.();
  };
  return { exchanges, watch };
}

describe('fallback', () => {
  it.each(frameworks)('answers with a response in place of an error in %s', async (framework) => {
    const { exchanges, watch } = watching();
    const { port } = await gateway(framework, watch, fallback(STATIC), proxyPass(await refusing()));
    const answer = await rawRequest(port, GET);
    expect(answer).toMatchObject({ status: 203, body: 'stale' });
    expect(answer.header('x-degraded')).toBe('yes');
    expect(answer.header('content-length')).toBe('5');
    await eventually('the end', () => exchanges[0]?.outcome !== undefined);
    expect(exchanges[0]?.outcome).toMatchObject({
      type: 'completed',
      degraded: true,
      error: { code: 'ERR_PROXY_CONNECT' },
    });
  });

  it('leaves answers of upstreams alone, whatever they are', async () => {
    const upstream = await rawUpstream('HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy');
    const { exchanges, watch } = watching();
    const { port } = await gateway('express 5', watch, fallback(STATIC), proxyPass(upstream.url));
    expect(await rawRequest(port, GET)).toMatchObject({ status: 503, body: 'busy' });
    await eventually('the end', () => exchanges[0]?.outcome !== undefined);
    expect(exchanges[0]?.outcome).toMatchObject({ type: 'completed', degraded: false });
    expect(exchanges[0]?.degraded).toBeUndefined();
  });

  it('gives the handler the error, the request and the exchange', async () => {
    const seen: unknown[] = [];
    const url = await refusing();
    const handler: FallbackHandler = (error, req, exchange) => {
      seen.push(error.code, req.url, exchange.attempts.length, exchange.upstream?.url);
      return undefined;
    };
    const { port } = await gateway('express 5', fallback(handler), proxyPass(url), proxyErrors());
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(seen).toEqual(['ERR_PROXY_CONNECT', '/page', 1, url]);
  });

  it.each([
    ['an Upstream', (url: string) => new Upstream(url)],
    ['a URL', (url: string) => new URL(url)],
    ['a string', (url: string) => url],
    ['a pool', (url: string) => new UpstreamPool([url])],
  ])('tries another upstream, given as %s, and its answer is edited as any', async (_, as) => {
    const second = await rawUpstream();
    const instead = as(second.url);
    if (instead instanceof Upstream || instead instanceof UpstreamPool) {
      closeAfter(() => instead.close());
    }
    const degrading = fallback(() => instead);
    closeAfter(() => degrading.close());
    const { exchanges, watch } = watching();
    const { port } = await gateway(
      'express 5',
      watch,
      degrading,
      modifyResponse((response) => void response.headers.set('x-edited', 'yes')),
      proxyPass(await refusing()),
    );
    const answer = await rawRequest(port, GET);
    expect(answer).toMatchObject({ status: 200, body: 'ok' });
    expect(answer.header('x-edited')).toBe('yes');
    expect(onlyRequest(second)).toMatchObject({ method: 'GET', target: '/page' });
    await eventually('the end', () => exchanges[0]?.outcome !== undefined);
    expect(exchanges[0]).toMatchObject({ outcome: { type: 'completed', degraded: true } });
    expect(exchanges[0]?.attempts.map(({ upstream }) => upstream.url)).toContain(
      new URL(second.url).origin,
    );
  });

  it('counts what a pool serves in its stead as in flight there until the end', async () => {
    const second = await rawUpstream((_bytes, socket) => {
      setImmediate(() => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
      return undefined;
    });
    const pool = new UpstreamPool([second.url]);
    closeAfter(() => pool.close());
    const seen: number[] = [];
    const { port } = await gateway(
      'express 5',
      fallback(() => pool),
      modifyResponse(() => void seen.push(pool.upstreams[0]?.inFlight ?? -1)),
      loadBalancer({ upstreams: [await refusing()] }),
      proxyPass(),
    );
    expect((await rawRequest(port, GET)).status).toBe(200);
    expect(seen).toEqual([1]);
    await eventually('the end', () => pool.upstreams[0]?.inFlight === 0);
  });

  it('asks the last one first, and each once', async () => {
    const asked: string[] = [];
    const dead = await refusing();
    const { port } = await gateway(
      'express 5',
      fallback((error) => {
        asked.push(`first: ${error.code}`);
        return STATIC;
      }),
      fallback((error) => {
        asked.push(`second: ${error.code}`);
        return undefined;
      }),
      fallback((error) => {
        asked.push(`third: ${error.code}`);
        return dead;
      }),
      proxyPass('http://127.0.0.1:1/'),
    );
    expect((await rawRequest(port, GET)).status).toBe(203);
    expect(asked).toEqual([
      'third: ERR_PROXY_CONNECT',
      'second: ERR_PROXY_CONNECT',
      'first: ERR_PROXY_CONNECT',
    ]);
  });

  it('makes up for a balancer that has nothing to choose, by a response or an upstream', async () => {
    const second = await rawUpstream();
    for (const [instead, status] of [
      [STATIC, 203],
      [second.url, 200],
    ] as const) {
      const degrading = fallback(() => instead);
      closeAfter(() => degrading.close());
      const { port } = await gateway(
        'express 5',
        degrading,
        loadBalancer({ upstreams: [] }),
        rewriteUrl({ '^/page': '/other' }),
        proxyPass(),
      );
      expect((await rawRequest(port, GET)).status).toBe(status);
    }
    expect(onlyRequest(second)).toMatchObject({ method: 'GET', target: '/other' });
  });

  it('makes up for an edit that throws, by a response only', async () => {
    const upstream = await rawUpstream();
    const asked: string[] = [];
    const { port } = await gateway(
      'express 5',
      fallback(STATIC),
      fallback((error) => {
        asked.push(error.code);
        return upstream.url;
      }),
      modifyResponse(() => {
        throw new Error('oops');
      }),
      modifyResponse((response) => void response.headers.set('x-later', 'yes')),
      proxyPass(upstream.url),
    );
    const answer = await rawRequest(port, GET);
    expect(answer.status).toBe(203);
    expect(answer.header('x-later')).toBe('yes');
    expect(asked).toEqual(['ERR_PROXY_MODIFY_RESPONSE']);
    expect(requestsOf(upstream)).toHaveLength(1);
  });

  it('runs after retry() has given up, with a retry for what it names', async () => {
    const second = await rawUpstream();
    const { exchanges, watch } = watching();
    const { port } = await gateway(
      'express 5',
      watch,
      fallback(() => second.url),
      retry({ retries: 1, backoff: { baseMs: 0, maxMs: 0 } }),
      proxyPass(await refusing()),
    );
    expect((await rawRequest(port, GET)).status).toBe(200);
    expect(exchanges[0]?.attempts.map(({ error }) => error?.code)).toEqual([
      'ERR_PROXY_CONNECT',
      'ERR_PROXY_CONNECT',
      undefined,
    ]);
  });

  it('sends an upload to another upstream when nothing of it was read', async () => {
    const second = await rawUpstream();
    const { port } = await gateway(
      'express 5',
      fallback(() => second.url),
      proxyPass(await refusing()),
    );
    expect((await rawRequest(port, upload('POST /', [], 'a body'))).status).toBe(200);
    expect(onlyRequest(second).body).toBe('a body');
  });

  it('does not send half an upload: without a response, the error goes on', async () => {
    const first = await rawUpstream((_bytes, socket) => void socket.destroy());
    const second = await rawUpstream();
    const { port } = await gateway(
      'express 5',
      fallback(() => second.url),
      proxyPass(first.url),
      proxyErrors(),
    );
    const answer = await rawRequest(port, upload('POST /', [], 'a body'));
    expect(answer.status).toBe(502);
    expect(second.received()).toBe('');
  });

  it('stands in for failures alone when it is a response: clients hear of their own faults', async () => {
    const degrading = fallback(STATIC);
    const { port } = await gateway(
      'express 5',
      degrading,
      proxyPass(await refusing()),
      proxyErrors(),
    );
    expect((await rawRequest(port, request('TRACE /'))).status).toBe(405);
    const handled = await gateway(
      'express 5',
      fallback((error) => (error.status === 405 ? { status: 410 } : undefined)),
      proxyPass(await refusing()),
    );
    expect((await rawRequest(handled.port, request('TRACE /'))).status).toBe(410);
  });

  it('never sends a request that must not be forwarded to the upstream that it names', async () => {
    const second = await rawUpstream();
    const { port } = await gateway(
      'express 5',
      fallback(() => second.url),
      proxyPass(await refusing()),
      proxyErrors(),
    );
    expect((await rawRequest(port, request('TRACE /'))).status).toBe(405);
    expect(second.received()).toBe('');
  });

  it('closes the connection of a request that must not be forwarded, and processes nothing behind it', async () => {
    const upstream = await rawUpstream();
    const answers: FallbackHandler = () => STATIC;
    const { port } = await gateway('express 5', fallback(answers), proxyPass(upstream.url));
    const bad = 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n';
    await rawRequest(port, GET);
    const before = upstream.received();
    const client = await rawClient(port, bad + GET);
    const text = await client.closed();
    expect(text.match(/HTTP\/1\.1 (\d+)/g)).toEqual(['HTTP/1.1 203']);
    expect(text).toContain('Connection: close');
    expect(upstream.received()).toBe(before);
  });

  it('says in Proxy-Status why the answer is not the upstream’s', async () => {
    const { port } = await gateway(
      'express 5',
      proxyStatus({ name: 'edge' }),
      fallback(STATIC),
      proxyPass(await refusing()),
    );
    const answer = await rawRequest(port, GET);
    expect(answer.header('proxy-status')).toBe('edge; error=connection_refused');
  });

  it('is held like any response', async () => {
    const seen: unknown[] = [];
    const look: Handler = (req, res, next) => {
      const { response } = exchangeOf(req, res);
      seen.push(response instanceof UpstreamResponse, response?.status);
      next?.();
    };
    const { port } = await gateway(
      'express 5',
      fallback(STATIC),
      proxyPass(await refusing(), { hold: true }),
      look,
      sendResponse(),
    );
    expect(await rawRequest(port, GET)).toMatchObject({ status: 203, body: 'stale' });
    expect(seen).toEqual([true, 203]);
  });

  it('answers HEAD without the body', async () => {
    const { port } = await gateway('express 5', fallback(STATIC), proxyPass(await refusing()));
    const answer = await rawRequest(port, request('HEAD /'));
    expect(answer).toMatchObject({ status: 203, body: '' });
  });

  it('may give the same response each time: edits and a HEAD change it for one client alone', async () => {
    const page = new UpstreamResponse({ status: 203, statusText: 'Old', body: 'stale' });
    // Set behind the body, as fields have to be that go with it.
    page.headers.set('ETag', '"1"').set('Content-Length', 5);
    let clients = 0;
    const { port } = await gateway(
      'express 5',
      fallback(() => page),
      modifyResponse((response) => {
        response.headers.append('Set-Cookie', `client=${++clients}`);
        response.status = 200;
      }),
      proxyPass(await refusing()),
    );
    for (const method of ['GET', 'HEAD', 'GET']) {
      const answer = await rawRequest(port, request(`${method} /`));
      expect(answer).toMatchObject({ status: 200, body: method === 'HEAD' ? '' : 'stale' });
      expect(answer.header('set-cookie')).toBe(`client=${clients}`);
      expect([answer.header('etag'), answer.header('content-length')]).toEqual(['"1"', '5']);
    }
    expect([page.status, page.statusText, page.headers.has('set-cookie')]).toEqual([
      203,
      'Old',
      false,
    ]);
  });

  it.each([
    ['without a body', () => new UpstreamResponse({ status: 204 }), '204 '],
    [
      'with a body of bytes',
      () => new UpstreamResponse({ body: Buffer.from('bytes') }),
      '200 bytes',
    ],
    ['with a stream', () => new UpstreamResponse({ body: Readable.from(['a', 'b']) }), '200 ab'],
    [
      'whose body it has read',
      async () => {
        const response = new UpstreamResponse({ body: Readable.from([Buffer.from('read')]) });
        await response.text();
        return response;
      },
      '200 read',
    ],
  ])('takes a response of one’s own %s', async (_, make, expected) => {
    const { port } = await gateway('express 5', fallback(make), proxyPass(await refusing()));
    const { status, body } = await rawRequest(port, GET);
    expect(`${status} ${body}`).toBe(expected);
  });

  it.each<[string, FallbackHandler, string | undefined]>([
    ['answers', () => ({ body: 'from a copy' }), undefined],
    ['answers with the same status', () => ({ status: 429 }), '9'],
    ['answers with a wait of its own', () => ({ headers: { 'Retry-After': '5' } }), '5'],
    ['has nothing', () => undefined, '9'],
  ])('tells no client to wait that it serves: where it %s', async (_, handler, retryAfter) => {
    const degrading = fallback(handler);
    closeAfter(() => degrading.close());
    const limiter = rateLimiter({ limit: 0, retryAfter: 9 });
    const { port } = await gateway('express 5', degrading, limiter, proxyPass(), proxyErrors());
    expect((await rawRequest(port, GET)).header('retry-after')).toBe(retryAfter);
  });

  it('lets the error go on, and warns, when the handler throws or gives what cannot be sent', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const wrong: FallbackHandler[] = [
      () => {
        throw new Error('no idea');
      },
      async () => ({ status: 1000 }),
      () => 'nowhere at all',
    ];
    for (const handler of wrong) {
      const pass = proxyPass(await refusing());
      const { port } = await gateway('express 5', fallback(handler), pass, proxyErrors());
      expect((await rawRequest(port, GET)).status).toBe(502);
    }
    expect(warn.mock.calls.map(([, options]) => options)).toMatchObject([
      { code: 'HEADRACE_FALLBACK', detail: expect.stringContaining('no idea') },
      { code: 'HEADRACE_FALLBACK', detail: expect.stringContaining('must be a final HTTP status') },
      { code: 'HEADRACE_FALLBACK', detail: expect.stringContaining('"nowhere at all"') },
    ]);
  });

  it('does not run for clients that have left, and lets go of what came too late', async () => {
    const asked: ProxyError[] = [];
    let release = (): void => {};
    let discarded = false;
    const { exchanges, watch } = watching();
    const { port } = await gateway(
      'express 5',
      watch,
      fallback(async (error) => {
        asked.push(error);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        const body = new Readable({ read() {} });
        body.once('close', () => {
          discarded = true;
        });
        return { body };
      }),
      proxyPass(await refusing()),
    );
    const client = await rawClient(port, GET);
    await eventually('the question', () => asked.length === 1);
    client.socket.destroy();
    await eventually('the end', () => exchanges[0]?.outcome !== undefined);
    expect(exchanges[0]?.outcome?.type).toBe('client-closed');
    release();
    await eventually('the discarding', () => discarded);
  });

  it('does not run once the head was sent', async () => {
    let asked = 0;
    const upstream = await rawUpstream((_bytes, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      return undefined;
    });
    const { port } = await gateway(
      'express 5',
      fallback(() => {
        asked += 1;
        return STATIC;
      }),
      proxyPass(upstream.url),
    );
    const client = await rawClient(port, GET);
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*half$/);
    expect(asked).toBe(0);
  });

  it('serves many requests at once while the upstream is down', async () => {
    const second = await rawUpstream();
    const { exchanges, watch } = watching();
    const degrading = fallback((_error, req) => (req.method === 'OPTIONS' ? STATIC : second.url));
    closeAfter(() => degrading.close());
    const { port } = await gateway('express 5', watch, degrading, proxyPass(await refusing()));
    const more = (sent: number) => sent < 200;
    const [stale, other] = await Promise.all([
      load(port, { more, method: 'OPTIONS' }),
      load(port, { more }),
    ]);
    expect(stale).toMatchObject({ statuses: { 203: 200 }, errors: [] });
    expect(other).toMatchObject({ statuses: { 200: 200 }, errors: [] });
    expect(exchanges.every(({ outcome }) => outcome?.degraded)).toBe(true);
  });

  it('works in front of reverseProxy(), and with middleware of one’s own', async () => {
    const own: Handler = (req, res, next) => {
      exchangeOf(req, res).onFailure((error) => ({ status: 299, body: error.code }));
      next?.();
    };
    const { port } = await gateway(
      'connect',
      own,
      forwardedFor(),
      reverseProxy({ upstreams: [await refusing()], retry: false }),
    );
    expect(await rawRequest(port, GET)).toMatchObject({ status: 299, body: 'ERR_PROXY_CONNECT' });
  });

  it.each([
    [undefined, 'fallback must be a function or a response, received undefined'],
    ['text', 'fallback must be a function or a response, received "text"'],
    [[], 'fallback must be a function or a response, received an array of 0'],
    [
      { status: 42 },
      'fallback is no response: response.status must be a final HTTP status, received 42',
    ],
    [
      { boddy: '' },
      'fallback is no response: UpstreamResponse: unknown option "boddy", did you mean "body"?',
    ],
    [
      { body: Readable.from([]) },
      'fallback.body is a stream, which can be sent once: make it in a function',
    ],
    [{ headers: 'x' }, 'fallback.headers must be an object or a list of pairs, received "x"'],
    [{ headers: null }, 'fallback.headers must be an object or a list of pairs, received null'],
    [
      { headers: [1] },
      'fallback.headers must be an object or a list of pairs, received an array of 1',
    ],
    [{ status: Symbol('s') }, 'fallback.status must be a number, received Symbol(s)'],
    [{ status: '503' }, 'fallback.status must be a number, received "503"'],
    [{ statusText: 5 }, 'fallback.statusText must be a string, received 5'],
    [{ upstream: 5 }, 'fallback.upstream must be an Upstream, received 5'],
    [{}, 'fallback is an empty object, which would be sent as a 200 without a body'],
    [
      new UpstreamResponse(),
      'fallback is an UpstreamResponse: give what it is made of, or a function',
    ],
  ])('refuses %p', (given, message) => {
    expect(() => fallback(given as never)).toThrow(TypeError);
    expect(() => fallback(given as never)).toThrow(message);
  });

  it('reads the header of a response once, which may be all that is possible', async () => {
    const degrading = fallback({ headers: new Map([['X-Degraded', 'yes']]).entries() });
    const { port } = await gateway('express 5', degrading, proxyPass(await refusing()));
    for (let i = 0; i < 2; i++) {
      expect((await rawRequest(port, GET)).header('x-degraded')).toBe('yes');
    }
  });

  it('says so when it is mounted without being called', () => {
    expect(() => (fallback as never as (req: object) => void)({ rawHeaders: [] })).toThrow(
      'fallback: it was given a request. Mount what it returns: app.use(fallback(…))',
    );
  });

  it('closes the connections to upstreams that it named by URL', async () => {
    const server = createServer((socket) => {
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
      socket.once('close', () => server.emit('gone'));
    });
    const port = await listen(server);
    const degrading = fallback(() => `http://127.0.0.1:${port}`);
    const gone = once(server, 'gone');
    const { port: at } = await gateway('express 5', degrading, proxyPass(await refusing()));
    expect((await rawRequest(at, GET)).status).toBe(200);
    await degrading.close();
    await gone;
  });
});

import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  assertIdentity,
  attach,
  basicAuth,
  type Discovery,
  exchangeOf,
  type Handler,
  type ProxyError,
  proxyErrors,
  proxyPass,
  type ReverseProxy,
  type ReverseProxyOptions,
  reverseProxy,
  UpstreamPool,
  type Verifier,
} from 'headrace';
import supertest from 'supertest';
import { answer, appWith, errorOf } from '../helpers/apps.js';
import { type RawResponse, rawRequest } from '../helpers/client.js';
import { echo, http2Upstream } from '../helpers/http2.js';
import { basic } from '../helpers/identity.js';
import { request } from '../helpers/requests.js';
import {
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** Nothing listens there. */
const DOWN = 'http://127.0.0.1:1';

const says =
  (text: string, status = 200): RequestListener =>
  (_req, res) =>
    res.writeHead(status).end(text);

/** A gateway that is one `reverseProxy()`; `get` asks it. */
async function proxied(options: ReverseProxyOptions, framework: Framework = 'express 5') {
  const proxy = reverseProxy(options);
  closeAfter(() => proxy.close());
  const { port } = await gateway(framework, proxy, proxyErrors());
  const get = (...lines: string[]): Promise<RawResponse> =>
    rawRequest(port, request('GET /', lines));
  return { proxy, get };
}

/** The pool of a proxy that has one. */
function poolOf({ upstreams }: ReverseProxy): UpstreamPool {
  if (upstreams === undefined) throw new Error('there is no pool');
  return upstreams;
}

describe('reverseProxy', () => {
  it.each(frameworks)('tries another upstream in %s when one is down', async (framework) => {
    const { url } = await serve(says('up'));
    const { get } = await proxied({ upstreams: [DOWN, url] }, framework);
    expect((await get()).body).toBe('up');
  });

  it('takes no answer for the last word that another upstream can better', async () => {
    const { url: broken } = await serve(says('broken', 503));
    const { url } = await serve(says('up'));
    const { get } = await proxied({ upstreams: [broken, url] });
    expect((await get()).body).toBe('up');
  });

  it('retries over a pool that is its target', async () => {
    const { url } = await serve(says('up'));
    const pool = new UpstreamPool([DOWN, url]);
    closeAfter(() => pool.close());
    const { get } = await proxied({ target: pool });
    expect((await get()).body).toBe('up');
  });

  it('protects upstreams, with an option for each piece', async () => {
    const proxy = {
      upstreams: [DOWN],
      retry: false,
      rateLimiter: { limit: 6 },
      concurrencyLimit: { limit: 1 },
      circuitBreaker: { volumeThreshold: 3 },
      fallback: ({ code }: ProxyError) => ({ status: 299, body: code }),
    } as const;
    const { get } = await proxied(proxy);
    const bodies: string[] = [];
    for (let i = 0; i < 7; i++) bodies.push((await get()).body);
    expect(bodies).toEqual([
      ...Array(3).fill('ERR_PROXY_CONNECT'),
      ...Array(3).fill('ERR_PROXY_CIRCUIT_OPEN'),
      'ERR_PROXY_RATE_LIMITED',
    ]);
    expect(() => reverseProxy({ upstreams: [], concurrencyLimit: {} as never })).toThrow(
      'concurrencyLimit: limit must be a whole number, received undefined',
    );
  });

  it('does not retry where that is turned off', async () => {
    const { url } = await serve(says('up'));
    const { get } = await proxied({ upstreams: [DOWN, url], retry: false });
    expect([(await get()).status, (await get()).status]).toEqual([502, 200]);
  });

  it('retries at a single target only when told to', async () => {
    let asked = 0;
    const { url } = await serve((_req, res) => {
      asked += 1;
      res.writeHead(503).end();
    });
    const once = await proxied({ target: url });
    expect([(await once.get()).status, asked]).toEqual([503, 1]);
    const thrice = await proxied({ target: url, retry: { random: () => 0 } });
    expect([(await thrice.get()).status, asked]).toEqual([503, 4]);
    const decided = await proxied({ target: () => url, retry: { retries: 1, random: () => 0 } });
    expect([(await decided.get()).status, asked]).toEqual([503, 6]);
  });

  it('chooses by a strategy', async () => {
    const { url: one } = await serve(says('one'));
    const { url: two } = await serve(says('two'));
    const { get } = await proxied({ upstreams: [one, two], strategy: { pick: (all) => all[1] } });
    expect([(await get()).body, (await get()).body]).toEqual(['two', 'two']);
  });

  it('ejects by the health it is given', async () => {
    const { url } = await serve(says('up'));
    const health = { passive: { maxFailures: 1 } };
    const { proxy, get } = await proxied({ upstreams: [DOWN, url], health });
    await get();
    expect(poolOf(proxy).stats()).toMatchObject([{ bars: ['ejected'] }, { bars: [] }]);
  });

  it('asks its upstreams how they are', async () => {
    const { url } = await serve(says('up'));
    const health = { active: { intervalMs: 5, unhealthyAfter: 1 } };
    const { proxy } = await proxied({ upstreams: [DOWN, url], health });
    await eventually('a bar', () => poolOf(proxy).eligible.length === 1);
    expect(poolOf(proxy).stats()).toMatchObject([{ bars: ['unhealthy'] }, { bars: [] }]);
  });

  it('asks them over such connections as their requests take', async () => {
    const { port } = await http2Upstream(echo);
    const url = `http://127.0.0.1:${port}`;
    const health = { active: { intervalMs: 5, unhealthyAfter: 1, initial: 'unhealthy' as const } };
    const { proxy, get } = await proxied({ upstreams: [url], health, http2: 'prior-knowledge' });
    await eventually('an answer', () => poolOf(proxy).eligible.length === 1);
    expect((await get()).body).toMatch(/^GET \/ /);
  });

  it('lets newcomers start slowly', async () => {
    const { url: old } = await serve(says('old'));
    const { url: young } = await serve(says('young'));
    let now = 0;
    const clock = { now: () => now, random: () => 0.5 };
    const { proxy, get } = await proxied({ upstreams: [old], slowStartMs: 100, ...clock });
    poolOf(proxy).add(young);
    expect([(await get()).body, (await get()).body]).toEqual(['old', 'old']);
    now = 60;
    expect([(await get()).body, (await get()).body].sort()).toEqual(['old', 'young']);
  });

  it('keeps a client with one upstream', async () => {
    const { url: one } = await serve(says('one'));
    const { url: two } = await serve(says('two'));
    const sticky = { secret: 'a secret of enough length' };
    const { get } = await proxied({ upstreams: [one, two], sticky });
    const first = await get();
    const [cookie] = (first.header('Set-Cookie') ?? '').split(';');
    const later = [await get(`Cookie: ${cookie}`), await get(`Cookie: ${cookie}`)];
    expect([first, ...later].map(({ body }) => body)).toEqual(['one', 'one', 'one']);
  });

  it('connects to its upstreams as transport says, and not as proxyPass() does', async () => {
    const { url } = await serve((_req, res) => void res.setHeader('X-Long', 'x'.repeat(500)).end());
    const narrow = { maxHeaderBytes: 200 };
    const transport = await proxied({ upstreams: [url], transport: narrow, maxHeaderBytes: 9_000 });
    expect((await transport.get()).status).toBe(502);
    const entry = { url, transport: { maxHeaderBytes: 9_000 } };
    const own = await proxied({ upstreams: [entry], transport: narrow, ...narrow });
    expect((await own.get()).status).toBe(200);
  });

  it('follows a source of upstreams until it is closed', async () => {
    const { url } = await serve(says('up'));
    let left = false;
    const source: Discovery = {
      [Symbol.asyncIterator]() {
        let asked = 0;
        return {
          next: () =>
            asked++ === 0
              ? Promise.resolve({ done: false, value: [url] })
              : new Promise<never>(() => {}),
          return: async () => {
            left = true;
            return { done: true, value: undefined };
          },
        };
      },
    };
    const { proxy, get } = await proxied({ upstreams: source });
    await eventually('the first list', () => poolOf(proxy).upstreams.length === 1);
    expect((await get()).body).toBe('up');
    await proxy.close();
    expect(left).toBe(true);
  });

  it('tells of failures of all pieces with Proxy-Status', async () => {
    const { get } = await proxied({ upstreams: [], proxyStatus: { name: 'edge' } });
    const response = await get();
    expect([response.status, response.header('Proxy-Status')]).toEqual([
      503,
      'edge; error=destination_unavailable',
    ]);
  });

  it('leaves a pool open that was given', async () => {
    const { url } = await serve(says('up'));
    const pool = new UpstreamPool([url]);
    closeAfter(() => pool.close());
    const first = await proxied({ upstreams: pool });
    await first.proxy.close();
    expect((await (await proxied({ upstreams: pool })).get()).body).toBe('up');
  });
});

describe('reverseProxy refuses', () => {
  it('options behind the target, which would go unheard', () => {
    const call = reverseProxy as (target: unknown, options: unknown) => unknown;
    for (const target of [DOWN, new URL(DOWN), () => DOWN, { target: DOWN }]) {
      expect(() => call(target, { authorize: { allow: [] } })).toThrow(TypeError);
      expect(() => call(target, { authorize: { allow: [] } })).toThrow(
        'reverseProxy: options stand beside the target, reverseProxy({ target, ...options }), ' +
          'received an object ["authorize"] behind it',
      );
    }
  });

  it('an option for WebSockets, which need none', () => {
    expect(() => reverseProxy({ target: DOWN, ws: true } as never)).toThrow(
      'reverseProxy: "ws" is no option; attach(server, app) brings WebSockets here',
    );
  });

  it.each([
    ['changeOrigin', 'true is what is done here, and false is host: "client"'],
    ['pathRewrite', 'rewriteUrl takes the same object or function'],
    ['on', 'modifyResponse() has the response'],
  ])('%s, which is an option of other proxies', (name, hint) => {
    const message = `unknown option "${name}"; ${hint}`;
    expect(() => reverseProxy({ target: DOWN, [name]: true })).toThrow(`reverseProxy: ${message}`);
    expect(() => proxyPass(DOWN, { [name]: true })).toThrow(`proxyPass: ${message}`);
  });

  it('nothing that a list hands over', async () => {
    await Promise.all([DOWN].map(reverseProxy).map((proxy) => proxy.close()));
  });

  it.each<[string, ReverseProxyOptions]>([
    ['strategy', { strategy: 'random' }],
    ['health', { health: { passive: false } }],
    ['slowStartMs', { slowStartMs: 100 }],
    ['sticky', { sticky: { secret: 'a secret of enough length' } }],
    ['transport', { transport: { connections: 1 } }],
  ])('%s where a function decides, which would never hear of it', (name, options) => {
    expect(() => reverseProxy({ target: () => DOWN, ...options })).toThrow(
      new TypeError(`reverseProxy: ${name} needs upstreams, and target is a function`),
    );
  });

  it('a target beside upstreams', () => {
    expect(() => reverseProxy({ target: DOWN, upstreams: [DOWN] })).toThrow(/both were given/);
  });

  it('wrong options of its pieces, and those that belong to a pool', () => {
    expect(() => reverseProxy({ upstreams: [], retry: { retries: -1 } })).toThrow(
      'retry: retries must be a whole number of at least 0, received -1',
    );
    expect(() => reverseProxy({ upstreams: new UpstreamPool([]), slowStartMs: 5 })).toThrow(
      'loadBalancer: slowStartMs belongs to the pool, give it to new UpstreamPool()',
    );
  });
});

describe.each(frameworks)('in %s, reverseProxy(url)', (framework) => {
  it('is the whole pipeline', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 302 Found\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLocation: /base/x\r\nContent-Length: 0\r\n\r\n',
    );
    const proxy = reverseProxy(`${upstream.url}/base`);
    closeAfter(() => proxy.close());
    const { url, port } = await gateway(framework, proxy);
    const headers = { 'X-Forwarded-For': '6.6.6.6', 'Proxy-Connection': 'x' };
    const res = await fetch(`${url}/a?b`, { headers, redirect: 'manual' });
    expect(res.status).toBe(302);
    expect(res.headers.get('location')).toBe('/x');
    expect(res.headers.has('x-hop')).toBe(false);
    const sent = upstream.received();
    expect(sent).toMatch(/^GET \/base\/a\?b HTTP\/1\.1\r\n/);
    expect(sent).toMatch(/\r\nX-Forwarded-For: 127\.0\.0\.1\r\n/i);
    expect(sent).toMatch(new RegExp(`\r\nX-Forwarded-Host: 127\\.0\\.0\\.1:${port}\r\n`, 'i'));
    expect(sent).toMatch(/\r\nVia: 1\.1 headrace\r\n/i);
    expect(sent).not.toMatch(/\r\nProxy-Connection:/i);
  });

  it('answers what goes wrong before the upstream', async () => {
    const { url } = await gateway(framework, reverseProxy({ upstreams: [] }));
    expect((await fetch(url)).status).toBe(503);
    const other = await gateway(framework, reverseProxy('http://127.0.0.1:1'));
    expect((await fetch(other.url, { headers: { Via: '1.1 headrace' } })).status).toBe(508);
    expect((await fetch(other.url)).status).toBe(502);
  });
});

describe('reverseProxy, asked who may pass', () => {
  const users = basicAuth({ users: { ada: 'lovelace', bob: 'marley' } });
  const { privateKey: signingKey } = generateKeyPairSync('ed25519');
  const ADA = basic('ada', 'lovelace');
  const BOB = basic('bob', 'marley');

  /** A proxy before an upstream that shows what came; `ask` asks the proxy. */
  async function guarding(options: ReverseProxyOptions, framework: Framework = 'express 5') {
    const { url } = await serve(({ url: path, headers }, res) => {
      res.end(JSON.stringify({ path, headers }));
    });
    const proxy = reverseProxy({ target: url, ...options });
    closeAfter(() => proxy.close());
    const { port } = await gateway(
      framework,
      proxy,
      ...(framework === 'node:http' ? [] : [proxyErrors()]),
    );
    const ask = (line: string, ...lines: string[]) => rawRequest(port, request(line, lines));
    const statusOf = async (...line: [string, ...string[]]) => (await ask(...line)).status;
    return { proxy, ask, statusOf };
  }

  it.each(frameworks)('lets through whom all its pieces let through, in %s', async (framework) => {
    const { ask, statusOf } = await guarding(
      {
        addressList: { allow: 'loopback' },
        authenticate: users,
        authorize: { allow: [{ path: '/v1/own/**', claims: { sub: 'ada' } }] },
        rewriteUrl: { '^/api': '/v1' },
        stripHopHeaders: { also: ['x-user'] },
        assertIdentity: { signingKey, headers: { 'x-user': 'sub' } },
      },
      framework,
    );
    const refused = await ask('GET /api/own/a');
    expect([refused.status, refused.header('www-authenticate')]).toEqual([
      401,
      'Basic realm="gateway", charset="UTF-8"',
    ]);
    expect(await statusOf('GET /api/own/a', BOB)).toBe(403);
    // What is judged is what the upstream gets, and not what the client says.
    expect(await statusOf('GET /v1/own/a', ADA)).toBe(200);
    expect(await statusOf('GET /api/other', ADA)).toBe(403);
    const { path, headers } = JSON.parse((await ask('GET /api/own/a', ADA, 'X-User: bob')).body);
    expect([path, headers['x-user'], headers.authorization]).toEqual([
      '/v1/own/a',
      'ada',
      undefined,
    ]);
    expect(headers['x-headrace-assertion']).toMatch(/^eyJ/);
  });

  it('goes by the address first', async () => {
    const options = { addressList: { deny: 'loopback' }, authenticate: users };
    expect(await (await guarding(options)).statusOf('GET /')).toBe(403);
  });

  it('takes several verifiers, and the options of authenticate()', async () => {
    const key: Verifier = {
      scheme: 'key',
      verify: () => ({ refused: 'no' }),
      challenge: () => 'Key',
    };
    const two = await guarding({ authenticate: [users, key] });
    expect((await two.ask('GET /')).header('www-authenticate')).toMatch(/^Basic .*, Key$/);
    expect(await two.statusOf('GET /', ADA)).toBe(200);
    const optional = await guarding({ authenticate: [users, { optional: true }] });
    expect(await optional.statusOf('GET /')).toBe(200);
    expect(await optional.statusOf('GET /', basic('ada', 'byron'))).toBe(401);
  });

  it('has no fallback for those who may not pass, lest it gives them what it kept from others', async () => {
    const { statusOf } = await guarding({
      authenticate: users,
      authorize: { allow: [{ claims: { sub: 'ada' } }] },
      fallback: () => ({ body: 'a copy' }),
    });
    expect(await statusOf('GET /')).toBe(401);
    expect(await statusOf('GET /', BOB)).toBe(403);
  });

  it('counts requests by who sends them, where that is asked for', async () => {
    const { statusOf } = await guarding({
      authenticate: users,
      rateLimiter: {
        limit: 1,
        keyGenerator: (req, res) => `${exchangeOf(req, res).identity?.subject}`,
      },
    });
    const statuses: unknown[] = [];
    for (const who of [ADA, BOB, ADA]) statuses.push(await statusOf('GET /', who));
    expect(statuses).toEqual([200, 200, 429]);
  });

  it('asks a service about those whom the policy lets through, and closes its connections', async () => {
    const asked: unknown[] = [];
    const service = await serve(({ headers }, res) => {
      asked.push([headers['x-forwarded-uri'], headers['x-forwarded-for']]);
      res.writeHead(200, { 'X-Plan': 'gold' }).end();
    });
    const closed: Promise<unknown>[] = [];
    service.server.on('connection', (socket) => closed.push(once(socket, 'close')));
    const { proxy, ask, statusOf } = await guarding({
      authorize: { allow: [{ path: '/v1/**' }] },
      forwardAuth: { url: service.url, copyHeaders: ['x-plan'] },
      rewriteUrl: { '^/api': '/v1' },
    });
    expect(await statusOf('GET /other')).toBe(403);
    const { headers } = JSON.parse((await ask('GET /api/a', 'X-Plan: free')).body);
    expect([headers['x-plan'], asked]).toEqual(['gold', [['/api/a', '127.0.0.1']]]);
    await proxy.close();
    await Promise.all(closed);
  });

  it('keeps WebSockets out as well', async () => {
    const app = express().use(reverseProxy({ target: DOWN, authenticate: users }), proxyErrors());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    const asked = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
    expect((await rawRequest(port, request('GET /', [...asked, key]))).status).toBe(401);
    expect((await rawRequest(port, request('GET /', [...asked, key, ADA]))).status).toBe(502);
  });

  it('takes an assertIdentity() whose keys are served elsewhere', async () => {
    const assertion = assertIdentity({ signingKey, header: 'x-who' });
    const { ask } = await guarding({ authenticate: users, assertIdentity: assertion });
    expect(JSON.parse((await ask('GET /', ADA)).body).headers['x-who']).toMatch(/^eyJ/);
  });

  it.each(['addressList', 'authenticate', 'authorize', 'forwardAuth', 'assertIdentity'])(
    'refuses %s that is there, and undefined',
    (name) => {
      expect(() => reverseProxy({ target: DOWN, [name]: undefined })).toThrow(
        new TypeError(`reverseProxy: ${name} is there, and undefined`),
      );
    },
  );

  it.each<[object, string]>([
    [{ addressList: {} }, 'addressList: allow or deny says who may pass'],
    [{ authenticate: [] }, 'authenticate: needs a verifier'],
    [{ authenticate: false }, 'authenticate: verifiers[0] must have a scheme and verify()'],
    [{ authenticate: basicAuth }, 'authenticate: verifiers[0] must have a scheme and verify()'],
    [{ authorize: {} }, 'authorize: allow is required'],
    [{ forwardAuth: {} }, 'forwardAuth: url must be'],
    [{ assertIdentity: {} }, 'assertIdentity: signingKey must be'],
    [{ assertIdentity: () => {} }, 'assertIdentity: options must be an object, received function'],
  ])('refuses %j', (options, message) => {
    expect(() => reverseProxy({ target: DOWN, ...options })).toThrow(message);
  });
});

describe('reverseProxy, as a pipeline', () => {
  /** What becomes of a request to `/api/x` whose upstream answers with a cookie and a redirect. */
  async function through(options: ReverseProxyOptions) {
    let path = '';
    let fields: Record<string, string> = {};
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).around(async (exchange, send) => {
        path = exchange.path;
        fields = exchange.headers.toJSON();
        return send();
      });
      next?.();
    };
    const headers = { Location: '/v1/login', 'Set-Cookie': 'a=1; Path=/v1' };
    const respond = answer({ status: 302, headers });
    const app = appWith(look, respond, reverseProxy(options), proxyErrors());
    const { headers: received } = await supertest(app)
      .get('/api/x')
      .set('X-Secret', '1')
      .expect(302);
    return { path, fields, received };
  }

  it('has options for each of its pieces', async () => {
    const { path, fields, received } = await through({
      target: 'http://backend.example',
      stripHopHeaders: { also: ['x-secret'] },
      forwardedFor: { headers: 'x-real-ip', via: 'edge' },
      rewriteUrl: { '^/api': '/v1' },
      rewriteCookies: { path: '/api', secure: true },
      modifyResponse: (response) => void response.headers.set('X-Proxy', 'magical'),
    });
    expect(path).toBe('/v1/x');
    expect(fields).toMatchObject({ 'x-real-ip': '127.0.0.1', via: '1.1 edge' });
    expect(fields).not.toHaveProperty('x-secret');
    expect(received).toMatchObject({
      location: '/api/login',
      'set-cookie': ['a=1; Path=/api; Secure'],
      'x-proxy': 'magical',
    });
  });

  it('believes whom forwardedFor does when it maps redirects', async () => {
    const Location = 'http://backend.example/login';
    const proxy = reverseProxy({
      target: 'http://backend.example',
      forwardedFor: { trust: 'loopback' },
    });
    const app = appWith(answer({ status: 302, headers: { Location } }), proxy, proxyErrors());
    await supertest(app)
      .get('/')
      .set({ 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'public.example' })
      .expect('Location', 'https://public.example/login');
  });

  it('leaves out what is switched off', async () => {
    const target = 'http://backend.example';
    const { fields, received } = await through({
      target,
      forwardedFor: false,
      rewriteRedirects: false,
      rewriteUrl: { '^/api': '/v1' },
    });
    expect(fields).not.toHaveProperty('via');
    expect(fields).not.toHaveProperty('x-forwarded-for');
    expect(received).toMatchObject({ location: '/v1/login', 'set-cookie': ['a=1; Path=/v1'] });
  });

  it('balances over several upstreams, or a pool, by a strategy', async () => {
    const chosen: (string | undefined)[] = [];
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ upstream }) => chosen.push(upstream?.url));
      next?.();
    };
    const urls = ['http://a.example', 'http://b.example'];
    const last = { pick: <T>(candidates: readonly T[]) => candidates.at(-1) };
    for (const options of [
      { upstreams: urls },
      { upstreams: new UpstreamPool(urls) },
      { upstreams: urls, strategy: last },
      { target: new UpstreamPool(['http://pool.example']) },
      { target: new URL('http://url.example') },
      { target: () => 'http://fn.example' },
    ])
      await supertest(appWith(look, answer({}), reverseProxy(options)))
        .get('/')
        .expect(200);
    expect(chosen).toEqual([
      'http://a.example',
      'http://a.example',
      'http://b.example',
      'http://pool.example',
      'http://url.example',
      'http://fn.example',
    ]);
  });

  it('hands back its pool', () => {
    const pool = new UpstreamPool(['http://a']);
    expect(reverseProxy('http://a').upstreams?.upstreams.map(String)).toEqual(['http://a']);
    expect(reverseProxy({ upstreams: pool }).upstreams).toBe(pool);
    expect(reverseProxy(pool).upstreams).toBe(pool);
    expect(reverseProxy(() => 'http://a').upstreams).toBeUndefined();
  });

  it('closes its own connections, and not those of a pool that was given', async () => {
    const pool = new UpstreamPool(['http://a']);
    for (const proxy of [reverseProxy('http://a'), reverseProxy(pool)]) {
      let closed = 0;
      proxy.upstreams!.upstreams[0]!.connections.set({}, { close: async () => void closed++ });
      await proxy.close();
      expect(closed).toBe(proxy.upstreams === pool ? 0 : 1);
    }
    const upstream = await rawUpstream();
    const byFunction = reverseProxy(() => upstream.url);
    await supertest(appWith(byFunction)).get('/').expect(200, 'ok');
    const ended = new Promise((resolve) => upstream.sockets[0]!.once('close', resolve));
    await byFunction.close();
    await ended;
  });

  it('holds the response where it is told to', async () => {
    const proxy = reverseProxy({ target: 'http://backend.example', hold: true });
    const show: Handler = (req, res) => void res.end(`${exchangeOf(req, res).response?.status}`);
    await supertest(appWith(answer({ status: 404 }), proxy, show))
      .get('/')
      .expect(200, '404');
  });

  it('hands the errors of all its pieces on', async () => {
    const throws = () => {
      throw new RangeError('no');
    };
    expect(await errorOf(reverseProxy({ target: 'http://a', rewriteUrl: throws }))).toBe(
      'RangeError: no',
    );
  });

  const EITHER = 'reverseProxy: either target or upstreams says where requests go, ';
  it.each([
    [undefined, `${EITHER}neither was given`],
    [{}, `${EITHER}neither was given`],
    [{ target: 'http://a', upstreams: ['http://b'] }, `${EITHER}both were given`],
    ['htp://a', 'reverseProxy: target must be an http(s) URL, received "htp://a"'],
    [{ target: 5 }, 'reverseProxy: target must be an http(s) URL, received 5'],
    [
      { target: ['http://a', 'http://b'] },
      'reverseProxy: target must be an http(s) URL, received an array of 2',
    ],
    [7, 'reverseProxy: target must be an http(s) URL, received 7'],
    [{ upstreams: null }, 'loadBalancer: upstreams must be an array, received null'],
    [
      { upstreams: ['htp://a'] },
      'loadBalancer: upstreams[0].url must be an http(s) URL, received "htp://a"',
    ],
    [{ target: 'http://a', strategy: 'x' }, 'loadBalancer: strategy must be one of '],
    [{ traget: 'http://a' }, 'reverseProxy: unknown option "traget", did you mean "target"?'],
    [{ target: 'http://a', pathRewrite: {} }, 'reverseProxy: unknown option "pathRewrite"'],
    [
      { target: 'http://a', rewriteRedirects: {} },
      'reverseProxy: rewriteRedirects must be true or false',
    ],
    [
      { target: 'http://a', forwardedFor: true },
      'forwardedFor: options must be an object, received true',
    ],
    [
      { target: 'http://a', rewriteCookies: 1 },
      'rewriteCookies: options must be an object, received 1',
    ],
    [{ target: 'http://a', rewriteUrl: 'x' }, "rewriteUrl: rules must be { '^/api': '' }, [[/"],
    [{ target: 'http://a', modifyResponse: {} }, 'modifyResponse: edit must be a function'],
    [{ target: 'http://a', hold: 1 }, 'proxyPass: hold must be true or false, received 1'],
    [{ target: 'http://a', tls: 1 }, 'proxyPass: tls must be an object, received 1'],
  ])('refuses %j', (options, message) => {
    expect(() => reverseProxy(options as never)).toThrow(TypeError);
    expect(() => reverseProxy(options as never)).toThrow(message);
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(reverseProxy)).toBe(
      'TypeError: reverseProxy: it was given a request. Mount what it returns: app.use(reverseProxy(…))',
    );
  });
});

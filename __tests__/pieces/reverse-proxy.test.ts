import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  type Discovery,
  proxyErrors,
  type ReverseProxy,
  type ReverseProxyOptions,
  reverseProxy,
  UpstreamPool,
} from 'headrace';
import { type RawResponse, rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { closeAfter, type Framework, frameworks, gateway, serve } from '../helpers/servers.js';
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

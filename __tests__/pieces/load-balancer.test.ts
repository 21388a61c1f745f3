import { describe, expect, it } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import {
  exchangeOf,
  type Handler,
  type LoadBalancerOptions,
  loadBalancer,
  proxyErrors,
  proxyPass,
  retry,
  UpstreamPool,
} from 'headrace';
import request from 'supertest';
import { appWith, errorOf, printing } from '../helpers/apps.js';
import { rawRequest } from '../helpers/client.js';
import { request as get } from '../helpers/requests.js';
import { closeAfter, frameworks, gateway, rawUpstream, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const LIST = ['http://10.0.0.1', 'http://10.0.0.2:8080/base'];
const SECRET = 'a secret of enough length';

/** An upstream that answers with its name. */
async function named(name: string): Promise<string> {
  return (await serve((_req, res) => res.end(name))).url;
}

describe('loadBalancer', () => {
  it.each(frameworks)('spreads requests in %s', async (framework) => {
    const upstreams = await Promise.all(['a', 'b', 'c'].map(named));
    const balancer = loadBalancer({ upstreams });
    closeAfter(() => balancer.close());
    const { port } = await gateway(framework, balancer, proxyPass());
    const bodies: string[] = [];
    for (let i = 0; i < 6; i++) bodies.push((await rawRequest(port, get('GET /'))).body);
    expect(bodies).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
  });

  it('chooses when it is called, so that no upstream is needed to see its choice', async () => {
    const app = express();
    app.use(loadBalancer({ upstreams: ['http://a', 'http://b'] }), (_req, res) => {
      res.json({ upstream: res.locals.proxy.upstream, pool: res.locals.proxy.pool !== undefined });
    });
    const agent = request(app);
    expect((await agent.get('/')).body).toEqual({ upstream: { url: 'http://a' }, pool: true });
    expect((await agent.get('/')).body).toEqual({ upstream: { url: 'http://b' }, pool: true });
  });

  it.each(frameworks)('answers 503 in %s when there is nothing to choose', async (framework) => {
    const { port } = await gateway(framework, loadBalancer({ upstreams: [] }), proxyPass());
    expect((await rawRequest(port, get('GET /'))).status).toBe(503);
  });

  it('fails with a code of its own, before anything else is done', async () => {
    const later: Handler = () => {
      throw new Error('it went on');
    };
    const balancer = loadBalancer({ upstreams: [{ url: 'http://a', weight: 0 }] });
    const { port } = await gateway('express 5', balancer, later, proxyErrors());
    const { status, body } = await rawRequest(port, get('GET /'));
    expect([status, JSON.parse(body).code]).toEqual([503, 'ERR_PROXY_NO_UPSTREAM']);
  });

  it('holds no place for a client that left before it was asked', async () => {
    const balancer = loadBalancer({ upstreams: [await named('a')] });
    let resume = (): void => {};
    const slow: Handler = (_req, res, next) => {
      res.once('close', () => {
        next?.();
        resume();
      });
    };
    const resumed = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const { port } = await gateway('express 5', slow, balancer, proxyPass());
    const failed = rawRequest(port, get('GET /'), 200).catch(() => 'gone');
    expect(await failed).toBe('gone');
    await resumed;
    expect(balancer.upstreams.stats()).toMatchObject([{ inFlight: 0, requests: 0 }]);
  });

  it('shares a pool between pipelines, its turns and its counts', async () => {
    const pool = new UpstreamPool(await Promise.all(['a', 'b'].map(named)));
    closeAfter(() => pool.close());
    const [one, two] = [loadBalancer({ upstreams: pool }), loadBalancer({ upstreams: pool })];
    expect([one.upstreams, two.upstreams]).toEqual([pool, pool]);
    const first = await gateway('express 5', one, proxyPass());
    const second = await gateway('connect', two, proxyPass());
    const bodies: string[] = [];
    for (const { port } of [first, second, first, second]) {
      bodies.push((await rawRequest(port, get('GET /'))).body);
    }
    expect(bodies).toEqual(['a', 'b', 'a', 'b']);
    expect(pool.stats().map(({ requests }) => requests)).toEqual([2, 2]);
    pool.upstreams[0]?.bar('ejected');
    expect((await rawRequest(first.port, get('GET /'))).body).toBe('b');
    expect((await rawRequest(second.port, get('GET /'))).body).toBe('b');
  });

  it('closes a pool of its own, but not one that was given', async () => {
    const upstream = await rawUpstream();
    const pool = new UpstreamPool([upstream.url]);
    closeAfter(() => pool.close());
    const shared = loadBalancer({ upstreams: pool });
    const { port } = await gateway('express 5', shared, proxyPass());
    await rawRequest(port, get('GET /'));
    await shared.close();
    await rawRequest(port, get('GET /'));
    expect(upstream.sockets).toHaveLength(1);
    expect(upstream.sockets[0]?.destroyed).toBe(false);
    await pool.close();
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });
});

describe('sticky sessions', () => {
  it('keep a client with the upstream that served it first, and tell it once', async () => {
    const upstreams = await Promise.all(['a', 'b', 'c'].map(named));
    const balancer = loadBalancer({ upstreams, sticky: { secret: SECRET } });
    closeAfter(() => balancer.close());
    const app = express().use(balancer, proxyPass());
    const first = await request(app).get('/').expect(200, 'a');
    const [cookie = ''] = first.get('Set-Cookie') ?? [];
    for (let i = 0; i < 5; i++) {
      const again = await request(app).get('/').set('Cookie', cookie).expect(200, 'a');
      expect(again.get('Set-Cookie')).toBeUndefined();
    }
    await request(app).get('/').expect(200, 'b');
  });

  it('fall through to the strategy when the upstream is out, and follow the new one', async () => {
    const upstreams = await Promise.all(['a', 'b'].map(named));
    const balancer = loadBalancer({ upstreams, sticky: { secret: SECRET } });
    closeAfter(() => balancer.close());
    const app = express().use(balancer, proxyPass());
    const [cookie = ''] = (await request(app).get('/').expect('a')).get('Set-Cookie') ?? [];
    balancer.upstreams.upstreams[0]?.bar('ejected');
    const moved = await request(app).get('/').set('Cookie', cookie).expect(200, 'b');
    const [next = ''] = moved.get('Set-Cookie') ?? [];
    balancer.upstreams.upstreams[0]?.lift('ejected');
    await request(app).get('/').set('Cookie', next).expect(200, 'b');
  });

  it('follow a retry to the upstream that answered', async () => {
    const broken = await rawUpstream((_bytes, socket) => void socket.destroy());
    const balancer = loadBalancer({
      upstreams: [broken.url, await named('b')],
      sticky: { secret: SECRET },
    });
    closeAfter(() => balancer.close());
    const app = express().use(balancer, retry(), proxyPass());
    const answer = await request(app).get('/').expect(200, 'b');
    const [cookie = ''] = answer.get('Set-Cookie') ?? [];
    expect(answer.get('Set-Cookie')).toHaveLength(1);
    await request(app).get('/').set('Cookie', cookie).expect(200, 'b');
    expect(broken.sockets).toHaveLength(1);
  });

  it('are not impressed by forged cookies', async () => {
    const balancer = loadBalancer({ upstreams: [await named('a')], sticky: { secret: SECRET } });
    closeAfter(() => balancer.close());
    const app = express().use(balancer, proxyPass());
    const forged = 'headrace_upstream=aaaaaaaaaaaaaaaaaaaaaa.s44we8.aaaaaaaaaaaaaaaaaaaaaa';
    const answer = await request(app).get('/').set('Cookie', forged).expect(200, 'a');
    expect(answer.get('Set-Cookie')).toHaveLength(1);
  });
});

describe('options of loadBalancer', () => {
  it.each<[unknown, string]>([
    [undefined, 'options must be an object, received undefined'],
    [{}, 'upstreams must be an array, received undefined'],
    [{ upstreams: 'http://a' }, 'upstreams must be an array, received "http://a"'],
    [
      { upstreams: ['http://a', { url: 'htp://b' }] },
      'upstreams[1].url must be an http(s) URL, received "htp://b"',
    ],
    [{ upstreams: [], stategy: 'x' }, 'unknown option "stategy", did you mean "strategy"?'],
    [
      { upstreams: [], health: { passive: { maxFailures: 0 } } },
      'health.passive.maxFailures must be',
    ],
    [{ upstreams: [], health: { active: { path: 'x' } } }, 'health.active.path must be a path'],
    [{ upstreams: [], slowStartMs: -1 }, 'slowStartMs must be a whole number'],
    [{ upstreams: [], sticky: {} }, 'sticky.secret must be a string of at least 16 characters'],
  ])('refuse %j', (options, message) => {
    const make = () => loadBalancer(options as LoadBalancerOptions);
    expect(make).toThrow(/^loadBalancer: /);
    expect(make).toThrow(message);
  });

  it('refuse a pool in their place', () => {
    const message = 'loadBalancer: a pool is given as one of its options: { upstreams: pool }';
    expect(() => loadBalancer(new UpstreamPool(['http://a']))).toThrow(message);
    expect(() => loadBalancer(new UpstreamPool([]))).toThrow(message);
  });

  it('refuse what belongs to a pool beside a pool', () => {
    const pool = new UpstreamPool([]);
    const message = 'loadBalancer: slowStartMs belongs to the pool, give it to new UpstreamPool()';
    expect(() => loadBalancer({ upstreams: pool, slowStartMs: 0 })).toThrow(message);
    expect(() => loadBalancer({ upstreams: pool, slowStartMs: undefined })).not.toThrow();
  });

  it('say so when the factory itself was mounted', async () => {
    const { port } = await gateway('express 5', loadBalancer, proxyErrors());
    const { status } = await rawRequest(port, get('GET /'));
    expect(status).toBe(500);
    const app = express().use(loadBalancer as unknown as Handler);
    const answer = await request(app).get('/');
    expect(answer.text).toContain('Mount what it returns: app.use(loadBalancer(…))');
  });
});

describe('loadBalancer, by itself', () => {
  it('chooses when Express calls it, so that the next middleware can read exchange.upstream', async () => {
    const seen: unknown[] = [];
    const look: RequestHandler = (req, res, next) => {
      seen.push(exchangeOf(req, res).upstream?.url);
      next();
    };
    const app = printing(look, loadBalancer({ upstreams: LIST }), look);
    const { body } = await request(app).get('/');
    expect(seen).toEqual([undefined, 'http://10.0.0.1']);
    expect(body.upstream).toBe('http://10.0.0.1');
  });

  it('chooses round robin', async () => {
    const app = printing(loadBalancer({ upstreams: LIST }));
    const chosen: unknown[] = [];
    for (let i = 0; i < 3; i++) chosen.push((await request(app).get('/')).body.upstream);
    expect(chosen).toEqual([LIST[0], LIST[1], LIST[0]]);
  });

  it('chooses by a strategy of one’s own', async () => {
    const strategy = { pick: <T>(candidates: readonly T[]) => candidates.at(-1) };
    const app = printing(loadBalancer({ upstreams: LIST, strategy }));
    expect((await request(app).get('/')).body.upstream).toBe(LIST[1]);
  });

  it('shares a pool with other pipelines', async () => {
    const pool = new UpstreamPool(LIST);
    const one = loadBalancer({ upstreams: pool });
    expect(one.upstreams).toBe(pool);
    const first = await request(printing(one)).get('/');
    const second = await request(printing(loadBalancer({ upstreams: pool }))).get('/');
    expect([first.body.upstream, second.body.upstream]).toEqual(LIST);
  });

  it('answers 503 when there is none to choose', async () => {
    const app = appWith(loadBalancer({ upstreams: [] }), proxyErrors());
    const { body } = await request(app).get('/').expect(503);
    expect(body.code).toBe('ERR_PROXY_NO_UPSTREAM');
    const picky = loadBalancer({ upstreams: LIST, strategy: { pick: () => undefined } });
    await request(appWith(picky, proxyErrors())).get('/').expect(503);
  });

  it('answers 503 on a bare server, too', async () => {
    const { url } = await gateway('node:http', loadBalancer({ upstreams: [] }));
    expect((await fetch(url)).status).toBe(503);
  });

  it('closes its own pool, and not one that was given', async () => {
    const pool = new UpstreamPool(LIST);
    for (const balancer of [loadBalancer({ upstreams: LIST }), loadBalancer({ upstreams: pool })]) {
      let closed = 0;
      for (const upstream of balancer.upstreams.upstreams)
        upstream.connections.set({}, { close: async () => void closed++ });
      await balancer.close();
      expect(closed).toBe(balancer.upstreams === pool ? 0 : 2);
    }
  });

  it.each([
    [undefined, 'loadBalancer: options must be an object, received undefined'],
    [LIST, 'loadBalancer: options must be an object, received an array of 2'],
    [{ upstream: LIST }, 'loadBalancer: unknown option "upstream", did you mean "upstreams"?'],
    [{}, 'loadBalancer: upstreams must be an array, received undefined'],
    [{ upstreams: 'http://a' }, 'loadBalancer: upstreams must be an array, received "http://a"'],
    [
      { upstreams: ['http://a', 'htp://a'] },
      'loadBalancer: upstreams[1].url must be an http(s) URL, received "htp://a"',
    ],
    [
      { upstreams: [{ url: 'http://a', wieght: 2 }] },
      'loadBalancer: upstreams[0]: unknown option "wieght", did you mean "weight"?',
    ],
    [
      { upstreams: ['http://a', 'http://a/'] },
      'loadBalancer: upstreams[1].url is listed twice: "http://a"',
    ],
    [
      { upstreams: LIST, strategy: 'roundrobin' },
      'received "roundrobin", did you mean "round-robin"?',
    ],
    [
      { upstreams: LIST, strategy: 5 },
      'loadBalancer: strategy must be a name or an object with pick(), received 5',
    ],
    [
      { upstreams: new UpstreamPool(LIST), strategy: 'round-robin' },
      'loadBalancer: strategy belongs to the pool, give it to new UpstreamPool()',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => loadBalancer(options as never)).toThrow(TypeError);
    expect(() => loadBalancer(options as never)).toThrow(message);
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(loadBalancer)).toMatch(/returns: app\.use\(loadBalancer\(…\)\)$/);
  });
});

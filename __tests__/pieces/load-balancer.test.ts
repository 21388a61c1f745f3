import { describe, expect, it } from '@jest/globals';
import type { RequestHandler } from 'express';
import { exchangeOf, loadBalancer, proxyErrors, UpstreamPool } from 'headrace';
import request from 'supertest';
import { appWith, errorOf, printing } from '../helpers/apps.js';
import { gateway } from '../helpers/servers.js';

const LIST = ['http://10.0.0.1', 'http://10.0.0.2:8080/base'];

describe('loadBalancer', () => {
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
      'loadBalancer: upstreams[0]: unknown option "wieght"',
    ],
    [
      { upstreams: ['http://a', 'http://a/'] },
      'loadBalancer: upstreams[1].url is listed twice: "http://a"',
    ],
    [
      { upstreams: LIST, strategy: 'roundrobin' },
      'loadBalancer: strategy must be one of "round-robin", received "roundrobin", did you mean "round-robin"?',
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

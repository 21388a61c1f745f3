import { createServer, type IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import express from 'express';
import {
  attach,
  loadBalancer,
  proxyErrors,
  proxyPass,
  type StatusPageOptions,
  statusPage,
  UpstreamPool,
} from 'headrace';
import request from 'supertest';
import { appWith } from '../helpers/apps.js';
import {
  closeAfter,
  frameworks,
  gateway,
  listen,
  type Middleware,
  serve,
} from '../helpers/servers.js';

const pools = () => ({ api: new UpstreamPool(['http://a', 'http://b']) });

/** A page that is closed after the test. */
function paged(options: Partial<StatusPageOptions> = {}) {
  const page = statusPage({ pools: pools(), ...options });
  closeAfter(() => page.close());
  return page;
}

function mounted(options?: Partial<StatusPageOptions>) {
  return express().set('env', 'test').use('/status', paged(options));
}

describe('statusPage', () => {
  it.each([
    [undefined, 'statusPage: options must be an object, received undefined'],
    [{}, 'statusPage: pools must be an object of pools by name, received undefined'],
    [{ pools: [] }, 'statusPage: pools must be an object of pools by name, received an array of 0'],
    [{ pools: { a: 'http://a' } }, 'statusPage: pools.a must be an UpstreamPool, received "http'],
    [{ pools: {}, title: 5 }, 'statusPage: title must be a string, received 5'],
    [
      { pools: {}, allowActions: 'yes' },
      'statusPage: allowActions must be true, false or a function, received "yes"',
    ],
    [{ pools: {}, titel: '' }, 'statusPage: unknown option "titel", did you mean "title"?'],
  ])('refuses %j', (options, message) => {
    expect(() => statusPage(options as StatusPageOptions)).toThrow(message);
  });

  it.each(frameworks)(
    'answers at its own path, and leaves the others alone, in %s',
    async (name) => {
      const page = paged({ title: 'The gateway' });
      const rest: Middleware = (_req, res) => void res.end('something else');
      const { url } = await gateway(name, ...(name === 'node:http' ? [page] : [page, rest]));
      expect((await request(url).get('/')).text).toContain('<!doctype html>');
      const { body } = await request(url).get('/?format=json');
      expect(body).toMatchObject({ title: 'The gateway', pools: [{ name: 'api', eligible: 2 }] });
      const other = await request(url).get('/other');
      expect(other.text).toContain(name === 'node:http' ? '<!doctype html>' : 'something else');
    },
  );

  it('works under a path, with and without a slash, and as a route', async () => {
    const app = express().get('/route', paged()).use('/status', paged());
    for (const path of ['/status', '/status/', '/status?a', '/route']) {
      expect((await request(app).get(path)).text).toContain('<!doctype html>');
    }
    await request(app).get('/status/more').expect(404);
  });

  it('is one answer that nothing can be put into: a policy with a nonce of its own each time', async () => {
    const app = mounted();
    const answers = await Promise.all([1, 2].map(() => request(app).get('/status').expect(200)));
    const nonces = answers.map(({ headers, text }) => {
      const { 'content-security-policy': policy = '' } = headers;
      const [, nonce = ''] = /script-src 'nonce-([\w+/=]{24})'/.exec(policy) ?? [];
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toContain('unsafe');
      expect(text.split(`nonce="${nonce}"`)).toHaveLength(3);
      expect(text).not.toMatch(/(src|href)="(?!data:,|\?)/);
      return nonce;
    });
    expect(nonces[0]).not.toBe(nonces[1]);
    expect(answers[0]?.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
    });
  });

  it('tells what it shows as JSON: everything of pools and upstreams', async () => {
    const upstream = await serve((req, res) => {
      res.statusCode = req.url === '/broken' ? 500 : 200;
      res.end('12345');
    });
    const pool = new UpstreamPool([`${upstream.url}/`]);
    closeAfter(() => pool.close());
    const app = appWith(loadBalancer({ upstreams: pool }), proxyPass(), proxyErrors());
    const page = mounted({ pools: { api: pool } });
    await request(app).post('/').send('abc').expect(200);
    await request(app).get('/broken').expect(500);
    const { body } = await request(page).get('/status?format=json');
    const traffic = {
      requestsPerSecond: expect.any(Number),
      errorsPerSecond: expect.any(Number),
      errorRatio: expect.any(Number),
      latencyMs: { p50: null, p95: null, p99: null },
      inFlight: 0,
      retries: 0,
    };
    expect(body).toMatchObject({
      pools: [
        {
          ...traffic,
          name: 'api',
          eligible: 1,
          of: 1,
          history: { everyMs: 1_000, p95: [] },
          upstreams: [
            {
              ...traffic,
              url: upstream.url,
              weight: 1,
              priority: 0,
              state: 'up',
              level: 'good',
              bars: [],
              circuit: null,
              requests: 2,
              bytesSent: 3,
              bytesReceived: 10,
              history: { everyMs: 5_000, requestsPerSecond: [], errorsPerSecond: [] },
            },
          ],
        },
      ],
    });
  });

  it('answers HEAD without a body, and other methods with 405', async () => {
    const app = mounted();
    for (const format of ['html', 'json', 'events']) {
      const { headers, text } = await request(app).head(`/status?format=${format}`).expect(200);
      expect(text).toBeUndefined();
      expect(headers['content-type']).toMatch(/^(text\/(html|event-stream)|application\/json)/);
    }
    const refused = await request(app).put('/status').expect(405);
    expect(refused.headers.allow).toBe('GET, HEAD');
  });

  it('streams, also behind compression()', async () => {
    const app = express().use(compression(), mounted());
    const { url } = await serve(app);
    const stream = await fetch(`${url}/status?format=events`);
    expect(stream.headers.get('content-type')).toBe('text/event-stream');
    // It does not outlive the stream.
    expect(stream.headers.get('connection')).toBe('close');
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
    const text = Buffer.from((await reader.read()).value as Uint8Array).toString();
    expect(text).toMatch(/^event: snapshot\ndata: {"title":"headrace",.*}\n\n$/);
    await reader.cancel();
  });

  it('ends its streams when it is closed, and begins no new ones', async () => {
    const page = paged();
    const { url } = await serve(express().use(page));
    const stream = await fetch(`${url}/?format=events`);
    await page.close();
    expect(await stream.text()).toContain('event: snapshot');
    const late = await fetch(`${url}/?format=events`);
    expect([late.status, late.headers.get('retry-after')]).toEqual([503, '5']);
    await late.text();
  });

  it('does not keep a server from closing', async () => {
    const { server, url } = await serve(mounted());
    const stream = await fetch(`${url}/status?format=events`);
    const closed = new Promise((resolve) => server.close(resolve));
    await stream.text();
    await closed;
  });

  it('does not keep attach() from closing', async () => {
    const app = mounted();
    const server = createServer(app);
    const attached = attach(server, app);
    const port = await listen(server);
    const stream = await fetch(`http://127.0.0.1:${port}/status?format=events`);
    const ended = stream.text();
    await attached.close();
    await ended;
  });
});

describe('actions', () => {
  const drain = '/status?action=drain&pool=api&upstream=http%3A%2F%2Fa';

  /** A page with actions, and who may be asked for them. */
  async function operated(allowActions: StatusPageOptions['allowActions']) {
    const { api } = pools();
    const app = mounted({ pools: { api }, allowActions });
    app.use(((error, _req, res, _next) => {
      res.status(500).end(String(error));
    }) as express.ErrorRequestHandler);
    const { server, url } = await serve(app);
    return { api, server, url, post: () => request(url).post(drain).set('Origin', url) };
  }

  it('are there only when they are allowed', async () => {
    const { api, post, url } = await operated(undefined);
    const { headers } = await post().expect(405);
    expect(headers.allow).toBe('GET, HEAD');
    expect(api.eligible).toHaveLength(2);
    expect((await request(url).get('/status')).text).not.toContain('data-action');
  });

  it('take an upstream out of use, and put it back', async () => {
    const { api, post, url } = await operated(true);
    expect((await request(url).get('/status')).text).toContain('data-action="drain"');
    await post().expect(204);
    expect(api.eligible.map(String)).toEqual(['http://b']);
    const resume = drain.replace('drain', 'resume');
    await request(url).post(resume).set('Origin', url).expect(204);
    expect(api.eligible).toHaveLength(2);
    const nowhere = drain.replace('=api', '=nowhere');
    await request(url).post(nowhere).set('Origin', url).expect(404);
  });

  it('are not done for other origins, nor by looking', async () => {
    const { api, url } = await operated(true);
    await request(url).post(drain).expect(403);
    await request(url).post(drain).set('Origin', 'http://evil.example').expect(403);
    await request(url)
      .post(drain)
      .set('Origin', url)
      .set('Sec-Fetch-Site', 'same-site')
      .expect(403);
    await request(url).get(drain).set('Origin', url).expect(200);
    expect(api.eligible).toHaveLength(2);
  });

  it('are for those for whom a function says so', async () => {
    const isAdmin = (req: IncomingMessage) => req.headers['x-role'] === 'admin';
    const { api, post, url } = await operated(isAdmin);
    await post().expect(403);
    expect(api.eligible).toHaveLength(2);
    expect((await request(url).get('/status')).text).not.toContain('data-action');
    await post().set('X-Role', 'admin').expect(204);
    const page = await request(url).get('/status').set('X-Role', 'admin');
    expect(page.text).toContain('data-action');
  });

  it.each([
    ['gives a promise', async () => true],
    ['rejects', async () => Promise.reject(new Error('no session store'))],
  ])('are for nobody when the function %s', async (_, allowed) => {
    const { post } = await operated(allowed as never);
    const { text } = await post().expect(500);
    expect(text).toContain(
      'statusPage: allowActions() must return true or false, received a promise',
    );
  });

  it('are an error when the function throws', async () => {
    const throwing = await operated(() => {
      throw new Error('no session store');
    });
    expect((await throwing.post().expect(500)).text).toContain('no session store');
    await request(throwing.url).get('/status').expect(500);
    await request(throwing.url).get('/status?format=json').expect(200);
  });
});

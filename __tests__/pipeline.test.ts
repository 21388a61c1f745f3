import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import express, { type ErrorRequestHandler, type Request, type Response } from 'express';
import {
  forwardedFor,
  isProxyError,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  reverseProxy,
  rewriteCookies,
  rewriteRedirects,
  rewriteUrl,
  sendResponse,
  stripHopHeaders,
} from 'headrace';
import supertest from 'supertest';
import { parseResponses, rawClient, rawRequest } from './helpers/client.js';
import { request, upload } from './helpers/requests.js';
import {
  type Framework,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from './helpers/servers.js';

/** What goes over the wire on both sides; ports and the date are left out. */
async function wire(framework: Framework, pipeline: (target: string) => Middleware[]) {
  const upstream = await rawUpstream(redirect);
  const { port } = await gateway(framework, ...pipeline(upstream.url));
  const client = await rawClient(port, attack);
  const text = await client.until((text) => parseResponses(text).length === 1);
  const own = new RegExp(`127\\.0\\.0\\.1:(?:${upstream.port}|${port})`, 'g');
  return {
    upstream: upstream.received().replace(own, 'self'),
    client: text.replace(/^Date: .*\r\n/im, '').replace(own, 'self'),
  };
}

/** A request that gives every piece something to do. */
const attack = upload(
  'POST /api/x%2Fy?z',
  [
    'Connection: X-Forwarded-For, Via, X-Hop',
    'X-Hop: 1',
    'X-Forwarded-For: 6.6.6.6',
    'Forwarded: for=6.6.6.6',
    'TE: trailers, gzip',
    'Via: 1.0 before',
    'Proxy-Authorization: Basic eDp5',
    'Content-Type: text/plain',
  ],
  'body',
);

const redirect = [
  'HTTP/1.1 302 Found',
  'Location: /v2/login',
  'Set-Cookie: a=1; Domain=internal.example; Path=/',
  'Connection: X-Hop',
  'X-Hop: 1',
  'Content-Length: 2',
  '',
  'ok',
].join('\r\n');

/** The pieces whose order is free. */
const pieces: Record<string, (target: string) => Middleware> = {
  stripHopHeaders: () => stripHopHeaders(),
  forwardedFor: () => forwardedFor(),
  rewriteUrl: () => rewriteUrl({ '^/api': '/v2' }),
  loadBalancer: (target) => loadBalancer({ upstreams: [target] }),
  modifyResponse: () =>
    modifyResponse((response) => void response.headers.set('X-Proxy', 'magical')),
  rewriteRedirects: () => rewriteRedirects(),
  rewriteCookies: () => rewriteCookies({ domain: false }),
};
const names = Object.keys(pieces);

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, i) =>
    permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]),
  );
}

describe.each(frameworks)('the pieces under %s', (framework) => {
  const inOrder = (order: readonly string[]) =>
    wire(framework, (target) => [...order.map((name) => pieces[name]!(target)), proxyPass()]);

  it('give the same bytes in any order', async () => {
    const expected = await inOrder(names);
    // Every order of five of them; the others take every place among them.
    const fixed = names.slice(5);
    const orders = permutations(names.slice(0, 5)).map((order, i) =>
      order.toSpliced(i % 6, 0, ...(i % 2 === 0 ? fixed : fixed.toReversed())),
    );

    expect(expected.upstream).toMatch(/^POST \/v2\/x%2Fy\?z HTTP\/1\.1\r\n/);
    expect(expected.upstream).toContain('\r\nX-Forwarded-For: 127.0.0.1\r\n');
    expect(expected.client).toMatch(/^HTTP\/1\.1 302 Found\r\n/);
    expect(expected.client).toContain('\r\nLocation: /api/login\r\n');
    expect(expected.client).toContain('\r\nSet-Cookie: a=1; Path=/\r\n');
    expect(expected.client).toContain('\r\nX-Proxy: magical\r\n');
    for (const order of orders) expect([order, await inOrder(order)]).toEqual([order, expected]);
  });

  it('give the bytes of reverseProxy() with the same options', async () => {
    const composed = await wire(framework, (target) => [
      reverseProxy({
        target,
        rewriteUrl: { '^/api': '/v2' },
        rewriteCookies: { domain: false },
        modifyResponse: (response) => void response.headers.set('X-Proxy', 'magical'),
      }),
    ]);

    expect(composed).toEqual(await inOrder(names));
  });

  it('give the bytes of reverseProxy(target) as seven lines of app.use', async () => {
    const one = await wire(framework, (target) => [reverseProxy(target)]);

    const seven = await wire(framework, (target) => [
      stripHopHeaders(),
      forwardedFor(),
      rewriteUrl({}),
      loadBalancer({ upstreams: [target] }),
      rewriteRedirects(),
      modifyResponse(() => {}),
      proxyPass(),
    ]);

    expect(one.upstream).toContain('\r\nVia: 1.0 before, 1.1 headrace\r\n');
    expect(one.upstream).not.toMatch(/6\.6\.6\.6|Proxy-Authorization|X-Hop/);
    expect(seven).toEqual(one);
  });
});

/** The error that a pipeline hands to `next`, and the status its client gets. */
async function failureOf(...middleware: Middleware[]) {
  let error: unknown;
  const note: ErrorRequestHandler = (reason, _req, _res, next) => {
    error = reason;
    next(reason);
  };
  const { port } = await gateway('express 5', ...middleware, note);
  const { status } = await rawRequest(port, request('GET /'));
  const { code, message } = error as { code?: string; message: string };
  return { status, code, message, isProxyError: isProxyError(error) };
}

describe('a pipeline that lacks a piece', () => {
  it('says that proxyPass() needs a target or loadBalancer() before it', async () => {
    const failure = await failureOf(stripHopHeaders(), forwardedFor(), proxyPass());

    expect(failure).toMatchObject({ status: 500, code: 'ERR_PROXY_NO_TARGET', isProxyError: true });
    expect(failure.message).toMatch(/proxyPass.*target.*loadBalancer\(\)/);
  });

  it('says so when loadBalancer() comes too late', async () => {
    const balancer = loadBalancer({ upstreams: ['http://127.0.0.1:1'] });

    const failure = await failureOf(proxyPass(), balancer);

    expect(failure).toMatchObject({ status: 500, code: 'ERR_PROXY_NO_TARGET' });
    expect(failure.message).toMatch(/loadBalancer\(\) before it/);
  });

  it('says that sendResponse() needs proxyPass({ hold: true }) before it', async () => {
    const failure = await failureOf(forwardedFor(), sendResponse());

    expect(failure).toMatchObject({ status: 500, code: 'ERR_PROXY_NO_TARGET', isProxyError: true });
    expect(failure.message).toMatch(/sendResponse.*proxyPass\(\{ hold: true \}\) before it/);
  });

  it('answers 503 when there is no upstream to choose', async () => {
    const failure = await failureOf(loadBalancer({ upstreams: [] }), proxyPass());

    expect(failure).toMatchObject({ status: 503, code: 'ERR_PROXY_NO_UPSTREAM' });
  });

  it.each(frameworks)('answers 500 under %s, and goes on to serve', async (framework) => {
    const upstream = await rawUpstream();
    const sometimes: Middleware = (req, res, next) =>
      req.url === '/lacks' ? proxyPass()(req, res, next) : pass(req, res, next);
    const pass = proxyPass(upstream.url);
    const { port } = await gateway(framework, sometimes);

    expect((await rawRequest(port, request('GET /lacks'))).status).toBe(500);
    expect((await rawRequest(port, request('GET /has'))).status).toBe(200);
  });

  it('says in the factory that reverseProxy() needs a target or upstreams', () => {
    expect(() => reverseProxy({})).toThrow(/reverseProxy: either target or upstreams/);
  });
});

describe('a factory that is mounted without a call', () => {
  const factories = {
    forwardedFor,
    loadBalancer,
    modifyResponse,
    proxyErrors,
    proxyPass,
    reverseProxy,
    rewriteCookies,
    rewriteRedirects,
    rewriteUrl,
    sendResponse,
    stripHopHeaders,
  };

  it.each(Object.entries(factories))('says so: app.use(%s)', async (name, factory) => {
    const { status, message } = await failureOf(factory as Middleware);

    expect(status).toBe(500);
    expect(message).toContain(`${name}: `);
    expect(message).toContain(`app.use(${name}(…))`);
  });
});

describe('supertest', () => {
  it('shows what one piece leaves on the exchange', async () => {
    const app = express().use(forwardedFor(), (_req: Request, res: Response) => {
      res.json(res.locals.proxy);
    });

    const { body } = await supertest(app).get('/a?b').set('X-Forwarded-For', '6.6.6.6');

    expect(body).toMatchObject({
      method: 'GET',
      path: '/a?b',
      headers: { 'x-forwarded-for': '127.0.0.1', via: '1.1 headrace' },
    });
  });

  it('needs no upstream to show which one is chosen', async () => {
    const app = express().use(
      rewriteUrl({ '^/api': '' }),
      loadBalancer({ upstreams: ['http://one.example', 'http://two.example'] }),
      (_req: Request, res: Response) => {
        const { path, upstream } = res.locals.proxy;
        res.json({ path, upstream: upstream?.url });
      },
    );

    const { body: first } = await supertest(app).get('/api/x');
    const { body: second } = await supertest(app).get('/api/x');

    expect([first, second]).toEqual([
      { path: '/x', upstream: 'http://one.example' },
      { path: '/x', upstream: 'http://two.example' },
    ]);
  });

  it('goes through a whole pipeline', async () => {
    const { url } = await serve(
      express().use(express.json(), (req, res) => void res.json(req.body)),
    );
    const app = express().use('/api', reverseProxy(url));

    const response = await supertest(app).post('/api/echo').send({ a: 1 });

    expect([response.status, response.body]).toEqual([200, { a: 1 }]);
  });

  it('sees errors as clients do', async () => {
    const app = express().use(proxyPass('http://127.0.0.1:1'), proxyErrors());

    const { status, body } = await supertest(app).get('/').set('Accept', 'application/json');

    expect([status, body.code]).toEqual([502, 'ERR_PROXY_CONNECT']);
  });
});

describe('a process with a pipeline', () => {
  const root = resolve(__dirname, '..');

  it('ends when its servers are closed: no timer and no idle connection keeps it', async () => {
    const upstream = await rawUpstream((bytes) =>
      bytes.startsWith('GET') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' : undefined,
    );
    const script = `
      const http = require('node:http');
      const pass = proxyPass('${upstream.url}', { headersTimeoutMs: 600_000, keepAliveMs: 600_000 });
      const server = http.createServer((req, res) => pass(req, res)).listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        http.get({ port, agent: false }, (res) => res.resume().on('end', () => {
          const waiting = http.request({ port, agent: false, method: 'POST' }, () => {});
          waiting.on('error', () => server.close());
          waiting.write('part of a body', () => setImmediate(() => waiting.destroy(new Error())));
        }));
      });
      process.on('exit', () => console.log('exit'));`;

    const { outputFiles } = await build({
      stdin: { contents: `import { proxyPass } from './src/index.ts';${script}`, resolveDir: root },
      bundle: true,
      write: false,
      platform: 'node',
      format: 'cjs',
      packages: 'external',
      logLevel: 'silent',
    });
    const stdout = await runScript(outputFiles[0]!.text);

    expect(stdout).toBe('exit\n');
    expect(upstream.received()).toContain('GET / HTTP/1.1');
  });

  /** Runs a script from the root of the project and resolves with what it prints, if it ends in time. */
  function runScript(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = { cwd: root, timeout: 20_000 };
      const child = execFile(process.execPath, ['-'], options, (error, stdout) =>
        error === null ? resolve(stdout) : reject(error),
      );
      child.stdin?.end(text);
    });
  }
});

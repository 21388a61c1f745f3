import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express from 'express';
import {
  exchangeOf,
  type Handler,
  proxyPass,
  type RewriteRedirectsOptions,
  type RewriteRules,
  reverseProxy,
  rewriteRedirects,
  rewriteUrl,
} from 'headrace';
import request from 'supertest';
import { answer, appWith, errorOf } from '../helpers/apps.js';
import { closeAfter, serve } from '../helpers/servers.js';

interface Setup {
  target?: string;
  mount?: string;
  url?: string;
  status?: number;
  rules?: RewriteRules;
  host?: string;
  trustProxy?: unknown;
  trust?: RewriteRedirectsOptions['trust'];
  claims?: Record<string, string>;
}

/** The `Location` that a client at `app.example` gets for one of the upstream. */
async function mapped(location: string, setup: Setup = {}): Promise<string | undefined> {
  const { target = 'http://backend.example', mount = '/', url = mount, status = 302 } = setup;
  const app = express();
  if (setup.trustProxy !== undefined) app.set('trust proxy', setup.trustProxy);
  const pieces: Handler[] = [
    rewriteRedirects({ trust: setup.trust }),
    answer({ status, headers: { location } }),
  ];
  if (setup.rules !== undefined) pieces.push(rewriteUrl(setup.rules));
  app.use(mount, ...pieces, proxyPass(target));
  const test = request(app)
    .get(url)
    .set('Host', setup.host ?? 'app.example');
  const { headers } = await test
    .set(setup.claims ?? {})
    .redirects(0)
    .expect(status);
  return headers.location as string | undefined;
}

describe('rewriteRedirects', () => {
  it.each([
    ['absolute', 'http://backend.example/login?a=b#c', 'http://app.example/login?a=b#c'],
    ['absolute, without a path', 'http://backend.example', 'http://app.example/'],
    ['absolute, with a query alone', 'http://backend.example?a=b', 'http://app.example/?a=b'],
    ['absolute, spelled otherwise', 'HTTP://Backend.Example:80/x', 'http://app.example/x'],
    ['absolute, with credentials', 'http://u:p@backend.example/x', 'http://app.example/x'],
    ['scheme-relative', '//backend.example/x', '//app.example/x'],
    ['a path', '/login', '/login'],
    ['relative', 'login', 'login'],
    ['a query', '?page=2', '?page=2'],
    ['a fragment', '#top', '#top'],
    ['elsewhere', 'http://other.example/x', 'http://other.example/x'],
    ['another scheme', 'https://backend.example/x', 'https://backend.example/x'],
    ['another port', 'http://backend.example:81/x', 'http://backend.example:81/x'],
    ['a name that begins alike', 'http://backend.example.evil/x', 'http://backend.example.evil/x'],
    ['no web address', 'mailto:a@backend.example', 'mailto:a@backend.example'],
    ['broken', 'http://[/x', 'http://[/x'],
  ])('%s: %s reaches the client as %s', async (_, location, result) => {
    expect(await mapped(location)).toBe(result);
  });

  it.each([
    ['http://backend.example/app/login', 'http://app.example/shop/login'],
    ['http://backend.example/app', 'http://app.example/shop/'],
    ['http://backend.example/app?x', 'http://app.example/shop?x'],
    ['/app/login', '/shop/login'],
    ['/apple', '/apple'],
    ['http://backend.example/apple', 'http://backend.example/apple'],
    ['/other', '/other'],
    ['login', 'login'],
    ['?page=2', '?page=2'],
    ['/app?lang=de', '/shop?lang=de'],
  ])('the base path goes and the mount path comes back: %s is %s', async (location, result) => {
    const setup = { target: 'http://backend.example/app', mount: '/shop', url: '/shop/cart' };
    expect(await mapped(location, setup)).toBe(result);
  });

  it.each<[RewriteRules, string, string]>([
    [{ '^/api': '' }, '/login', '/api/login'],
    [{ '^/api': '/v1' }, '/v1/login', '/api/login'],
    [[['/api', '/v1/']], 'http://backend.example/v1/x', 'http://app.example/api/x'],
    [{ '^/api': '/v1' }, '/elsewhere', '/elsewhere'],
    [{ '^/other': '' }, '/login', '/login'],
    [{ 'ap(i)': '' }, '/login', '/login'],
    [{ '^/api/': '' }, '/login', '/api/login'],
    [{ '^/': '/v1/' }, '/v1/login', '/login'],
  ])('what rewriteUrl(%j) cut off comes back: %s is %s', async (rules, location, result) => {
    expect(await mapped(location, { rules, url: '/api/x' })).toBe(result);
  });

  it.each<[string, RewriteRules[], location: string, result: string]>([
    ['two in a row', [{ '^/api': '' }, { '^/v1': '/v2' }], '/v2/login', '/api/v1/login'],
    [
      'two in a row, of which one was not asked for',
      [{ '^/api': '' }, { '^/no': '' }],
      '/x',
      '/api/x',
    ],
    [
      'two, and a location that only one leads to',
      [{ '^/api': '' }, { '^/v1': '/v2' }],
      '/x',
      '/api/x',
    ],
    ['a pattern behind it', [{ '^/api/v1': '/v2' }, [[/\.html$/, '']]], '/v2/a', '/api/v1/a'],
    ['a function behind it', [{ '^/api': '' }, (path) => `${path}?a`], '/login', '/api/login'],
  ])('%s is undone', async (_, rules, location, result) => {
    const pieces = rules.map((each) => rewriteUrl(each));
    const app = appWith(
      ...pieces,
      rewriteRedirects(),
      answer({ status: 302, headers: { location } }),
      proxyPass('http://backend.example'),
    );
    await request(app).get('/api/v1/x.html').redirects(0).expect('Location', result);
  });

  it('undoes what stands before a whole reverse proxy, too', async () => {
    const { url } = await serve((_req, res) => res.writeHead(302, { location: '/v2/login' }).end());
    const proxy = reverseProxy({ target: url, rewriteUrl: { '^/v1': '/v2' } });
    closeAfter(() => proxy.close());
    const app = appWith(rewriteUrl({ '^/api': '' }), proxy);
    await request(app).get('/api/v1/x').redirects(0).expect('Location', '/api/v1/login');
  });

  it.each([201, 300, 301, 302, 303, 307, 308, 399])('maps the Location of %i', async (status) => {
    expect(await mapped('http://backend.example/x', { status })).toBe('http://app.example/x');
  });

  it.each([200, 202, 400, 503])('leaves the Location of %i alone', async (status) => {
    const location = 'http://backend.example/x';
    expect(await mapped(location, { status })).toBe(location);
  });

  it('knows the Host that the upstream was sent as its own', async () => {
    const app = appWith(
      rewriteRedirects(),
      answer({ status: 302, headers: { location: 'http://app.example:8080/x' } }),
      proxyPass('http://10.0.0.1:3000', { host: 'client' }),
    );
    await request(app)
      .get('/')
      .set('Host', 'app.example:8080')
      .expect('Location', 'http://app.example:8080/x');
    const edited: Handler = (req, res, next) => {
      exchangeOf(req, res).headers.set('Host', 'inner.example');
      next?.();
    };
    const other = appWith(
      edited,
      rewriteRedirects(),
      answer({ status: 302, headers: { location: 'http://inner.example/x' } }),
      proxyPass('http://10.0.0.1:3000'),
    );
    await request(other)
      .get('/')
      .set('Host', 'app.example')
      .expect('Location', 'http://app.example/x');
  });

  it('begins with a slash where a query is all that is left', async () => {
    const setup = { target: 'http://backend.example/app', url: '/deep/page' };
    expect(await mapped('/app?lang=de', setup)).toBe('/?lang=de');
    expect(await mapped('/app#top', setup)).toBe('/#top');
    expect(await mapped('http://backend.example/app?x', setup)).toBe('http://app.example/?x');
    expect(await mapped('/v1?lang=de', { rules: [['/', '/v1']], url: '/deep' })).toBe('/?lang=de');
  });

  it.each(['app.internal', 'client'])('knows the Host that host: %s sends', async (host) => {
    const { url } = await serve((req, res) => {
      res.writeHead(302, { Location: `http://${req.headers.host}/login` }).end();
    });
    const app = express();
    app.use('/shop', rewriteRedirects(), proxyPass(url, { host }));
    await request(app)
      .get('/shop/x')
      .set('Host', 'app.example')
      .expect('Location', 'http://app.example/shop/login');
  });

  it('tells the scheme and host that a trusted proxy saw', async () => {
    const claims = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'public.example' };
    const location = 'http://backend.example/x';
    expect(await mapped(location, { claims, trustProxy: 'loopback' })).toBe(
      'https://public.example/x',
    );
    expect(await mapped(location, { claims })).toBe('http://app.example/x');
  });

  it.each<[Setup['trust'], string]>([
    ['loopback', 'https://public.example/x'],
    [1, 'https://public.example/x'],
    [() => true, 'https://public.example/x'],
    ['10.0.0.0/8', 'http://app.example/x'],
    [false, 'http://app.example/x'],
  ])('takes its word where `trust` is %p', async (trust, result) => {
    const claims = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'public.example' };
    const setup: Setup = { claims, trust, trustProxy: trust === false };
    expect(await mapped('http://backend.example/x', setup)).toBe(result);
  });

  it('tells the path alone where the client named no host that can be', async () => {
    expect(await mapped('http://backend.example/x', { host: 'a*b' })).toBe('/x');
  });

  it('maps nothing where there is no Location, or no upstream', async () => {
    const none = appWith(rewriteRedirects(), answer({ status: 302 }), proxyPass('http://a'));
    expect((await request(none).get('/').expect(302)).headers).not.toHaveProperty('location');
    const own = answer({ status: 302, headers: { location: 'http://a/x' }, upstream: undefined });
    const app = appWith(rewriteRedirects(), own, proxyPass('http://a'));
    await request(app).get('/').expect('Location', 'http://a/x');
  });

  it('knows where it is mounted in Connect', async () => {
    const app = connect();
    app.use('/shop', rewriteRedirects());
    app.use('/shop', answer({ status: 302, headers: { location: '/login' } }));
    app.use('/shop', proxyPass('http://backend.example'));
    for (const url of ['/shop', '/shop/', '/shop/cart?x'])
      await request(app as RequestListener)
        .get(url)
        .expect('Location', '/shop/login');
  });

  it.each([
    [{ hosts: [] }, 'rewriteRedirects: unknown option "hosts"; known are trust'],
    [{ trust: {} }, "rewriteRedirects: trust must be 'app', a boolean, a number, addresses"],
    [null, 'rewriteRedirects: options must be an object, received null'],
    [true, 'rewriteRedirects: options must be an object, received true'],
  ])('refuses %j', (options, message) => {
    expect(() => rewriteRedirects(options as never)).toThrow(TypeError);
    expect(() => rewriteRedirects(options as never)).toThrow(message);
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(rewriteRedirects)).toMatch(/returns: app\.use\(rewriteRedirects\(…\)\)$/);
  });
});

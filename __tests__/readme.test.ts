import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import request from 'supertest';
import { authority } from './helpers/certificates.js';
import { rawClient, rawRequest } from './helpers/client.js';
import { type CodeBlock, codeBlocks, type Run, read, run, runAlone } from './helpers/docs.js';
import { echo as echoOverHttp2, http2Ask, http2Client, http2Upstream } from './helpers/http2.js';
import { closeAfter, serve } from './helpers/servers.js';
import { eventually } from './helpers/settled.js';

const blocks = codeBlocks('README.md').filter(({ language }) => /^[jt]s$/.test(language));

describe('the gateway of the README', () => {
  it('does what is said of it', async () => {
    const first = await upstream();
    const second = await upstream();
    const { url } = await run(example('A gateway'), ports(first, second));
    const { port } = new URL(url);
    const response = await request(url).get('/api/users?page=2');
    expect(response.headers['x-proxy']).toBe('magical');
    await request(url).get('/api/users?page=3');
    expect(second.seen.map((seen) => seen.url)).toEqual(['/users?page=3']);
    expect(first.seen).toMatchObject([
      {
        method: 'GET',
        url: '/users?page=2',
        headers: {
          host: first.host,
          via: '1.1 headrace',
          'x-forwarded-for': '127.0.0.1',
          'x-forwarded-host': `127.0.0.1:${port}`,
          'x-forwarded-proto': 'http',
        },
      },
    ]);
  });

  it('answers a plain 502 and logs the reason when the upstream is down', async () => {
    const { url, printed } = await run(example('A gateway'), {
      'localhost:3000': '127.0.0.1:1',
      'localhost:3001': '127.0.0.1:2',
    });
    const response = await request(url).get('/api/users');
    expect([response.status, response.body.detail]).toEqual([
      502,
      'The upstream could not be reached',
    ]);
    expect(printed).toEqual([
      '/api/users ERR_PROXY_CONNECT http://127.0.0.1:1 Error: connect ECONNREFUSED 127.0.0.1:1',
    ]);
  });

  it('is one line, where no single pieces are needed', async () => {
    const { url, backend } = await start('A gateway', { block: 1 });
    await request(url).get('/api/users');
    expect(backend.seen).toMatchObject([{ url: '/users', headers: { via: '1.1 headrace' } }]);
  });
});

describe('the examples of the README come out as they say', () => {
  it('The exchange', async () => {
    const { url, backend } = await start('The exchange');
    await rawRequest(
      Number(new URL(url).port),
      'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: X-User\r\n' +
        'X-User: mallory\r\nX-Roles: reader\r\nCookie: a=1\r\n\r\n',
    );
    const { host, connection, ...headers } = backend.seen[0]?.headers ?? {};
    expect(headers).toEqual({ 'x-user': 'ada', 'x-roles': 'reader, admin' });
  });

  it('reverseProxy', async () => {
    const { url, backend } = await start('reverseProxy', {
      answer: (_req, res) => res.setHeader('Server', 'nginx').end(),
    });
    const response = await request(url).get('/api/v1/users');
    expect(response.headers.server).toBeUndefined();
    expect(backend.seen).toMatchObject([
      { url: '/users', headers: { via: '1.1 headrace', 'x-forwarded-for': '127.0.0.1' } },
    ]);
  });

  it('reverseProxy, and who may pass', async () => {
    const { url } = await start('reverseProxy', { block: 1 });
    const as = (name: string) => `Basic ${btoa(name)}`;
    const statusOf = async (path: string, authorization = '') =>
      (await request(url).get(path).set('Authorization', authorization)).status;
    expect(await statusOf('/shop')).toBe(200);
    expect(await statusOf('/shop', as('ada:byron'))).toBe(401);
    expect(await statusOf('/admin', as('ada:lovelace'))).toBe(200);
    expect(await statusOf('/admin', as('bob:marley'))).toBe(403);
    expect(await statusOf('/admin')).toBe(403);
  });

  it('stripHopHeaders', async () => {
    const { url, backend } = await start('stripHopHeaders');
    await rawRequest(
      Number(new URL(url).port),
      'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close, X-Trace\r\n' +
        'X-Trace: 1\r\nX-Internal: 2\r\nX-Other: 3\r\n\r\n',
    );
    const { host, connection, ...headers } = backend.seen[0]?.headers ?? {};
    expect(headers).toEqual({ 'x-other': '3' });
  });

  it('forwardedFor', async () => {
    const { url, backend } = await start('forwardedFor');
    await request(url).get('/').set('X-Forwarded-For', '203.0.113.7').set('Host', 'shop.example');
    expect(backend.seen[0]?.headers).toMatchObject({
      'x-forwarded-for': '203.0.113.7, 127.0.0.1',
      'x-forwarded-host': 'shop.example',
      'x-forwarded-proto': 'http',
      via: '1.1 headrace',
    });
  });

  it('rewriteUrl', async () => {
    const { url, backend } = await start('rewriteUrl');
    await request(url).get('/api/users?page=2');
    await request(url).get('/health');
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/users?page=2', '/health']);
  });

  it('authenticate', async () => {
    const { url, backend } = await start('authenticate');
    const refused = await request(url).get('/');
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      'ApiKey realm="gateway", Basic realm="gateway", charset="UTF-8"',
    ]);
    await request(url).get('/').set('X-API-Key', 'banana').expect(200);
    await request(url).get('/').auth('ada', 'lovelace').expect(200);
    expect(backend.seen.map(({ headers }) => headers['x-user'])).toEqual(['billing', 'ada']);
    await request(url).get('/').auth('ada', 'byron').expect(401);
  });

  it('basicAuth', async () => {
    const { url } = await start('basicAuth');
    await request(url).get('/').auth('ada', 'lovelace').expect(404);
    await request(url).get('/').auth('ada', 'byron').expect(401);
  });

  it('apiKey', async () => {
    const { url, printed } = await start('apiKey');
    await request(url).get('/').set('X-API-Key', `${printed[0]}`).expect(200);
    await request(url).get('/').set('X-API-Key', 'another').expect(401);
  });

  it('rateLimiter', async () => {
    const { url } = await start('rateLimiter');
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await request(url).get('/'));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers[2]?.headers).toMatchObject({
      ratelimit: expect.stringMatching(/^"2-in-1min"; r=0; t=\d+$/),
      'ratelimit-policy': expect.stringMatching(/^"2-in-1min"; q=2; w=60; pk=:[\w=]+:$/),
      'retry-after': expect.stringMatching(/^\d+$/),
    });
  });

  it('loadBalancer', async () => {
    const { url, backend, second } = await start('loadBalancer');
    const answers = [await request(url).get('/'), await request(url).get('/')];
    expect(answers.map(({ headers }) => headers['x-upstream'])).toEqual([backend.url, second.url]);
  });

  it('Which strategy', async () => {
    const { url, backend, second } = await start('Which strategy');
    for (let i = 0; i < 6; i++) await request(url).get('/');
    expect([backend.seen.length, second.seen.length]).toEqual([4, 2]);
  });

  it('Health', async () => {
    const failing = await upstream((_req, res) => res.writeHead(503).end());
    const second = await upstream();
    const { url, printed } = await run(example('Health'), ports(failing, second));
    for (let i = 0; i < 8; i++) await request(url).get('/');
    expect(printed).toEqual([`${failing.url} is out: ejected`]);
    expect(failing.seen.filter((seen) => seen.url === '/')).toHaveLength(3);
  });

  it('Sticky sessions', async () => {
    const { url, backend, second } = await start('Sticky sessions');
    const first = await request(url).get('/');
    const [cookie = ''] = first.headers['set-cookie'] ?? [];
    const pattern = /^headrace_upstream=[\w.-]+; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/;
    expect(cookie).toMatch(pattern);
    const later = request(url)
      .get('/later')
      .set('Cookie', cookie.split(';')[0] ?? '');
    expect((await later).headers['set-cookie']).toBeUndefined();
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/', '/later']);
    expect(second.seen).toEqual([]);
  });

  it('retry', async () => {
    const second = await upstream();
    const down = { ...second, host: '127.0.0.1:1' };
    const { url } = await run(example('retry'), ports(down, second));
    expect((await request(url).get('/')).text).toBe('ok');
    expect((await request(url).post('/')).text).toBe('ok');

    const closing = await upstream((req) => req.socket.destroy());
    const lost = await run(example('retry'), ports(closing, second));
    expect((await request(lost.url).get('/')).text).toBe('ok');
    const statuses = [await request(lost.url).post('/'), await request(lost.url).post('/')];
    expect(statuses.map(({ status }) => status).sort()).toEqual([200, 502]);
  });

  it('fallback', async () => {
    const second = await upstream();
    const down = { ...second, host: '127.0.0.1:1' };
    const { url } = await run(example('fallback'), ports(down, second));
    expect((await request(url).get('/')).text).toBe('ok');
    const posted = await request(url).post('/');
    expect([posted.status, posted.text]).toEqual([503, 'Back in a minute.\n']);

    const gone = { 'localhost:3000': '127.0.0.1:1', 'localhost:3001': '127.0.0.1:1' };
    const { url: nothing } = await run(example('fallback'), gone);
    const statuses = [await request(nothing).get('/'), await request(nothing).post('/')];
    expect(statuses.map(({ status }) => status)).toEqual([503, 503]);
  });

  it('Ways to degrade', async () => {
    let stopped = false;
    const { url } = await start('Ways to degrade', {
      answer: (req, res) => (stopped ? req.socket.destroy() : res.end('fresh')),
    });
    const fresh = await request(url).get('/');
    stopped = true;
    const stale = await request(url).get('/');
    expect([fresh.text, stale.text, stale.status]).toEqual(['fresh', 'fresh', 200]);
    expect((await request(url).get('/never-seen')).status).toBe(502);

    const second = await upstream();
    const down = { ...second, host: '127.0.0.1:1' };
    const pool = await run(example('Ways to degrade', 1), {
      ...ports(down, second),
      'localhost:3002': '127.0.0.1:2',
    });
    expect((await request(pool.url).get('/')).text).toBe('ok');

    const page = await run(example('Ways to degrade', 2), ports(down, down));
    const browser = await request(page.url).get('/').set('Accept', 'text/html,*/*');
    expect([browser.status, browser.text]).toEqual([503, '<h1>We are at work here</h1>']);
    expect((await request(page.url).get('/')).status).toBe(502);
  });

  it('concurrencyLimit', async () => {
    const pending: (() => void)[] = [];
    const { url, backend } = await start('concurrencyLimit', {
      answer: (_req, res) => void pending.push(() => res.end('ok')),
    });
    const first = request(url).get('/').then();
    await backend.asked;
    const others = await Promise.all([request(url).get('/'), request(url).get('/')]);
    expect(others.map(({ status }) => status)).toEqual([503, 503]);
    expect(others[0]?.headers['retry-after']).toBe('1');
    pending[0]?.();
    expect((await first).status).toBe(200);
  });

  it('circuitBreaker', async () => {
    const { url, backend, printed } = await start('circuitBreaker', {
      answer: (_req, res) => res.writeHead(500).end(),
    });
    for (let i = 0; i < 5; i++) await request(url).get('/');
    expect(printed).toEqual([`${backend.url}: closed → open`]);
    const refused = await request(url).get('/');
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '5']);
    expect(backend.seen).toHaveLength(5);
  });

  it('cache', async () => {
    const { url, backend } = await start('cache', {
      answer: (_req, res) => res.setHeader('Cache-Control', 'max-age=60').end('news'),
      // What is forgotten at once would not be seen.
      replacements: { 'kept.purge(': 'void (' },
    });
    const statuses: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { text, headers } = await request(url).get('/news').expect(200);
      expect(text).toBe('news');
      statuses.push(String(headers['cache-status']));
    }
    expect(statuses).toEqual([
      'headrace; fwd=uri-miss; fwd-status=200; stored',
      expect.stringMatching(/^headrace; hit; ttl=\d\d$/),
    ]);
    expect(backend.seen).toHaveLength(1);
  });

  it('metrics', async () => {
    const { url } = await start('metrics');
    await request(url).get('/api/users').expect(200);
    const { text } = await request(url).get('/metrics').expect(200);
    const [, series] = /^\/\/ {3}(headrace_.*)$/m.exec(example('metrics').code) ?? [];
    expect(text.split('\n')).toContain(series);
  });

  it('addressList', async () => {
    const { url, backend } = await start('addressList');
    for (const [address, status] of [
      ['10.1.2.3', 200],
      ['10.6.6.6', 403],
      ['192.0.2.1', 403],
    ] as const) {
      await request(url).get('/').set('X-Forwarded-For', address).expect(status);
    }
    expect(backend.seen).toHaveLength(1);
  });

  it('authorize', async () => {
    const { url, backend } = await start('authorize');
    await request(url).get('/shop/1').expect(200);
    await request(url).delete('/shop/1').expect(403);
    await request(url).get('/shop/internal/x').expect(403);
    await request(url).get('/shop/%69nternal/x').expect(403);
    await request(url).get('/admin/').expect(403);
    await request(url).get('/admin/').set('Authorization', 'Bearer secret').expect(200);
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/shop/1', '/admin/']);
  });

  it('forwardAuth', async () => {
    const { url, backend, second } = await start('forwardAuth', {
      answer: (_req, res) => res.setHeader('X-User', 'ada').end(),
    });
    await request(url).get('/shop').set('Cookie', 'session=1').set('X-User', 'mallory');
    const told = { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/shop', cookie: 'session=1' };
    expect(second.seen).toMatchObject([{ method: 'GET', url: '/verify', headers: told }]);
    expect(backend.seen).toMatchObject([
      { url: '/shop', headers: { 'x-user': 'ada', cookie: 'session=1' } },
    ]);
  });

  it('assertIdentity', async () => {
    const { url, backend } = await start('assertIdentity');
    await request(url).get('/').set('X-User', 'mallory');
    const { body: jwks } = await request(url).get('/.well-known/jwks.json').expect(200);
    const headers = backend.seen[0]?.headers;
    expect(headers).toMatchObject({ 'x-user': 'ada', 'x-groups': 'admin,ops' });
    const [head = '', claims = ''] = String(headers?.['x-headrace-assertion'])
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString());
    expect(JSON.parse(head)).toEqual({ alg: 'EdDSA', typ: 'JWT', kid: jwks.keys[0].kid });
    expect(JSON.parse(claims)).toMatchObject({
      groups: ['admin', 'ops'],
      iss: 'headrace',
      aud: 'shop',
      sub: 'ada',
    });
  });

  it('proxyStatus', async () => {
    const { url } = await start('proxyStatus', { answer: (_req, res) => res.writeHead(404).end() });
    const answered = await request(url).get('/');
    expect(answered.headers['proxy-status']).toBe('edge; received-status=404');
    const down = await run(example('proxyStatus'), { 'localhost:3000': '127.0.0.1:1' });
    const failed = await request(down.url).get('/');
    expect(failed.headers['proxy-status']).toBe('edge; error=connection_refused');
  });

  it('modifyResponse', async () => {
    const { url } = await start('modifyResponse', {
      answer: (_req, res) => {
        res.writeHead(200, { 'Content-Type': 'text/html', 'Content-Encoding': 'gzip' });
        res.end(gzipSync('<p>Good day'));
      },
    });
    const response = await request(url).get('/');
    expect(response.text).toBe('<p>Good evening');
    expect(response.headers).toMatchObject({ 'x-proxy': 'magical', 'content-length': '15' });
    expect(response.headers['content-encoding']).toBeUndefined();
  });

  it('rewriteRedirects', async () => {
    const { url } = await start('rewriteRedirects', {
      answer: (req, res) => {
        res.writeHead(302, { Location: `http://${req.headers.host}/app/login` }).end();
      },
    });
    const response = await request(url).get('/shop/account');
    expect(response.headers.location).toBe(`${url}/shop/login`);
  });

  it('rewriteCookies', async () => {
    const { url } = await start('rewriteCookies', {
      answer: (_req, res) => {
        res.setHeader('Set-Cookie', 'id=1; Domain=shop.internal; Path=/; HttpOnly').end();
      },
    });
    const response = await request(url).get('/shop');
    expect(response.headers['set-cookie']).toEqual(['id=1; Path=/shop; HttpOnly']);
  });

  it('proxyPass', async () => {
    const { url, backend } = await start('proxyPass', {
      answer: (req, res) => void (req.url === '/v2/slow' || res.end('ok')),
      replacements: { '5_000': '50' },
    });
    expect((await request(url).get('/api/users?page=2')).text).toBe('ok');
    expect((await request(url).get('/api/slow')).status).toBe(504);
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/v2/users?page=2', '/v2/slow']);
  });

  it('sendResponse', async () => {
    const { url } = await start('sendResponse', {
      answer: (req, res) => res.writeHead(req.url === '/there' ? 200 : 404).end('theirs'),
    });
    expect((await request(url).get('/there')).text).toBe('theirs');
    const response = await request(url).get('/elsewhere');
    expect([response.status, response.text]).toEqual([
      200,
      'Nothing there, but have a look at our front page.',
    ]);
  });

  it('proxyErrors', async () => {
    const { url, printed } = await run(example('proxyErrors'), { 'localhost:3000': '127.0.0.1:1' });
    const response = await request(url).get('/users');
    expect(printed).toEqual(['GET /users ERR_PROXY_CONNECT']);
    const [, said] =
      /502:\n([\s\S]*)/.exec(example('proxyErrors').code.replace(/^\/\/ */gm, '')) ?? [];
    expect(response.status).toBe(502);
    expect(response.body).toEqual(JSON.parse(said ?? ''));
  });

  it('forwardProxy', async () => {
    const { url, printed, backend } = await start('forwardProxy');
    const ask = (target: string, ...lines: string[]) => {
      const head = [`GET ${target} HTTP/1.1`, 'Host: gateway', ...lines, '', ''];
      return rawRequest(Number(new URL(url).port), head.join('\r\n'));
    };
    const ada = `Proxy-Authorization: Basic ${Buffer.from('ada:sesame').toString('base64')}`;
    const refused = await ask(backend.url);
    expect([refused.status, refused.header('proxy-authenticate')]).toEqual([
      407,
      'Basic realm="proxy"',
    ]);
    expect((await ask(`${backend.url}/a`, ada)).status).toBe(200);
    expect((await ask('http://secret.example.com/', ada)).status).toBe(403);
    expect((await ask('http://169.254.169.254/', ada)).status).toBe(403);
    expect(printed).toEqual([
      'http://secret.example.com/ ERR_PROXY_FORBIDDEN_TARGET',
      'http://169.254.169.254/ ERR_PROXY_FORBIDDEN_TARGET',
    ]);
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/a']);
  });

  it('attach', async () => {
    const { url, backend } = await start('attach');
    const { port } = new URL(url);
    const head = 'PUT / HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\nContent-Length: 2\r\n';
    const refused = await rawClient(Number(port), `${head}\r\n`);
    expect(await refused.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1.1 401 /);

    const allowed = await rawClient(Number(port), `${head}Authorization: Basic x\r\n\r\n`);
    expect(await allowed.until((text) => text.includes('\r\n\r\n'))).toBe(
      'HTTP/1.1 100 Continue\r\n\r\n',
    );
    allowed.write('hi');
    await allowed.until((text) => text.includes('HTTP/1.1 200 OK'));
    expect(backend.seen).toMatchObject([{ method: 'PUT', body: 'hi' }]);
  });

  it('accessLog', async () => {
    const { url, printed, backend } = await start('accessLog');
    await request(url).get('/users?token=s3cret');
    await eventually('a record', () => printed.length === 1);
    expect(printed).toEqual([`GET /users?token=*** 200 ${backend.url}`]);
    const morgan = await start('Tokens for morgan');
    await request(morgan.url).get('/users');
    await eventually('a line', () => morgan.printed.length === 1);
    expect(morgan.printed).toEqual(['GET /users 200 completed 1']);
  });

  it('requestId', async () => {
    const { url, printed, backend } = await start('requestId');
    const { headers } = await request(url).get('/').set('X-Request-Id', 'mine');
    expect(printed).toEqual([expect.stringMatching(/^[\da-f-]{36}$/)]);
    expect(headers['x-request-id']).toBe(printed[0]);
    expect(backend.seen[0]?.headers['x-request-id']).toBe(printed[0]);
  });

  it('tracing', async () => {
    const { url, printed, backend } = await start('tracing');
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await request(url).get('/').set('traceparent', traceparent);
    expect(printed).toEqual(['0af7651916cd43dd8448eb211c80319c']);
    expect(backend.seen[0]?.headers.traceparent).toBe(traceparent);
  });

  it('statusPage', async () => {
    const { url, backend } = await start('statusPage');
    await request(url).get('/api/users');
    expect(backend.seen).toHaveLength(1);
    expect((await request(url).get('/status')).text).toContain('<!doctype html>');
    const { text } = await request(url).get('/status?format=json');
    expect(text).toMatch(
      /^{"title":"The gateway","at":"[^"]+","pools":\[{"name":"api","eligible":2,"of":2,/,
    );
  });

  it('healthEndpoint', async () => {
    const { url, backend } = await start('healthEndpoint');
    expect((await request(url).get('/health/live')).text).toBe('{"status":"live"}');
    const { status, text } = await request(url).get('/health/ready');
    expect([status, text]).toEqual([
      200,
      '{"status":"ready","pools":{"api":{"eligible":2,"of":2}}}',
    ]);
    await request(url).get('/users');
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/users']);

    const replacements = { '5_000': '50' };
    const ending = await start('healthEndpoint', { block: 1, replacements });
    const statusOf = async () => (await request(ending.url).get('/health/ready')).status;
    expect(await statusOf()).toBe(200);
    const ended = ending.signal('SIGTERM');
    expect(await statusOf()).toBe(503);
    await ended;
  });

  it('exchangeOf', async () => {
    const { url, printed, backend } = await start('exchangeOf');
    await request(url).get('/users');
    expect(printed).toEqual([`GET /users ${backend.url} completed`]);
  });

  it('UpstreamPool', async () => {
    const { url, backend, second } = await start('UpstreamPool');
    await request(url).get('/users/1');
    await request(url).get('/admin/users/1');
    expect([backend.seen.length, second.seen.length]).toEqual([1, 1]);
  });

  it('What a pool can do', async () => {
    const { url, printed, backend, second } = await start('What a pool can do');
    expect(printed).toEqual([`${backend.url} can be switched off`, `${second.url} 2`]);
    await request(url).get('/');
    expect([backend.seen.length, second.seen.length]).toEqual([0, 1]);
  });

  it('Upstream', async () => {
    const { url, backend, second } = await start('Upstream');
    await request(url).get('/a').set('X-Beta', 'yes');
    await request(url).get('/b');
    expect(second.seen.map((seen) => seen.url)).toEqual(['/a']);
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/b']);
  });

  it('UpstreamResponse', async () => {
    const { url, backend } = await start('UpstreamResponse', {
      answer: (_req, res) => void res.end('["ada","grace"]'),
    });
    const response = await request(url).get('/');
    expect(response.body).toEqual({ users: ['ada', 'grace'], from: backend.url });
    expect(response.headers['cache-control']).toBe('no-store');
  });

  it('HeaderList', async () => {
    const { url, printed } = await start('HeaderList', {
      answer: (_req, res) => {
        res.setHeader('Vary', 'Accept').setHeader('X-Runtime', '0.042');
        res.setHeader('Set-Cookie', ['a=1', 'b=2']).end();
      },
    });
    const { headers } = await rawRequest(
      Number(new URL(url).port),
      'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n',
    );
    const lines = (name: string) =>
      headers.filter(([key]) => key === name).map(([, value]) => value);
    expect(lines('Vary')).toEqual(['Accept', 'Origin']);
    expect(lines('X-Frame-Options')).toEqual(['DENY']);
    expect(lines('Set-Cookie')).toEqual(['a=1', 'b=2']);
    expect(lines('X-Runtime')).toEqual([]);
    expect(printed).toEqual(['a=1', 'b=2']);
  });

  it('Errors', async () => {
    const { url } = await run(example('Errors'), { 'localhost:3000': '127.0.0.1:1' });
    const response = await request(url).get('/');
    expect([response.status, response.text]).toEqual([502, 'We will be back in a minute.']);
  });
});

describe('the recipes of the README work', () => {
  it('An existing Express app', async () => {
    const { url, backend, second } = await start('An existing Express app');
    expect((await request(url).get('/health')).text).toBe('ok');
    await request(url).get('/api/users');
    await request(url).get('/else');
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/users']);
    expect(second.seen.map((seen) => seen.url)).toEqual(['/else']);
  });

  it('a bare server', async () => {
    const { url, backend } = await start('An existing Express app', { block: 1 });
    await request(url).get('/users');
    expect(backend.seen.map((seen) => seen.url)).toEqual(['/users']);
  });

  it('Telling the upstream who the user is', async () => {
    const { url, backend } = await start('Telling the upstream who the user is');
    expect((await request(url).get('/').set('X-User', 'mallory')).status).toBe(401);
    await request(url).get('/').set('Cookie', 'session=abc').set('X-User', 'mallory');
    expect(backend.seen.map(({ headers }) => [headers['x-user'], headers.cookie])).toEqual([
      ['ada', undefined],
    ]);
  });

  it('Body parsers', async () => {
    const { url, backend } = await start('Body parsers');
    await request(url).post('/').send({ a: 1 });
    expect(backend.seen[0]?.body).toBe('{"a":1,"receivedAt":"2026-01-01"}');
  });

  it('Compression', async () => {
    const text = 'compress me '.repeat(1_000);
    const { url } = await start('Compression', {
      answer: (_req, res) => res.setHeader('Content-Type', 'text/plain').end(text),
    });
    const response = await request(url).get('/');
    expect(response.headers['content-encoding']).toMatch(/^(br|gzip)$/);
    expect(response.text).toBe(text);
  });

  it('Own middleware in each phase', async () => {
    const { url, backend, printed } = await start('Own middleware in each phase');
    expect((await request(url).get('/')).headers['x-request-id']).toBe('r-1');
    expect(backend.seen[0]?.headers['x-request-id']).toBe('r-1');
    expect(printed).toEqual(['completed']);

    const down = await run(example('Own middleware in each phase'), {
      'localhost:3000': '127.0.0.1:1',
    });
    const response = await request(down.url).get('/');
    expect([response.status, response.body]).toEqual([200, { users: [], stale: true }]);
    expect(response.headers['x-request-id']).toBe('r-1');
  });

  it('A target for each request', async () => {
    const { url, backend, second } = await start('A target for each request');
    await request(url).get('/');
    await request(url).get('/').set('X-Tenant', 'b');
    expect([backend.seen.length, second.seen.length]).toEqual([1, 1]);
  });

  it('A strategy of your own', async () => {
    const { url, backend, second } = await start('A strategy of your own');
    await request(url).get('/').set('X-User', 'ada');
    await request(url).get('/').set('X-User', 'adam');
    expect([backend.seen.length, second.seen.length]).toEqual([1, 1]);
  });

  it('HTTPS to clients, and new certificates', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'headrace-'));
    closeAfter(() => rm(directory, { recursive: true }));
    const ca = await authority();
    const files = { 'server.key': join(directory, 'key'), 'server.pem': join(directory, 'cert') };
    const serials: string[] = [];
    const renew = async (): Promise<void> => {
      const { key, cert } = await ca.issue('localhost');
      serials.push(new X509Certificate(cert).serialNumber);
      await writeFile(files['server.key'], key);
      await writeFile(files['server.pem'], cert);
    };
    await renew();
    const { url, signal, printed } = await start('HTTPS to clients, and new certificates', {
      replacements: files,
    });
    const serial = async (): Promise<string> => {
      const socket = connectTls({
        port: Number(new URL(url).port),
        ca: ca.cert,
        host: 'localhost',
      });
      await once(socket, 'secureConnect');
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const seen = [await serial()];
    await renew();
    await signal('SIGHUP');
    seen.push(await serial());
    expect(seen).toEqual(serials);
    await writeFile(files['server.pem'], 'no certificate');
    await signal('SIGHUP');
    expect(printed[0]).toMatch(/^The old certificate stays: /);
    expect(await serial()).toBe(seen[1]);
  });

  it('HTTP/2 to upstreams, and gRPC', async () => {
    const first = await http2Upstream(echoOverHttp2);
    const second = await http2Upstream(echoOverHttp2);
    const { url } = await run(example('HTTP/2 to upstreams, and gRPC'), {
      'localhost:3000': `127.0.0.1:${first.port}`,
      'localhost:3001': `127.0.0.1:${second.port}`,
    });
    const session = http2Client(url);
    const answers = [await http2Ask(session, {}, 'a'), await http2Ask(session, {}, 'b')];
    expect(answers.map(({ body }) => body)).toEqual([
      `GET / 127.0.0.1:${first.port} a`,
      `GET / 127.0.0.1:${second.port} b`,
    ]);
  });

  it('Tests with supertest', async () => {
    const { printed } = await run(example('Tests with supertest'), {});
    expect(printed).toEqual(['/users', '127.0.0.1']);
  });

  it('Closing gracefully', async () => {
    const block = example('Closing gracefully');
    const [, ofDemo = ''] = read('demo/close-on-signal.ts').split(/^(?=export function)/m);
    expect(block.code).toContain(ofDemo.replace('export ', ''));
    const pending: (() => void)[] = [];
    const backend = await upstream((_req, res) => void pending.push(() => res.end('done')));
    const { url, child } = await runAlone(block, { 'localhost:3000': backend.host });
    const ended = once(child, 'exit');
    const response = request(url).get('/').then();
    await backend.asked;
    child.kill('SIGTERM');
    await refused(Number(new URL(url).port));
    child.kill('SIGINT');
    pending[0]?.();
    expect((await response).text).toBe('done');
    expect(await ended).toEqual([0, null]);
  });

  it('Moving from http-proxy-middleware', async () => {
    const { url, backend } = await start('Moving from http-proxy-middleware');
    const response = await request(url).get('/api/v1/users');
    expect(response.headers['x-proxy']).toBe('magical');
    expect(backend.seen).toMatchObject([
      { url: '/users', headers: { host: backend.host, 'x-forwarded-for': '127.0.0.1' } },
    ]);
  });
});

/** A request as an upstream got it. */
interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Backend {
  readonly url: string;
  readonly host: string;
  readonly seen: Seen[];
  /** Resolves when the first request has come. */
  readonly asked: Promise<void>;
}

/** An upstream that notes what it gets before it answers. */
async function upstream(answer: RequestListener = (_req, res) => res.end('ok')): Promise<Backend> {
  const seen: Seen[] = [];
  let noteAsked = (): void => {};
  const asked = new Promise<void>((resolve) => {
    noteAsked = resolve;
  });
  const { url } = await serve((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => {
      body += chunk;
    });
    req.on('end', () => {
      seen.push({ method: req.method, url: req.url, headers: req.headers, body });
      answer(req, res);
      noteAsked();
    });
  });
  return { url, host: new URL(url).host, seen, asked };
}

/** The code that stands under a heading. */
function example(heading: string, index = 0): CodeBlock {
  const block = blocks.filter(({ headings }) => headings.at(-1) === heading)[index];
  if (block === undefined) throw new Error(`there is no code under "${heading}"`);
  return block;
}

/** Resolves once nothing listens on a port any more. */
async function refused(port: number): Promise<void> {
  for (;;) {
    const client = await rawClient(port).catch(() => undefined);
    if (client === undefined) return;
    client.socket.destroy();
  }
}

function ports(first: Backend, second: Backend): Record<string, string> {
  return { 'localhost:3000': first.host, 'localhost:3001': second.host };
}

interface Started extends Run {
  readonly backend: Backend;
  readonly second: Backend;
}

interface StartOptions {
  readonly block?: number;
  readonly answer?: RequestListener;
  readonly replacements?: Record<string, string>;
}

/** Runs an example in front of two upstreams that answer alike. */
async function start(
  heading: string,
  { block, answer, replacements }: StartOptions = {},
): Promise<Started> {
  const backend = await upstream(answer);
  const second = await upstream(answer);
  const code = example(heading, block);
  return { ...(await run(code, { ...ports(backend, second), ...replacements })), backend, second };
}

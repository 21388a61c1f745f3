import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createNetServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import {
  AuthUnavailableError,
  authorize,
  type CacheOptions,
  cache,
  exchangeOf,
  fallback,
  forwardAuth,
  forwardedFor,
  type Handler,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  reverseProxy,
  rewriteRedirects,
  sendResponse,
  UpstreamPool,
} from 'headrace';
import { type Answer, cached, clock, numbered, reply } from '../helpers/caches.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { frameUpstream, http2Ask, http2Client, type OnStream } from '../helpers/http2.js';
import { request, requestsOf, upload } from '../helpers/requests.js';
import {
  appOf,
  closeAfter,
  frameworks,
  gateway,
  listen,
  type Middleware,
  rawUpstream,
  refusing,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** Whether a second request for the same was answered without the upstream. */
async function isKept(answer: Answer, headers?: readonly string[], options?: CacheOptions) {
  const { bodies, upstream } = await cached(answer, options);
  await bodies(2, 'GET /page', headers);
  return requestsOf(upstream).length === 1;
}

describe('cache', () => {
  it.each(frameworks)('answers what is fresh without the upstream in %s', async (framework) => {
    const upstream = await rawUpstream(
      reply('200 OK', ['Cache-Control: max-age=60', 'X-A: b'], 'hi'),
    );
    const pieces = [cache(), loadBalancer({ upstreams: [upstream.url] }), proxyPass()];
    const { port } = await gateway(framework, ...pieces);
    const first = await rawRequest(port, request('GET /page'));
    const second = await rawRequest(port, request('GET /page'));
    for (const answer of [first, second]) {
      expect(answer).toMatchObject({ status: 200, body: 'hi' });
      expect(answer.header('x-a')).toBe('b');
      expect(answer.header('content-length')).toBe('2');
    }
    expect(first.header('cache-status')).toBe('headrace; fwd=uri-miss; fwd-status=200; stored');
    expect(second.header('cache-status')).toMatch(/^headrace; hit; ttl=(?:60|5\d)$/);
    expect(first.header('age')).toBeUndefined();
    expect(second.header('age')).toMatch(/^\d$/);
    expect(requestsOf(upstream)).toHaveLength(1);
  });

  it('asks again when it is fresh no longer, and tells how old it is until then', async () => {
    const { ask, time } = await cached();
    await ask();
    time.at += 59_999;
    const old = await ask();
    expect([old.body, old.header('age')]).toEqual(['answer 1', '59']);
    expect(old.header('cache-status')).toBe('headrace; hit; ttl=0');
    time.at += 1;
    const renewed = await ask();
    expect(renewed.body).toBe('answer 2');
    expect(renewed.header('cache-status')).toBe('headrace; fwd=stale; fwd-status=200; stored');
  });

  it('keeps the bytes of the upstream, and has them edited for each client', async () => {
    const zipped = gzipSync('hello').toString('latin1');
    const lines = ['Cache-Control: max-age=60', 'Content-Encoding: gzip', 'ETag: "a"'];
    let edits = 0;
    const edit = modifyResponse(async (response) => {
      if (++edits > 1) response.body = `${await response.text()} ${edits}`;
    });
    const { bodies } = await cached(
      () => Buffer.from(reply('200 OK', lines, zipped), 'latin1'),
      {},
      edit,
    );
    const [plain, ...edited] = await bodies(3);
    expect(gunzipSync(Buffer.from(plain as string, 'latin1')).toString()).toBe('hello');
    expect(edited).toEqual(['hello 2', 'hello 3']);
  });

  it('keeps what an edit has read before it is sent', async () => {
    const edit = modifyResponse(async (response) => {
      response.body = (await response.text()).toUpperCase();
    });
    const { bodies } = await cached(numbered, {}, edit);
    expect(await bodies(2)).toEqual(['ANSWER 1', 'ANSWER 1']);
  });

  it('answers HEAD with what it has of a GET, and keeps no HEAD', async () => {
    const { ask, upstream } = await cached();
    await ask('HEAD /page');
    expect((await ask()).body).toBe('answer 2');
    const head = await ask('HEAD /page');
    expect([head.status, head.header('content-length'), head.body]).toEqual([200, '8', '']);
    expect(requestsOf(upstream)).toHaveLength(2);
  });

  it.each([1, 65_536, 1_048_576])('keeps bodies of %d bytes, chunked ones too', async (length) => {
    const body = 'x'.repeat(length);
    const chunk = `${length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const chunked = `HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`;
    for (const answer of [reply('200 OK', ['Cache-Control: max-age=9'], body), chunked]) {
      const { bodies, upstream } = await cached(() => answer);
      for (const one of await bodies(3)) expect(one === body).toBe(true);
      expect(requestsOf(upstream)).toHaveLength(1);
    }
  });

  it('passes longer ones on', async () => {
    const body = 'x'.repeat(1_048_577);
    const chunk = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const chunked = `HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`;
    for (const answer of [reply('200 OK', ['Cache-Control: max-age=9'], body), chunked]) {
      const { bodies, upstream } = await cached(() => answer);
      for (const one of await bodies(2)) expect(one === body).toBe(true);
      expect(requestsOf(upstream)).toHaveLength(2);
    }
  });

  it('keeps nothing that was cut off', async () => {
    let n = 0;
    const server = createNetServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => {
        const whole = ++n > 1 ? 'whole' : 'wh';
        socket.end(
          `HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 5\r\n\r\n${whole}`,
        );
      });
    });
    const url = `http://127.0.0.1:${await listen(server)}`;
    const { port } = await gateway('express 5', cache(), proxyPass(url));
    const client = await rawClient(port, request('GET /'));
    expect(await client.closed()).toMatch(/wh$/);
    expect((await rawRequest(port, request('GET /'))).body).toBe('whole');
  });

  it('keeps nothing whose end is the end of the connection', async () => {
    const upstream = await rawUpstream((_bytes, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\n\r\nto the end');
      return undefined;
    });
    const { port } = await gateway('express 5', cache(), proxyPass(upstream.url));
    for (const _ of [1, 2]) {
      expect((await rawRequest(port, request('GET /'))).body).toBe('to the end');
    }
    expect(requestsOf(upstream)).toHaveLength(2);
  });

  it('keeps what comes over HTTP/2', async () => {
    const answer: OnStream = (connection, id) => {
      connection.head(id);
      connection.data(id, 'ok', true);
    };
    const { port: at, connections } = await frameUpstream(answer);
    const pass = proxyPass(`http://127.0.0.1:${at}`, { http2: 'prior-knowledge' });
    closeAfter(() => pass.close());
    const { port } = await gateway('express 5', cache({ defaultTtlMs: 9_000 }), pass);
    for (const _ of [1, 2]) expect((await rawRequest(port, request('GET /'))).body).toBe('ok');
    expect(connections.flatMap(({ ids }) => ids)).toEqual([1]);
  });

  it.each([
    ['Cache-Control: max-age=60'],
    ['Cache-Control: public, max-age=60'],
    ['Cache-Control: s-maxage=60, max-age=0'],
    ['Cache-Control: MAX-AGE="60"'],
    ['Cache-Control: max-age=60, max-age=600'],
    ['Expires: Fri, 15 Jan 2027 08:01:00 GMT'],
  ])('keeps a response with %s', async (line) => {
    expect(await isKept((n) => reply('200 OK', [line], `answer ${n}`))).toBe(true);
  });

  it.each([
    ['X-Nothing: said'],
    ['Cache-Control: no-store, max-age=60'],
    ['Cache-Control: private, max-age=60'],
    ['Cache-Control: private="x-a", max-age=60'],
    ['Cache-Control: no-cache, max-age=60'],
    ['Cache-Control: max-age=0'],
    ['Cache-Control: max-age=-1'],
    ['Cache-Control: max-age=1e3'],
    ['Cache-Control: s-maxage=0, max-age=60'],
    ['Cache-Control: max-age=60, max-age=0'],
    ['Cache-Control: max-age=60\r\nSet-Cookie: a=b'],
    ['Cache-Control: max-age=60\r\nVary: *'],
    ['Cache-Control: max-age=60\r\nVary: Accept, *'],
    ['Cache-Control: max-age=60\r\nAge: 60'],
    ['Cache-Control: max-age=60\r\nDate: Fri, 15 Jan 2027 07:59:00 GMT'],
    ['Expires: 0'],
    ['Expires: Fri, 15 Jan 2027 08:00:00 GMT'],
    ['Last-Modified: Fri, 01 Jan 2027 00:00:00 GMT\r\nETag: "a"'],
  ])('keeps no response with %j', async (lines) => {
    expect(await isKept((n) => reply('200 OK', [lines], `answer ${n}`))).toBe(false);
  });

  it.each([
    ...[200, 203, 204, 301, 302, 307, 308, 404, 405, 410, 414, 451, 501],
    ...[201, 202, 206, 303, 304, 400, 401, 403, 429, 500, 502, 503, 504],
  ])('knows whether a %d may be kept', async (status) => {
    const kept = [200, 203, 204, 301, 302, 307, 308, 404, 405, 410, 414, 451, 501];
    const bodyless = status === 204 || status === 304;
    const answer = (): string =>
      bodyless
        ? `HTTP/1.1 ${status} X\r\nCache-Control: max-age=60\r\n\r\n`
        : reply(`${status} X`, ['Cache-Control: max-age=60'], 'x');
    expect(await isKept(answer)).toBe(kept.includes(status));
  });

  it('keeps what says nothing for the time that it is told, but nothing of a session', async () => {
    const silent: Answer = (n) => reply('200 OK', [], `answer ${n}`);
    const options = { defaultTtlMs: 60_000 };
    expect(await isKept(silent, [], options)).toBe(true);
    expect(await isKept(silent, ['Cookie: session=1'], options)).toBe(false);
    expect(await isKept(() => reply('302 Found', ['Location: /'], 'x'), [], options)).toBe(false);
    expect(await isKept(numbered, ['Cookie: session=1'], options)).toBe(true);
  });
});

describe('what tells answers apart', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ['the host', ['GET /page', 'Host: a'], ['GET /page', 'Host: b']],
    ['the query', ['GET /page?a=1'], ['GET /page?a=2']],
    ['X-Forwarded-Host', ['GET /page', 'X-Forwarded-Host: a'], ['GET /page']],
    ['X-Forwarded-Proto', ['GET /page', 'X-Forwarded-Proto: https'], ['GET /page']],
    ['X-Original-URL', ['GET /page', 'X-Original-URL: /admin'], ['GET /page']],
    [
      'the host in Forwarded',
      ['GET /page', 'Forwarded: for=a;host=b'],
      ['GET /page', 'Forwarded: for=a'],
    ],
  ])('%s', async (_what, [line = '', ...headers], [other = '', ...otherHeaders]) => {
    const { port } = await cached();
    const bytes = (start: string, lines: readonly string[]) =>
      [
        `${start} HTTP/1.1`,
        ...(lines[0]?.startsWith('Host') ? [] : ['Host: app']),
        ...lines,
        '',
        '',
      ].join('\r\n');
    const [one, two] = [bytes(line, headers), bytes(other, otherHeaders)];
    const bodies: string[] = [];
    for (const each of [one, two, one, two]) bodies.push((await rawRequest(port, each)).body);
    expect(bodies).toEqual(['answer 1', 'answer 2', 'answer 1', 'answer 2']);
  });

  it('is the authority over HTTP/2', async () => {
    let n = 0;
    const { url } = await rawUpstream((bytes) => numbered(++n, bytes));
    const server = createHttp2Server(appOf('connect', cache(), proxyPass(url)) as never);
    const session = http2Client(`http://127.0.0.1:${await listen(server as never)}`);
    const bodies: string[] = [];
    for (const authority of ['a.example', 'b.example', 'a.example']) {
      bodies.push((await http2Ask(session, { ':authority': authority })).body);
    }
    expect(bodies).toEqual(['answer 1', 'answer 2', 'answer 1']);
  });

  it('is not who asks, though Forwarded says so', async () => {
    const { port } = await cached(numbered, {}, forwardedFor({ headers: ['forwarded'] }));
    const ask = (who: string) => rawRequest(port, request('GET /page', [`Forwarded: for=${who}`]));
    expect([(await ask('a')).body, (await ask('"[::1]:80"')).body]).toEqual([
      'answer 1',
      'answer 1',
    ]);
  });

  it('is what Vary names, as the upstream gets it', async () => {
    const language: Answer = (_n, bytes) => {
      const [, which = 'none'] = /^accept-language: (.*)\r$/im.exec(bytes) ?? [];
      return reply('200 OK', ['Cache-Control: max-age=60', 'Vary: Accept-Language'], which);
    };
    const set: Handler = (req, res, next) => {
      if (req.headers['x-lang']) exchangeOf(req, res).headers.set('Accept-Language', 'fr');
      next?.();
    };
    const { ask, upstream } = await cached(language, {}, set);
    const asked = [['Accept-Language: de'], ['Accept-Language: en'], [], ['X-Lang: 1']];
    for (const _ of [1, 2]) {
      const bodies: string[] = [];
      for (const headers of asked) bodies.push((await ask('GET /page', headers)).body);
      expect(bodies).toEqual(['de', 'en', 'none', 'fr']);
    }
    expect((await ask('GET /page', ['Accept-Language:  de '])).body).toBe('de');
    expect(requestsOf(upstream)).toHaveLength(4);
  });

  it('is what Accept-Encoding says, where there is a coding', async () => {
    const zipped: Answer = (n, bytes) =>
      reply(
        '200 OK',
        ['Cache-Control: max-age=60', ...(/gzip/.test(bytes) ? ['Content-Encoding: gzip'] : [])],
        `answer ${n}`,
      );
    const { ask } = await cached(zipped);
    const gzip = ['Accept-Encoding: gzip'];
    expect((await ask('GET /page', gzip)).body).toBe('answer 1');
    expect((await ask()).body).toBe('answer 2');
    expect((await ask('GET /page', gzip)).body).toMatch(/^answer [12]$/);
  });

  it('is where a pipeline is mounted, and where it goes', async () => {
    const express = await import('express');
    const [one, two] = [
      await rawUpstream(reply('200 OK', ['Cache-Control: max-age=9'], 'one')),
      await rawUpstream(reply('200 OK', ['Cache-Control: max-age=9'], 'two')),
    ];
    const app = express.default().use(cache());
    app.use('/a', proxyPass(one.url)).use('/b', proxyPass(two.url));
    const pools = [one, two].map(({ url }) => loadBalancer({ upstreams: [url] }));
    closeAfter(() => Promise.all(pools.map((pool) => pool.close())));
    const which: Handler = (req, res, next) =>
      pools[req.headers['x-b'] === undefined ? 0 : 1]?.(req, res, next);
    app.use(
      '/target',
      proxyPass((req) => (req.headers['x-b'] === undefined ? one.url : two.url)),
    );
    app.use('/pool', which, proxyPass());
    const { createServer } = await import('node:http');
    const port = await listen(createServer(app));
    const ask = async (line: string, ...headers: string[]) =>
      (await rawRequest(port, request(line, headers))).body;
    for (const _ of [1, 2]) {
      expect([await ask('GET /a/x'), await ask('GET /b/x')]).toEqual(['one', 'two']);
      expect([await ask('GET /target'), await ask('GET /target', 'X-B: 1')]).toEqual([
        'one',
        'two',
      ]);
      expect([await ask('GET /pool'), await ask('GET /pool', 'X-B: 1')]).toEqual(['one', 'two']);
    }
  });

  it('is what key() says besides', async () => {
    const key: CacheOptions['key'] = (req) => String(req.headers['x-tenant']);
    const { ask } = await cached(numbered, { key });
    const tenants = ['a', 'b', 'a', 'b'].map((one) => [`X-Tenant: ${one}`]);
    const bodies: string[] = [];
    for (const headers of tenants) bodies.push((await ask('GET /page', headers)).body);
    expect(bodies).toEqual(['answer 1', 'answer 2', 'answer 1', 'answer 2']);
  });

  it('must be a string', async () => {
    const { ask } = await cached(numbered, { key: () => 5 as never });
    expect((await ask()).status).toBe(500);
  });
});

describe('what is somebody’s own', () => {
  const known: Handler = (req, res, next) => {
    const user = req.headers['x-user'];
    if (user) exchangeOf(req, res).identity = { subject: String(user), claims: {}, scheme: 'test' };
    next?.();
  };

  it.each([
    ['Authorization', ['Authorization: Basic YTpi']],
    ['an identity', ['X-User: me']],
  ])('is not kept with %s, nor is it answered with what is', async (_what, mine) => {
    const { ask } = await cached(numbered, {}, known);
    expect((await ask('GET /page', mine)).body).toBe('answer 1');
    expect((await ask('GET /page', mine)).body).toBe('answer 2');
    expect((await ask()).body).toBe('answer 3');
    expect((await ask('GET /page', mine)).body).toBe('answer 4');
    expect((await ask()).body).toBe('answer 3');
  });

  it.each(['public, max-age=9', 's-maxage=9', 'must-revalidate, max-age=9'])(
    'is not, where the upstream says %s',
    async (control) => {
      const answer: Answer = (n) => reply('200 OK', [`Cache-Control: ${control}`], `answer ${n}`);
      const { ask } = await cached(answer, {}, known);
      expect((await ask('GET /page', ['X-User: me'])).body).toBe('answer 1');
      expect((await ask('GET /page', ['Authorization: Basic YTpi'])).body).toBe('answer 1');
      expect((await ask()).body).toBe('answer 1');
    },
  );

  it('is what forwardAuth() has told the upstream of', async () => {
    const service = await rawUpstream('HTTP/1.1 200 OK\r\nX-User: me\r\nContent-Length: 0\r\n\r\n');
    for (const [copyHeaders, isMine] of [
      [['x-user'], true],
      [[], false],
    ] as const) {
      const auth = forwardAuth({ url: service.url, copyHeaders });
      closeAfter(() => auth.close());
      const { bodies } = await cached(numbered, {}, auth);
      expect(await bodies(2)).toEqual(['answer 1', isMine ? 'answer 2' : 'answer 1']);
    }
  });
});

describe('what clients ask for', () => {
  it.each([
    ['Cache-Control: no-cache', 'answer 2'],
    ['Cache-Control: max-age=0', 'answer 2'],
    ['Cache-Control: max-age=10', 'answer 2'],
    ['Cache-Control: max-age=11', 'answer 1'],
    ['Cache-Control: min-fresh=49', 'answer 1'],
    ['Cache-Control: min-fresh=50', 'answer 2'],
    ['Cache-Control: no-store', 'answer 2'],
    ['Pragma: no-cache', 'answer 2'],
    ['Range: bytes=0-1', 'answer 2'],
    ['If-Match: "a"', 'answer 2'],
    ['If-Unmodified-Since: Fri, 15 Jan 2027 08:00:00 GMT', 'answer 2'],
  ])('%s', async (line, body) => {
    const { ask, time } = await cached();
    await ask();
    time.at += 10_000;
    expect((await ask('GET /page', [line])).body).toBe(body);
  });

  it('is nothing else than what is there', async () => {
    const { ask, upstream } = await cached();
    const asked = ['Cache-Control: only-if-cached'];
    expect((await ask('GET /page', asked)).status).toBe(504);
    await ask();
    expect((await ask('GET /page', asked)).body).toBe('answer 1');
    expect(requestsOf(upstream)).toHaveLength(1);
  });

  it('comes with a body: that goes to the upstream, and so does its answer', async () => {
    const { ask, port, upstream } = await cached();
    await ask();
    const asked = await rawRequest(port, upload('GET /page', [], 'query'));
    expect(asked.body).toBe('answer 2');
    expect(asked.header('cache-status')).toBe('headrace; fwd=bypass');
    expect((await ask()).body).toBe('answer 1');
    expect(requestsOf(upstream)[1]?.body).toBe('query');
  });

  it.each([
    ['If-None-Match: "a"', 304],
    ['If-None-Match: "b", W/"a"', 304],
    ['If-None-Match: *', 304],
    ['If-None-Match: "b"', 200],
    ['If-None-Match: "b"\r\nIf-Modified-Since: Fri, 15 Jan 2027 08:00:00 GMT', 200],
    ['If-Modified-Since: Fri, 01 Jan 2027 00:00:00 GMT', 304],
    ['If-Modified-Since: Thu, 31 Dec 2026 23:59:59 GMT', 200],
    ['If-Modified-Since: yesterday', 200],
  ])('%j is %d', async (line, status) => {
    const date = 'Last-Modified: Fri, 01 Jan 2027 00:00:00 GMT';
    const lines = ['Cache-Control: max-age=60', 'ETag: W/"a"', date, 'Content-Type: text/plain'];
    const { ask, upstream } = await cached(() => reply('200 OK', lines, 'body'));
    await ask();
    const answer = await ask('GET /page', [line]);
    expect([answer.status, answer.body]).toEqual([status, status === 304 ? '' : 'body']);
    expect(answer.header('etag')).toBe('W/"a"');
    expect(answer.header('content-type')).toBe(status === 304 ? undefined : 'text/plain');
    expect(requestsOf(upstream)).toHaveLength(1);
  });
});

describe('a response that is stale', () => {
  const date = 'Fri, 01 Jan 2027 00:00:00 GMT';
  const validated =
    (lines: readonly string[], again: (n: number) => string): Answer =>
    (n) =>
      n === 1 ? reply('200 OK', ['Cache-Control: max-age=60', ...lines], 'first') : again(n);

  it('is asked about, and stands when the upstream says so', async () => {
    const again = () =>
      'HTTP/1.1 304 X\r\nETag: "a"\r\nCache-Control: max-age=30\r\nX-New: 1\r\nSet-Cookie: a=b\r\n\r\n';
    const lines = ['ETag: "a"', `Last-Modified: ${date}`, 'Age: 10', 'X-Old: 1'];
    const { ask, time, upstream, kept } = await cached(validated(lines, again));
    await ask();
    time.at += 60_000;
    const renewed = await ask('GET /page', ['If-None-Match: "other"']);
    expect(renewed).toMatchObject({ status: 200, body: 'first' });
    expect(renewed.header('cache-status')).toBe('headrace; fwd=stale; fwd-status=304');
    expect(['age', 'x-new', 'x-old', 'set-cookie'].map((name) => renewed.header(name))).toEqual([
      '0',
      '1',
      '1',
      'a=b',
    ]);
    const [, asked] = requestsOf(upstream);
    expect(asked?.lines('if-none-match')).toEqual(['"a"']);
    expect(asked?.lines('if-modified-since')).toEqual([date]);
    time.at += 29_000;
    const hit = await ask();
    expect([hit.header('age'), hit.header('set-cookie')]).toEqual(['29', undefined]);
    expect(kept.stats()).toMatchObject({
      hits: 1,
      misses: 1,
      revalidated: 1,
      stale: 0,
      entries: 1,
    });
    time.at += 1_000;
    await ask();
    expect(requestsOf(upstream)).toHaveLength(3);
  });

  it('makes way for a new one', async () => {
    const again = (n: number) =>
      reply('200 OK', ['Cache-Control: max-age=60', 'ETag: "b"'], `answer ${n}`);
    const { bodies, time, ask } = await cached(validated(['ETag: "a"'], again));
    await ask();
    time.at += 60_000;
    expect(await bodies(2)).toEqual(['answer 2', 'answer 2']);
  });

  it('is told to a client that has it already, and one that asks has its own question back', async () => {
    const seen: unknown[] = [];
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ headers }) => {
        seen.push([headers.get('if-none-match'), headers.get('if-modified-since')]);
      });
      next?.();
    };
    const again = () => 'HTTP/1.1 304 X\r\n\r\n';
    const { ask, time } = await cached(validated(['ETag: "a"'], again), {}, look);
    await ask();
    time.at += 60_000;
    expect((await ask('GET /page', ['If-None-Match: "a"'])).status).toBe(304);
    expect(await ask()).toMatchObject({ status: 200, body: 'first' });
    expect(seen).toEqual([
      [undefined, undefined],
      ['"a"', undefined],
      [undefined, undefined],
    ]);
  });

  it('is forgotten when its 304 says that it must not be kept', async () => {
    const again = (n: number) =>
      n === 2 ? 'HTTP/1.1 304 X\r\nCache-Control: no-store\r\n\r\n' : (numbered(n, '') as string);
    const { bodies, time, ask, kept } = await cached(validated(['ETag: "a"'], again));
    await ask();
    time.at += 60_000;
    expect(await bodies(1)).toEqual(['first']);
    expect(kept.stats().entries).toBe(0);
    expect(await bodies(1)).toEqual(['answer 3']);
  });

  it('without anything to ask by is asked for as the client has asked', async () => {
    const { ask, time, upstream } = await cached();
    await ask();
    time.at += 60_000;
    await ask('GET /page', ['If-None-Match: "mine"']);
    expect(requestsOf(upstream)[1]?.lines('if-none-match')).toEqual(['"mine"']);
  });

  it.each<[string, CacheOptions, ...[number, unknown][]]>([
    ['max-age=60', { staleIfErrorMs: 10_000 }, [9_999, 'first'], [10_000, 503]],
    ['max-age=60, stale-if-error=5', { staleIfErrorMs: 10_000 }, [4_999, 'first'], [5_000, 503]],
    ['max-age=60, stale-if-error=5', {}, [4_999, 'first'], [5_000, 503]],
    ['max-age=60', {}, [0, 503], [0, 503]],
    ['max-age=60, must-revalidate', { staleIfErrorMs: 10_000 }, [0, 503], [0, 503]],
    ['max-age=60, proxy-revalidate', { staleIfErrorMs: 10_000 }, [0, 503], [0, 503]],
    ['s-maxage=60', { staleIfErrorMs: 10_000 }, [0, 503], [0, 503]],
  ])('stands in for an error with %s and %j', async (control, options, ...expected) => {
    const answer: Answer = (n) =>
      n === 1
        ? reply('200 OK', [`Cache-Control: ${control}`], 'first')
        : reply('503 Busy', [], '503');
    const { ask, time, kept } = await cached(answer, options);
    await ask();
    const start = time.at + 60_000;
    for (const [later, what] of expected) {
      time.at = start + later;
      const got = await ask();
      expect(got.body).toBe(String(what));
      if (what !== 'first') continue;
      expect(got.header('cache-status')).toBe(
        'headrace; fwd=stale; fwd-status=503; detail=stale-if-error',
      );
      expect(kept.stats().stale).toBe(1);
    }
  });

  it('stands in for an upstream that is not there, which logs are told of', async () => {
    const time = clock();
    const down = await refusing();
    const up = await rawUpstream(reply('200 OK', ['Cache-Control: max-age=60'], 'first'));
    const pool = new UpstreamPool([up.url]);
    closeAfter(() => pool.close());
    const outcomes: unknown[] = [];
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => {
        outcomes.push([outcome.type, outcome.degraded, (outcome.error as { code?: string })?.code]);
      });
      next?.();
    };
    const kept = cache({ now: () => time.now(), staleIfErrorMs: 60_000 });
    const { port } = await gateway(
      'express 5',
      look,
      kept,
      loadBalancer({ upstreams: pool }),
      proxyPass(),
      proxyErrors(),
    );
    await rawRequest(port, request('GET /'));
    time.at += 60_000;
    pool.update([down]);
    expect((await rawRequest(port, request('GET /'))).body).toBe('first');
    pool.update([]);
    expect((await rawRequest(port, request('GET /'))).body).toBe('first');
    expect((await rawRequest(port, request('GET /other'))).status).toBe(503);
    expect(outcomes).toEqual([
      ['completed', false, undefined],
      ['completed', true, 'ERR_PROXY_CONNECT'],
      ['completed', true, 'ERR_PROXY_NO_UPSTREAM'],
      ['failed', false, 'ERR_PROXY_NO_UPSTREAM'],
    ]);
  });
});

describe('who may not pass', () => {
  it('gets nothing of what is kept, whatever the order', async () => {
    const { url } = await rawUpstream(reply('200 OK', ['Cache-Control: max-age=60'], 'secret'));
    let mayPass = true;
    const guard: Handler = (_req, _res, next) =>
      next?.(mayPass ? undefined : new AuthUnavailableError());
    const kept = cache({ staleIfErrorMs: 60_000 });
    const { port } = await gateway('express 5', kept, guard, proxyPass(url), proxyErrors());
    expect((await rawRequest(port, request('GET /'))).body).toBe('secret');
    mayPass = false;
    expect((await rawRequest(port, request('GET /'))).status).toBe(503);
    const policy = authorize({ allow: [{ path: '/open' }] });
    const other = await gateway('express 5', kept, policy, proxyPass(url), proxyErrors());
    expect((await rawRequest(other.port, request('GET /'))).status).toBe(403);
  });
});

describe('several who ask for the same', () => {
  /** An upstream that answers when it is told to. */
  async function held(answer: Answer, options: CacheOptions = {}) {
    const waiting: (() => void)[] = [];
    let n = 0;
    const upstream = await rawUpstream((bytes, socket) => {
      const text = answer(++n, bytes);
      waiting.push(() => void socket.write(text ?? ''));
      return undefined;
    });
    const kept = cache(options);
    const { port } = await gateway('express 5', kept, proxyPass(upstream.url), proxyErrors());
    const ask = (line = 'GET /page', headers: readonly string[] = []) =>
      rawRequest(port, request(line, headers));
    return { upstream, waiting, port, ask, kept };
  }

  it('wait for the first, and get what it gets', async () => {
    const { waiting, ask, kept } = await held(numbered);
    const all = [ask(), ask(), ask(), ask('GET /other')];
    await eventually('two requests', () => waiting.length === 2);
    await delay(50);
    expect(waiting).toHaveLength(2);
    for (const go of waiting) go();
    const bodies = (await Promise.all(all)).map(({ body }) => body);
    expect(bodies.slice(0, 3)).toEqual(Array(3).fill(bodies[0]));
    expect(kept.stats()).toMatchObject({ misses: 2, hits: 2 });
  });

  it('go themselves when it is not for them, and from then on at once', async () => {
    const { waiting, ask } = await held((n) => reply('200 OK', [], `answer ${n}`));
    const all = [ask(), ask(), ask()];
    await eventually('a request', () => waiting.length === 1);
    waiting[0]?.();
    await eventually('the others', () => waiting.length === 3);
    all.push(ask());
    await eventually('another one', () => waiting.length === 4);
    for (const go of waiting.slice(1)) go();
    const bodies = (await Promise.all(all)).map(({ body }) => body);
    expect(bodies.sort()).toEqual(['answer 1', 'answer 2', 'answer 3', 'answer 4']);
  });

  it('go themselves when it fails, when its client leaves, and when it takes too long', async () => {
    const { waiting, ask, upstream, port } = await held(numbered, { waitMs: 200 });
    const failing = [ask(), ask()];
    await eventually('a request', () => waiting.length === 1);
    upstream.sockets[0]?.destroy();
    await eventually('the other, or both again', () => waiting.length >= 2);
    await delay(50);
    for (const go of waiting.splice(0).slice(1)) go();
    await Promise.all(failing);

    const leaving = await rawClient(port, request('GET /leaving'));
    await eventually('a request', () => waiting.length === 1);
    const staying = ask('GET /leaving');
    await delay(30);
    leaving.socket.destroy();
    await eventually('the one that stays', () => waiting.length === 2);
    waiting.splice(0)[1]?.();
    expect((await staying).status).toBe(200);

    const slow = [ask('GET /slow'), ask('GET /slow')];
    await eventually('both', () => waiting.length === 2);
    for (const go of waiting.splice(0)) go();
    await Promise.all(slow);
  });

  it('do not wait for somebody’s own, and nobody waits who is somebody', async () => {
    const { waiting, ask } = await held(numbered);
    const all = [ask('GET /page', ['Authorization: Basic YTpi'])];
    await eventually('a request', () => waiting.length === 1);
    all.push(ask());
    await eventually('another one', () => waiting.length === 2);
    all.push(ask('GET /page', ['Authorization: Basic YTpi']));
    await eventually('a third one', () => waiting.length === 3);
    for (const go of waiting) go();
    await Promise.all(all);
  });

  it('do not wait for a client that reads slowly', async () => {
    const body = 'x'.repeat(1_000_000);
    const { port } = await cached(() => reply('200 OK', ['Cache-Control: max-age=60'], body));
    const slow = await rawClient(port, request('GET /page'));
    slow.socket.pause();
    await delay(50);
    expect((await rawRequest(port, request('GET /page'))).body.length).toBe(body.length);
    slow.socket.destroy();
  });

  it('do not wait where they are not to', async () => {
    const { waiting, ask } = await held(numbered, { waitMs: 0 });
    const all = [ask(), ask()];
    await eventually('both', () => waiting.length === 2);
    for (const go of waiting) go();
    await Promise.all(all);
  });
});

describe('what changes something', () => {
  it.each(['POST', 'PUT', 'DELETE', 'PATCH', 'MKCOL'])(
    '%s has its answers forgotten',
    async (method) => {
      const { ask, bodies } = await cached();
      expect(await bodies(2)).toEqual(['answer 1', 'answer 1']);
      expect((await ask(`${method} /page`)).header('cache-status')).toBe('headrace; fwd=method');
      expect(await bodies(2)).toEqual(['answer 3', 'answer 3']);
    },
  );

  it('but not when it failed, nor does what changes nothing', async () => {
    const { ask, bodies } = await cached((n, bytes) =>
      bytes.startsWith('POST') ? reply('400 No', [], '') : numbered(n, bytes),
    );
    await bodies(1);
    await ask('POST /page');
    await ask('OPTIONS /page');
    expect(await bodies(1)).toEqual(['answer 1']);
  });

  it('has what is under way forgotten, too', async () => {
    const waiting: (() => void)[] = [];
    let n = 0;
    const upstream = await rawUpstream((bytes, socket) => {
      const text = numbered(++n, bytes) as string;
      if (!bytes.startsWith('GET') || n > 2) return text;
      waiting.push(() => void socket.write(text));
      return undefined;
    });
    const { port } = await gateway('express 5', cache(), proxyPass(upstream.url));
    const before = rawRequest(port, request('GET /page'));
    await eventually('a request', () => waiting.length === 1);
    await rawRequest(port, request('POST /page'));
    waiting[0]?.();
    expect((await before).body).toBe('answer 1');
    expect((await rawRequest(port, request('GET /page'))).body).toBe('answer 3');
  });
});

describe('the rest of a pipeline', () => {
  it('rewrites redirects of what is kept as of what is not', async () => {
    const upstream = await rawUpstream(
      reply('302 Found', ['Cache-Control: max-age=60', 'Location: http://own.example/there']),
    );
    const pass = proxyPass(upstream.url, { host: 'own.example' });
    const { port } = await gateway('express 5', cache(), rewriteRedirects(), pass);
    for (const _ of [1, 2]) {
      const { headers } = await rawRequest(port, request('GET /here'));
      expect(headers).toContainEqual(['Location', 'http://app.example/there']);
    }
    expect(requestsOf(upstream)).toHaveLength(1);
  });

  it('has held responses in it, and such as nobody sends', async () => {
    const { url } = await rawUpstream(reply('200 OK', ['Cache-Control: max-age=60'], 'kept'));
    const drop: Handler = (req, res, next) => {
      if (req.url !== '/dropped') return next?.();
      exchangeOf(req, res).response?.discard();
      res.end('dropped');
    };
    const { port } = await gateway(
      'express 5',
      cache(),
      proxyPass(url, { hold: true }),
      drop,
      sendResponse(),
    );
    const ask = async (line: string) => (await rawRequest(port, request(line))).body;
    expect([await ask('GET /'), await ask('GET /')]).toEqual(['kept', 'kept']);
    expect([await ask('GET /dropped'), await ask('GET /dropped')]).toEqual(['dropped', 'dropped']);
  });

  it('does not have made-up answers kept', async () => {
    const spare = fallback(() => ({ headers: { 'Cache-Control': 'max-age=60' }, body: 'made up' }));
    const kept = cache();
    const { port } = await gateway('express 5', spare, kept, proxyPass(await refusing()));
    expect((await rawRequest(port, request('GET /'))).body).toBe('made up');
    expect(kept.stats().entries).toBe(0);
  });

  it('is that of reverseProxy(), too', async () => {
    const { url } = await rawUpstream(reply('200 OK', ['Cache-Control: max-age=60'], 'kept'));
    const kept = cache();
    for (const option of [kept, { name: 'edge' }]) {
      const proxy = reverseProxy({ target: url, cache: option });
      closeAfter(() => proxy.close());
      const { port } = await gateway('express 5', proxy);
      await rawRequest(port, request('GET /'));
      const { headers } = await rawRequest(port, request('GET /'));
      expect(headers).toContainEqual([
        'Cache-Status',
        expect.stringMatching(/^(?:headrace|edge); hit/),
      ]);
    }
    expect(kept.stats().hits).toBe(1);
  });

  it('has the cache of reverseProxy() before what chooses an upstream', async () => {
    const { url } = await rawUpstream(reply('200 OK', ['Cache-Control: max-age=60'], 'kept'));
    const pool = new UpstreamPool([url]);
    const proxy = reverseProxy({ upstreams: pool, cache: {} });
    closeAfter(() => pool.close());
    const { port } = await gateway('express 5', proxy);
    await rawRequest(port, request('GET /'));
    pool.update([]);
    expect((await rawRequest(port, request('GET /'))).body).toBe('kept');
  });
});

describe('what is kept', () => {
  it('goes when there is no room, that which was not used for longest first', async () => {
    const body = 'x'.repeat(10_000);
    const { bodies, kept, upstream } = await cached(
      () => reply('200 OK', ['Cache-Control: max-age=60'], body),
      { maxBytes: 25_000 },
    );
    for (const path of ['/a', '/b', '/a', '/c']) await bodies(1, `GET ${path}`);
    expect(kept.stats()).toMatchObject({ entries: 2 });
    expect(kept.stats().bytes).toBeLessThanOrEqual(25_000);
    expect(requestsOf(upstream)).toHaveLength(3);
    await bodies(1, 'GET /a');
    expect(requestsOf(upstream)).toHaveLength(3);
    await bodies(1, 'GET /b');
    expect(requestsOf(upstream)).toHaveLength(4);
  });

  it('takes no more memory on the way, and says nothing of what there was no room for', async () => {
    const waiting: (() => void)[] = [];
    const body = 'x'.repeat(20_000);
    const upstream = await rawUpstream((bytes, socket) => {
      const text = reply('200 OK', ['Cache-Control: max-age=60'], body);
      if (waiting.length === 2) return text;
      socket.write(text.slice(0, -body.length));
      waiting.push(() => void socket.write(body));
      return void bytes;
    });
    const kept = cache({ maxBytes: 30_000 });
    const { port } = await gateway('express 5', kept, proxyPass(upstream.url));
    const clients = [];
    for (const path of ['/a', '/b']) {
      const client = await rawClient(port, request(`GET ${path}`));
      await client.until((text) => text.includes('\r\n\r\n'));
      clients.push(client);
    }
    expect(clients.map((client) => /Cache-Status: (.*)\r/.exec(client.received())?.[1])).toEqual([
      'headrace; fwd=uri-miss; fwd-status=200; stored',
      'headrace; fwd=uri-miss; fwd-status=200',
    ]);
    for (const go of waiting) go();
    for (const client of clients) await client.until((text) => text.endsWith(body));
    expect(kept.stats().entries).toBe(1);
    const again = await rawRequest(port, request('GET /b'));
    expect(again.header('cache-status')).toBe('headrace; fwd=uri-miss; fwd-status=200; stored');
  });

  it('is not all that differs by a field that clients write', async () => {
    const { ask, kept } = await cached((n) =>
      reply('200 OK', ['Cache-Control: max-age=60', 'Vary: X-Any'], `answer ${n}`),
    );
    for (let i = 0; i < 40; i++) await ask('GET /page', [`X-Any: ${i}`]);
    expect(kept.stats().entries).toBe(32);
    expect((await ask('GET /page', ['X-Any: 39'])).body).toBe('answer 40');
    expect((await ask('GET /page', ['X-Any: 8'])).body).toBe('answer 9');
    expect((await ask('GET /page', ['X-Any: 7'])).body).toBe('answer 41');
    // What is asked for stays.
    expect((await ask('GET /page', ['X-Any: 8'])).body).toBe('answer 9');
    kept.purge();
    expect(kept.stats()).toMatchObject({ entries: 0, bytes: 0 });
  });

  it('can be forgotten, some of it or all', async () => {
    const { bodies, kept, time } = await cached();
    for (const path of ['/a', '/b?x=1', '/c']) await bodies(1, `GET ${path}`);
    const seen: unknown[] = [];
    expect(
      kept.purge((response) => {
        seen.push(response);
        return response.url.startsWith('/b');
      }),
    ).toBe(1);
    expect(seen).toContainEqual({
      host: 'app.example',
      url: '/b?x=1',
      status: 200,
      bytes: expect.any(Number),
      receivedAt: time.at,
    });
    expect(await bodies(1, 'GET /a')).toEqual(['answer 1']);
    expect(await bodies(1, 'GET /b?x=1')).toEqual(['answer 4']);
    expect([kept.purge(), kept.stats().entries, kept.stats().bytes]).toEqual([3, 0, 0]);
    expect(() => kept.purge('/a' as never)).toThrow(
      'cache: purge() must be a function, received "/a"',
    );
  });

  it('has another name on it, or none', async () => {
    const named = await cached(numbered, { name: 'the edge' });
    expect((await named.ask()).header('cache-status')).toMatch(/^"the edge"; fwd=uri-miss/);
    const silent = await cached(numbered, { name: false });
    expect((await silent.ask()).header('cache-status')).toBeUndefined();
  });
});

describe('the options', () => {
  it.each<[unknown, string]>([
    [5, 'options must be an object, received 5'],
    [{ ttl: 5 }, 'unknown option "ttl"'],
    [{ maxBytes: 0 }, 'maxBytes must be a whole number of at least 1, received 0'],
    [{ maxBodyBytes: '1mb' }, 'maxBodyBytes must be a whole number, received "1mb"'],
    [{ defaultTtlMs: -1 }, 'defaultTtlMs must be a whole number of at least 0, received -1'],
    [{ staleIfErrorMs: 1.5 }, 'staleIfErrorMs must be a whole number of at least 0, received 1.5'],
    [
      { waitMs: 2 ** 31 },
      'waitMs must be a whole number from 0 to 2147483647, received 2147483648',
    ],
    [{ key: 'a' }, 'key must be a function, received "a"'],
    [{ now: 5 }, 'now must be a function, received 5'],
    [{ name: '' }, 'name must be printable ASCII, received ""'],
  ])('%j: %s', (options, message) => {
    expect(() => cache(options as never)).toThrow(`cache: ${message}`);
  });

  it('are asked for when it is mounted without being called', async () => {
    const { port } = await gateway(
      'express 5',
      cache as never,
      ((error: Error, _req: never, res: { end(text: string): void }, _next: never) =>
        res.end(error.message.replace('…', '...'))) as Middleware,
    );
    expect((await rawRequest(port, request('GET /'))).body).toBe(
      'cache: it was given a request. Mount what it returns: app.use(cache(...))',
    );
  });
});

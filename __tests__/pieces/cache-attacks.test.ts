import { createServer as createHttp2Server } from 'node:http2';
import { Transform } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import {
  type CacheOptions,
  cache,
  exchangeOf,
  fallback,
  type Handler,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  proxyStatus,
  Upstream,
  UpstreamPool,
  UpstreamResponse,
} from 'headrace';
import { type Answer, cached, clock, numbered, reply } from '../helpers/caches.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { http2Ask, http2Client } from '../helpers/http2.js';
import { request, requestsOf } from '../helpers/requests.js';
import { appOf, closeAfter, gateway, listen, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const FRESH = 'Cache-Control: max-age=60';

/** What the cache said of each of several requests. */
async function saidOf(ask: Awaited<ReturnType<typeof cached>>['ask'], ...all: string[][]) {
  const said: (string | undefined)[] = [];
  for (const headers of all) {
    said.push((await ask('GET /page', headers)).header('cache-status')?.slice('headrace; '.length));
  }
  return said;
}

describe('what a client writes', () => {
  it('takes no time to compare, however long it is', async () => {
    const answer: Answer = (n) =>
      reply('200 OK', [FRESH, 'Vary: Accept-Encoding, Accept, X-A'], `${n}`);
    const { ask } = await cached(answer);
    const long = `a${' '.repeat(14_000)}b`;
    for (let i = 0; i < 16; i++) await ask('GET /page', [`Accept-Encoding: ${long}`, `X-A: ${i}`]);
    const began = performance.now();
    for (let i = 0; i < 3; i++) await ask('GET /page', [`Accept-Encoding: ${long}`, `X-A: -${i}`]);
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  it.each<[string, number, (i: number) => [string, string[]], Answer]>([
    ['a host', 32, (i) => ['GET /page', [`X-Host: ${i}${'h'.repeat(14_000)}`]], numbered],
    [
      'what is varied by',
      7,
      (i) => ['GET /page', [`X-Any: ${i}${'v'.repeat(14_000)}`]],
      (n) => reply('200 OK', [FRESH, 'Vary: X-Any'], `${n}`),
    ],
    ['a path', 7, (i) => [`GET /${i}${'p'.repeat(14_000)}`, []], numbered],
  ])('takes no more memory than there may be, as %s', async (_what, most, line, answer) => {
    const { ask, kept } = await cached(answer, { maxBytes: 100_000 });
    for (let i = 0; i < 40; i++) await ask(...line(i));
    expect(kept.stats().bytes).toBeLessThanOrEqual(100_000);
    expect(kept.stats().entries).toBeGreaterThan(0);
    expect(kept.stats().entries).toBeLessThanOrEqual(most);
  });

  it.each([
    'X_Original_URL: /evil',
    'X_Host: evil.example',
    'X.Rewrite.Url: /evil',
    'Accept_Language: xx',
    'X-Original-URI: /evil',
    'X-HTTP-Method: DELETE',
    'Front-End-Https: on',
  ])('is not what others read: %s', async (field) => {
    const answer: Answer = (_n, bytes) =>
      reply('200 OK', [FRESH, 'Vary: Accept-Language'], bytes.includes(field) ? 'theirs' : 'mine');
    const { bodies } = await cached(answer);
    expect(await bodies(1, 'GET /page', [field])).toEqual(['theirs']);
    expect(await bodies(1)).toEqual(['mine']);
    expect(await bodies(1, 'GET /page', [field])).toEqual(['theirs']);
  });
});

describe('who is answered', () => {
  it('is not told what is for the holder of a certificate', async () => {
    const certify: Handler = (req, res, next) => {
      exchangeOf(req, res).headers.set('Client-Cert', `:${req.headers['x-who']}:`);
      next?.();
    };
    const { bodies } = await cached(numbered, {}, certify as never);
    expect(await bodies(1, 'GET /page', ['X-Who: ada'])).toEqual(['answer 1']);
    expect(await bodies(1, 'GET /page', ['X-Who: bob'])).toEqual(['answer 2']);
  });

  it('is not told by one proxyPass() what another has heard', async () => {
    const upstream = await rawUpstream((bytes) =>
      reply('200 OK', [FRESH], bytes.match(/host: (\S+)|(Basic \S+)/gi)?.join()),
    );
    const kept = cache();
    const passes = {
      canary: proxyPass(upstream.url, { host: 'canary.internal' }),
      stable: proxyPass(upstream.url, { host: 'stable.internal' }),
      admin: proxyPass(upstream.url.replace('//', '//admin:pw@')),
      guest: proxyPass(upstream.url.replace('//', '//guest:pw@')),
    };
    const choose: Handler = (req, res, next) =>
      void passes[req.headers['x-to'] as keyof typeof passes](req, res, next);
    const { port } = await gateway('express 5', kept, choose, proxyErrors());
    const bodies = new Set<string>();
    for (const to of [...Object.keys(passes), ...Object.keys(passes)]) {
      bodies.add((await rawRequest(port, request('GET /', [`X-To: ${to}`]))).body);
    }
    expect(bodies.size).toBe(4);
    expect(requestsOf(upstream)).toHaveLength(4);
  });

  it('knows an answer by its pool when nobody is there to send to, if it is sent in one way', async () => {
    const upstream = await rawUpstream(reply('200 OK', [FRESH], 'kept'));
    const pool = new UpstreamPool([upstream.url]);
    closeAfter(() => pool.close());
    const kept = cache();
    const balancer = loadBalancer({ upstreams: pool });
    const one = await gateway('express 5', kept, balancer, proxyPass(), proxyErrors());
    await rawRequest(one.port, request('GET /'));
    pool.update([]);
    expect((await rawRequest(one.port, request('GET /'))).body).toBe('kept');
    pool.update([upstream.url]);
    const otherWay = proxyPass({ host: 'another.example' });
    const two = await gateway('express 5', kept, balancer, otherWay, proxyErrors());
    await rawRequest(two.port, request('GET /'));
    pool.update([]);
    expect((await rawRequest(two.port, request('GET /'))).status).toBe(503);
  });

  it('is not told what comes from elsewhere than the pool', async () => {
    const [stable, beta] = [
      await rawUpstream(reply('200 OK', [FRESH], 'stable')),
      await rawUpstream(reply('200 OK', [FRESH], 'beta')),
    ];
    const forStaff = new Upstream(beta.url);
    closeAfter(() => forStaff.close());
    const choose: Handler = (req, res, next) => {
      if (req.headers['x-staff'] !== undefined) exchangeOf(req, res).upstream = forStaff;
      next?.();
    };
    const pieces = [cache(), loadBalancer({ upstreams: [stable.url] }), choose, proxyPass()];
    const { port } = await gateway('express 5', ...pieces);
    expect((await rawRequest(port, request('GET /', ['X-Staff: 1']))).body).toBe('beta');
    expect((await rawRequest(port, request('GET /'))).body).toBe('stable');
  });

  it('with a session does not get what is kept by a default', async () => {
    const answer: Answer = (n) => reply('200 OK', [], `answer ${n}`);
    const { bodies } = await cached(answer, { defaultTtlMs: 60_000 });
    expect(await bodies(2)).toEqual(['answer 1', 'answer 1']);
    expect(await bodies(2, 'GET /page', ['Cookie: a=b'])).toEqual(['answer 2', 'answer 3']);
    expect(await bodies(1)).toEqual(['answer 1']);
  });
});

describe('what changes something', () => {
  it.each([
    ['with another method in a field', ['X-HTTP-Method-Override: DELETE']],
    ['through another proxy', ['X-Forwarded-Proto: https', 'X-Forwarded-Host: a.example']],
  ])('has the answers forgotten, whoever asks: %s', async (_what, headers) => {
    const { ask, bodies } = await cached();
    await ask();
    await ask('POST /page', [...headers, 'Content-Length: 0']);
    expect(await bodies(1)).toEqual(['answer 3']);
  });

  it('has them forgotten for a host in other letters, and for another pool', async () => {
    const upstream = await rawUpstream(reply('200 OK', [FRESH], 'read'));
    const writers = await rawUpstream(reply('200 OK', [], 'written'));
    const kept = cache();
    const [reads, writes] = [proxyPass(upstream.url), proxyPass(writers.url)];
    const choose: Handler = (req, res, next) =>
      void (req.method === 'GET' ? reads : writes)(req, res, next);
    const { port } = await gateway('express 5', kept, choose, proxyErrors());
    const post = 'POST / HTTP/1.1\r\nHost: APP.example\r\nContent-Length: 0\r\n\r\n';
    await rawRequest(port, request('GET /'));
    expect(kept.stats().entries).toBe(1);
    await rawRequest(port, post);
    expect(kept.stats().entries).toBe(0);
  });

  it('has them forgotten over HTTP/2, too', async () => {
    const upstream = await rawUpstream(reply('200 OK', [FRESH], 'read'));
    const kept = cache();
    const pieces = [kept, proxyPass(upstream.url)];
    const { port } = await gateway('connect', ...pieces);
    const port2 = await listen(createHttp2Server(appOf('connect', ...pieces) as never) as never);
    const host = `localhost:${port2}`;
    await rawRequest(port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect(kept.stats().entries).toBe(1);
    await http2Ask(http2Client(`http://localhost:${port2}`), {
      ':method': 'DELETE',
      ':path': '/',
      ':authority': host,
    });
    expect(kept.stats().entries).toBe(0);
  });
});

describe('what an upstream says later', () => {
  const OLD: CacheOptions = { staleIfErrorMs: 3_600_000 };

  it.each([
    ['410 Gone', []],
    ['404 Not Found', ['Cache-Control: no-store']],
    ['401 Unauthorized', []],
    ['200 OK', ['Cache-Control: private']],
    ['200 OK', [FRESH, 'Set-Cookie: a=b']],
  ])('takes the place of what is kept: %s with %j', async (status, lines) => {
    const answers = [reply('200 OK', [FRESH], 'old'), reply(status, lines, 'new')];
    const { ask, time, kept } = await cached((n) => answers[n - 1] ?? reply('503 Busy', []), OLD);
    await ask();
    time.at += 60_000;
    expect((await ask()).body).toBe('new');
    expect(kept.stats().entries).toBe(0);
    expect((await ask()).status).toBe(503);
  });

  it('takes the place of what is fresh, when a client has asked for it', async () => {
    const { ask } = await cached((n) =>
      n === 1 ? reply('200 OK', [FRESH], 'old') : reply('404 Not Found', [], 'gone'),
    );
    await ask();
    expect((await ask('GET /page', ['Cache-Control: no-cache'])).status).toBe(404);
    expect((await ask()).status).toBe(404);
  });

  it('takes its place though it turns out to be too long', async () => {
    const long = `HTTP/1.1 200 OK\r\n${FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${'x'.repeat(20)}\r\n0\r\n\r\n`;
    const answers = [reply('200 OK', [FRESH], 'old'), long];
    const answer: Answer = (n) => answers[n - 1] ?? reply('503 Busy', []);
    const { ask, time, kept } = await cached(answer, { ...OLD, maxBodyBytes: 10 });
    await ask();
    time.at += 60_000;
    expect((await ask()).body).toHaveLength(20);
    expect(kept.stats().entries).toBe(0);
  });

  it('counts by when it was asked for', async () => {
    const waiting: (() => void)[] = [];
    const upstream = await rawUpstream((_bytes, socket) => {
      const n = waiting.length + 1;
      const text = reply('200 OK', [FRESH], `version ${n}`);
      waiting.push(() => void socket.write(text));
      return undefined;
    });
    const time = clock();
    const kept = cache({ now: () => time.now(), waitMs: 0 });
    const { port } = await gateway('express 5', kept, proxyPass(upstream.url));
    const ask = () => rawRequest(port, request('GET /'));
    const first = ask();
    await eventually('one', () => waiting.length === 1);
    time.at += 1;
    const second = ask();
    await eventually('two', () => waiting.length === 2);
    waiting[1]?.();
    await second;
    waiting[0]?.();
    expect((await first).body).toBe('version 1');
    expect((await ask()).body).toBe('version 2');
  });

  const confirm = (...lines: string[]): Answer => {
    const again = `HTTP/1.1 304 X\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;
    const first = reply('200 OK', [FRESH, 'ETag: "a"', `Date: ${utc(clock().at)}`], 'a');
    return (n) => [first, again][n - 1] ?? reply('200 OK', [FRESH], 'new');
  };

  it('with a 304 is about what it names: another strong tag is another response', async () => {
    const { bodies, time, kept } = await cached(confirm('ETag: "b"', FRESH));
    await bodies(1);
    time.at += 60_000;
    expect(await bodies(1)).toEqual(['a']);
    expect(kept.stats().entries).toBe(0);
    expect(await bodies(1)).toEqual(['new']);
  });

  it.each([
    ['Vary: X-Lang', 1, ['X-Lang: en']],
    ['Vary: *', 0, []],
  ])('with a 304 may make it depend on more: %s', async (vary, entries, headers) => {
    const { bodies, time, kept } = await cached(confirm(vary, FRESH));
    await bodies(1);
    time.at += 60_000;
    expect(await bodies(1)).toEqual(['a']);
    expect(kept.stats().entries).toBe(entries);
    expect(await bodies(1, 'GET /page', headers)).toEqual(['new']);
  });

  it('with a 304 without a date is of now', async () => {
    const { ask, time } = await cached(confirm(FRESH));
    await ask();
    time.at += 60_000;
    const confirmed = await ask();
    expect([confirmed.header('age'), confirmed.header('date')]).toEqual(['0', utc(time.at)]);
    expect((await ask()).header('cache-status')).toBe('headrace; hit; ttl=60');
  });

  it('as an error is made up for, which logs and Proxy-Status tell', async () => {
    const seen: unknown[] = [];
    const look: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => {
        const { code, cause } = (outcome.error ?? {}) as { code?: string; cause?: Error };
        seen.push([outcome.type, outcome.degraded, code, cause?.message]);
      });
      next?.();
    };
    const answer: Answer = (n) =>
      n === 1 ? reply('200 OK', [FRESH], 'old') : reply('503 Busy', []);
    const { ask, time } = await cached(answer, OLD, look as never, proxyStatus());
    await ask();
    time.at += 60_000;
    const old = await ask();
    expect(old.body).toBe('old');
    expect(old.header('proxy-status')).toBe('headrace; error=http_protocol_error');
    const made = ['ERR_PROXY_BAD_RESPONSE', 'The upstream has answered 503'];
    await eventually('the outcome', () => seen.length === 2);
    expect(seen).toEqual([
      ['completed', false, undefined, undefined],
      ['completed', true, ...made],
    ]);
  });
});

describe('what one client does wrong', () => {
  it.each([
    ['400 Bad Request', 'Cookie: \u00ff'],
    ['401 Unauthorized', 'Authorization: Bearer bogus'],
    ['429 Too Many Requests', 'X-A: b'],
  ])('takes nothing from the others: %s for %s', async (status, header) => {
    const { ask, bodies, upstream } = await cached((n, bytes) =>
      bytes.includes(header.slice(0, 8)) ? reply(status, [], 'no') : (numbered(n, '') as string),
    );
    await ask();
    await ask('GET /page', [header, 'Cache-Control: no-cache']);
    expect(await bodies(2)).toEqual(['answer 1', 'answer 1']);
    expect(requestsOf(upstream)).toHaveLength(2);
  });

  it('does not keep the others from waiting for one of them', async () => {
    const { ask, bodies, upstream } = await cached();
    await ask('GET /page', ['Authorization: me']);
    const all = await Promise.all([1, 2, 3].map(() => bodies(1)));
    expect(all.flat()).toEqual(['answer 2', 'answer 2', 'answer 2']);
    expect(requestsOf(upstream)).toHaveLength(2);
  });
});

describe('what edits do', () => {
  it.each<[string, (response: UpstreamResponse) => void | Promise<void>]>([
    [
      'buffer()',
      async (response) => {
        const bytes = await response.buffer();
        response.body = flip(bytes);
      },
    ],
    ['pipeThrough()', (response) => response.pipeThrough(flipping())],
    [
      'stream()',
      (response) => {
        response.body = response.stream().pipe(flipping());
      },
    ],
    [
      'body',
      (response) => {
        if (response.body instanceof Buffer) flip(response.body);
      },
    ],
  ])('is done to copies, when %s writes into them', async (what, edit) => {
    const { bodies } = await cached(numbered, {}, modifyResponse(edit));
    const expected = what === 'body' ? 'answer 1' : 'ANSWER\u0000\u0011';
    expect(await bodies(3)).toEqual([expected, expected, expected]);
  });

  it('is done to copies of a fallback, too', async () => {
    const shared = new UpstreamResponse({ status: 200, body: 'sorry' });
    const edit = modifyResponse(async (response) => {
      response.body = flip(await response.buffer());
    });
    const pass = proxyPass('http://127.0.0.1:1');
    const { port } = await gateway(
      'express 5',
      fallback(() => shared),
      edit,
      pass,
    );
    for (let i = 0; i < 2; i++)
      expect((await rawRequest(port, request('GET /'))).body).toBe('SORRY');
  });
});

describe('dates and ages', () => {
  it.each(['3600', '86400', '9999', '2050', '-1', '0', '+1 9999', '2040-01-01', 'never'])(
    'are none in Expires: %s',
    async (expires) => {
      const { kept, ask } = await cached(() => reply('200 OK', [`Expires: ${expires}`], 'x'));
      await ask();
      expect(kept.stats().entries).toBe(0);
    },
  );

  it.each([(at: Date) => at.toUTCString(), rfc850, asctime])(
    'are read in all three forms',
    async (write) => {
      const { ask, time } = await cached(() =>
        reply('200 OK', [`Expires: ${write(new Date(clock().at + 60_000))}`], 'x'),
      );
      await ask();
      time.at += 1_000;
      expect((await ask()).header('cache-status')).toBe('headrace; hit; ttl=59');
    },
  );

  it.each(['9999', '3600', 'tomorrow 2040', '2030-01-01'])(
    'are none in If-Modified-Since: %s',
    async (since) => {
      const lines = [FRESH, 'Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT'];
      const { ask } = await cached(() => reply('200 OK', lines, 'x'));
      await ask();
      expect((await ask('GET /page', [`If-Modified-Since: ${since}`])).status).toBe(200);
    },
  );

  it.each(['120', '120, 5', '120, 120', '9'.repeat(60)])('count: Age: %s', async (age) => {
    const { bodies } = await cached((n) => reply('200 OK', [FRESH, `Age: ${age}`], `${n}`));
    expect(await bodies(2)).toEqual(['1', '2']);
  });

  it('have an end, so that what is said of them can be read', async () => {
    const { ask } = await cached(() =>
      reply('200 OK', [`Cache-Control: max-age=${'9'.repeat(30)}`], 'x'),
    );
    await ask();
    expect((await ask()).header('cache-status')).toBe('headrace; hit; ttl=2147483648');
  });

  it('are those of the receipt where the upstream names none', async () => {
    const { ask, time } = await cached();
    await ask();
    const then = utc(time.at);
    time.at += 50_000;
    const hit = await ask();
    expect([hit.header('age'), hit.header('date')]).toEqual(['50', then]);
  });
});

describe('trailers', () => {
  const head = (...lines: string[]) =>
    ['HTTP/1.1 200 OK', FRESH, 'Transfer-Encoding: chunked', ...lines, '', ''].join('\r\n');
  const body = '2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n';

  it.each([
    ['announced', ['Trailer: X-Sum']],
    ['not announced', []],
  ])('reach each client, and have nothing kept: %s', async (_what, lines) => {
    const { port, kept, upstream } = await cached(() => head(...lines) + body);
    for (let i = 0; i < 2; i++) {
      const client = await rawClient(port, request('GET /page'));
      await client.until((text) => text.endsWith('0\r\nX-Sum: 42\r\n\r\n'));
      client.socket.destroy();
    }
    expect(kept.stats().entries).toBe(0);
    expect(requestsOf(upstream)).toHaveLength(2);
  });
});

describe('room', () => {
  it('is taken by what has come, not by what could', async () => {
    const upstream = await rawUpstream((bytes) =>
      bytes.includes('/slow')
        ? `HTTP/1.1 200 OK\r\n${FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`
        : reply('200 OK', [FRESH], 'quick'),
    );
    const kept = cache({ maxBytes: 10_000, maxBodyBytes: 10_000 });
    const { port } = await gateway('express 5', kept, proxyPass(upstream.url));
    const slow = await rawClient(port, request('GET /slow'));
    await slow.until((text) => text.includes('hi'));
    await rawRequest(port, request('GET /quick'));
    expect(kept.stats().entries).toBe(1);
    slow.socket.destroy();
  });

  it('is given back by copies that are given up, and by such as nobody wants any more', async () => {
    const head = `HTTP/1.1 200 OK\r\n${FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const chunk = `1770\r\n${'x'.repeat(6_000)}\r\n`;
    const upstream = await rawUpstream((bytes) => {
      if (bytes.includes('/long')) return head + chunk + chunk;
      return bytes.includes('/left')
        ? `${head}${chunk}0\r\n\r\n`
        : reply('200 OK', [FRESH], 'quick');
    });
    const kept = cache({ maxBytes: 10_000, maxBodyBytes: 10_000 });
    const edit = modifyResponse(async (response, req) => {
      if (req.url !== '/left') return;
      await delay(50);
      await response.text();
    });
    const { port } = await gateway('express 5', kept, edit, proxyPass(upstream.url));
    // Still under way, and a copy no longer.
    const long = await rawClient(port, request('GET /long'));
    await long.until((text) => text.length > 12_000);
    for (let i = 0; i < 3; i++) {
      const client = await rawClient(port, request('GET /left'));
      await delay(20);
      client.socket.destroy();
      await delay(80);
    }
    await rawRequest(port, request('GET /quick'));
    expect(kept.stats().entries).toBe(1);
    long.socket.destroy();
  });

  it('is made by what has been there for longer, at the same URL as well', async () => {
    const { ask, kept } = await cached(
      () => reply('200 OK', [FRESH, 'Vary: X-Lang'], 'x'.repeat(4_000)),
      { maxBytes: 10_000 },
    );
    const entries: number[] = [];
    for (const language of ['de', 'en', 'fr']) {
      await ask('GET /page', [`X-Lang: ${language}`]);
      entries.push(kept.stats().entries);
    }
    expect(entries).toEqual([1, 2, 2]);
    expect((await ask('GET /page', ['X-Lang: fr'])).header('cache-status')).toMatch(/hit/);
  });

  it('is not made for what is larger than all of it', async () => {
    const { ask, kept } = await cached(
      (n) => reply('200 OK', [FRESH], 'x'.repeat(n === 4 ? 9_900 : 10)),
      { maxBytes: 10_000, maxBodyBytes: 10_000 },
    );
    for (const path of ['/1', '/2', '/3', '/4']) await ask(`GET ${path}`);
    expect(kept.stats().entries).toBe(3);
  });
});

describe('those who wait', () => {
  /** A gateway before an upstream that answers when it is told to, and says for which language. */
  async function held(text: (bytes: string, n: number) => string, options: CacheOptions = {}) {
    const waiting: (() => void)[] = [];
    const upstream = await rawUpstream((bytes, socket) => {
      const n = waiting.length + 1;
      waiting.push(() => void socket.write(text(bytes, n)));
      return undefined;
    });
    const { port } = await gateway('express 5', cache(options), proxyPass(upstream.url));
    const ask = (...headers: string[]) => rawRequest(port, request('GET /page', headers));
    return { waiting, ask, port };
  }

  it('do not, for what turned out to be too long the time before', async () => {
    const long = `HTTP/1.1 200 OK\r\n${FRESH}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n0\r\n\r\n`;
    const { waiting, ask } = await held(() => long, { maxBodyBytes: 2 });
    const first = ask();
    await eventually('one', () => waiting.length === 1);
    waiting[0]?.();
    await first;
    const two = [ask(), ask()];
    await eventually('both', () => waiting.length === 3);
    for (const go of waiting.slice(1)) go();
    await Promise.all(two);
  });

  it.each(['no-cache', 'max-age=0'])(
    'do not, when nothing that is kept would do: %s',
    async (cc) => {
      const { waiting, ask } = await held((_bytes, n) => reply('200 OK', [FRESH], `${n}`));
      const two = [ask(), ask(`Cache-Control: ${cc}`)];
      await eventually('both', () => waiting.length === 2);
      for (const go of waiting) go();
      await Promise.all(two);
    },
  );

  it('go one by one when what came was for others, and wait for their own from then on', async () => {
    const { waiting, ask } = await held((bytes) => {
      const [, language] = /accept-language: (\S+)/i.exec(bytes) ?? [];
      return reply('200 OK', [FRESH, 'Vary: Accept-Language'], language);
    });
    const all = ['de', 'en', 'en', 'en', 'de'].map((one) => ask(`Accept-Language: ${one}`));
    await eventually('the first', () => waiting.length === 1);
    await delay(50);
    waiting[0]?.();
    await eventually('the second', () => waiting.length === 2);
    await delay(50);
    waiting[1]?.();
    const bodies = (await Promise.all(all)).map(({ body }) => body);
    expect(bodies).toEqual(['de', 'en', 'en', 'en', 'de']);
    expect(waiting).toHaveLength(2);
  });

  it.each<[string, (pool: UpstreamPool, other: string) => void]>([
    ['removed', (pool, other) => pool.update([other])],
    [
      'put out of use',
      (pool, other) => {
        pool.upstreams[0]?.bar('held');
        pool.add(other);
      },
    ],
  ])('are in flight nowhere, and go where somebody is when theirs is %s', async (_what, change) => {
    const waiting: (() => void)[] = [];
    const slow = await rawUpstream((_bytes, socket) => {
      waiting.push(() => void socket.write(reply('200 OK', [], 'own')));
      return undefined;
    });
    const other = await rawUpstream(reply('200 OK', [], 'other'));
    const pool = new UpstreamPool([slow.url]);
    closeAfter(() => pool.close());
    const { port } = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      cache(),
      proxyPass(),
    );
    const all = [1, 2, 3].map(() => rawRequest(port, request('GET /')));
    await eventually('the first', () => waiting.length === 1);
    await delay(100);
    expect(pool.stats().map(({ inFlight }) => inFlight)).toEqual([1]);
    change(pool, other.url);
    waiting[0]?.();
    const bodies = (await Promise.all(all)).map(({ body }) => body);
    expect(bodies.sort()).toEqual(['other', 'other', 'own']);
  });

  it('are not sent to an upstream that is gone', async () => {
    const waiting: (() => void)[] = [];
    const upstream = await rawUpstream((_bytes, socket) => {
      waiting.push(() => void socket.write(reply('200 OK', [], 'own')));
      return undefined;
    });
    const pool = new UpstreamPool([upstream.url]);
    const pieces = [loadBalancer({ upstreams: pool }), cache(), proxyPass(), proxyErrors()];
    const { port } = await gateway('express 5', ...pieces);
    const all = [1, 2, 3].map(() => rawRequest(port, request('GET /')));
    await eventually('the first', () => waiting.length === 1);
    await delay(50);
    const closed = pool.close();
    waiting[0]?.();
    const statuses = (await Promise.all(all)).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 503, 503]);
    await closed;
  });

  it.each<[string, (n: number) => string, string[]]>([
    ['has it already', () => 'HTTP/1.1 304 X\r\nETag: "a"\r\n\r\n', ['If-None-Match: "a"']],
    ['is told of an error', () => reply('507 Full', [], 'x'), []],
    ['gets half of it', () => `HTTP/1.1 200 OK\r\n${FRESH}\r\nContent-Length: 9\r\n\r\nhalf`, []],
  ])('go at once when the first one %s', async (_what, text, headers) => {
    const waiting: (() => void)[] = [];
    const upstream = await rawUpstream((_bytes, socket) => {
      const n = waiting.length + 1;
      waiting.push(() => void socket.end(text(n)));
      return undefined;
    });
    const { port } = await gateway('express 5', cache(), proxyPass(upstream.url));
    const all = [1, 2, 3, 4].map(() =>
      rawRequest(port, request('GET /', headers)).catch(() => undefined),
    );
    await eventually('the first', () => waiting.length === 1);
    await delay(50);
    waiting[0]?.();
    await eventually('all others', () => waiting.length === 4);
    for (const go of waiting) go();
    await Promise.all(all);
  });

  it('leave without waking those who stay, and are sent nowhere', async () => {
    const { waiting, ask, port } = await held(() => reply('200 OK', [FRESH], 'x'));
    const first = await rawClient(port, request('GET /page'));
    await eventually('the first', () => waiting.length === 1);
    const others = await Promise.all(
      Array.from({ length: 20 }, () => rawClient(port, request('GET /page'))),
    );
    const last = ask();
    await delay(50);
    for (const client of others) client.socket.destroy();
    await delay(50);
    first.socket.destroy();
    await eventually('the second', () => waiting.length === 2);
    waiting[1]?.();
    expect((await last).body).toBe('x');
    expect(waiting).toHaveLength(2);
  });

  it('wait no more than four times: each of many would wake all others', async () => {
    const { waiting, port } = await held(() => reply('200 OK', [FRESH], 'x'));
    const clients = [];
    for (let i = 0; i < 8; i++) {
      clients.push(await rawClient(port, request('GET /page')));
      await eventually('the first', () => waiting.length === 1);
      await delay(10);
    }
    const seen: number[] = [];
    for (const client of clients.slice(0, 4)) {
      client.socket.destroy();
      await delay(50);
      seen.push(waiting.length);
    }
    expect(seen).toEqual([2, 3, 4, 8]);
    for (const client of clients) client.socket.destroy();
  });

  it('are led by one of them when the first one leaves', async () => {
    const { waiting, ask, port } = await held(() => reply('200 OK', [FRESH], 'x'));
    const first = await rawClient(port, request('GET /page'));
    await eventually('the first', () => waiting.length === 1);
    const others = Array.from({ length: 10 }, () => ask());
    await delay(50);
    first.socket.destroy();
    await eventually('the second', () => waiting.length === 2);
    await delay(50);
    waiting[1]?.();
    await Promise.all(others);
    expect(waiting).toHaveLength(2);
  });
});

describe('what the cache tells', () => {
  it('is why it has asked, in the words of RFC 9211', async () => {
    const answer: Answer = (n) => reply('200 OK', [FRESH, 'Vary: X-Lang'], `${n}`);
    const { ask, upstream } = await cached(answer);
    const stored = '; fwd-status=200; stored';
    expect(
      await saidOf(
        ask,
        [],
        ['X-Lang: de'],
        ['X-Lang: de', 'Cache-Control: no-cache'],
        ['X-Lang: de'],
        ['Authorization: me'],
        ['Range: bytes=0-1'],
      ),
    ).toEqual([
      `fwd=uri-miss${stored}`,
      `fwd=vary-miss${stored}`,
      `fwd=request${stored}`,
      'hit; ttl=60',
      'fwd=miss; fwd-status=200',
      'fwd=bypass',
    ]);
    expect(
      (await ask('GET /page', ['Cache-Control: only-if-cached', 'Range: bytes=0-1'])).status,
    ).toBe(504);
    expect(requestsOf(upstream)).toHaveLength(5);
  });

  it('is a hit when what is there is fresh, though there is no upstream', async () => {
    const upstream = await rawUpstream(reply('200 OK', [FRESH], 'x'));
    const pool = new UpstreamPool([upstream.url]);
    closeAfter(() => pool.close());
    const kept = cache();
    const pieces = [kept, loadBalancer({ upstreams: pool }), proxyPass(), proxyErrors()];
    const { port } = await gateway('express 5', ...pieces);
    await rawRequest(port, request('GET /'));
    pool.update([]);
    const hit = await rawRequest(port, request('GET /'));
    expect(hit.header('cache-status')).toMatch(/^headrace; hit; ttl=/);
    expect(kept.stats()).toMatchObject({ hits: 1, stale: 0 });
  });
});

function flip(bytes: Buffer): Buffer {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (bytes[i] as number) ^ 0x20;
  return bytes;
}

function flipping(): Transform {
  return new Transform({ transform: (chunk: Buffer, _encoding, done) => done(null, flip(chunk)) });
}

function utc(at: number): string {
  return new Date(at).toUTCString();
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

function rfc850(at: Date): string {
  const [, day, month, year = '', time] = at.toUTCString().split(' ');
  return `${DAYS[at.getUTCDay()]}, ${day}-${month}-${year.slice(2)} ${time} GMT`;
}

function asctime(at: Date): string {
  const [weekday = '', day = '', month, year, time] = at.toUTCString().split(' ');
  return `${weekday.slice(0, 3)} ${month} ${day.replace(/^0/, ' ')} ${time} ${year}`;
}

import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  type Exchange,
  exchangeOf,
  type Handler,
  type LoadBalancerOptions,
  loadBalancer,
  proxyErrors,
  proxyPass,
  type RetryOptions,
  retry,
  roundRobin,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { testClock } from '../helpers/exchanges.js';
import { load } from '../helpers/load.js';
import { chunkedUpload, onlyRequest, request, requestsOf, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  listen,
  type Middleware,
  type RawUpstream,
  rawUpstream,
  refusing,
} from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

/** Reads a whole request and closes the connection. */
const lost = (): Promise<RawUpstream> => rawUpstream((_bytes, socket) => void socket.destroy());

/** Answers every request with a status. */
const answering = (status: number, ...headers: string[]): Promise<RawUpstream> => {
  const lines = [`HTTP/1.1 ${status} Status`, ...headers, 'Content-Length: 4', '', 'sad.'];
  return rawUpstream(lines.join('\r\n'));
};

/** Answers as soon as it has got so many bytes of a body, and then takes no notice of anything. */
async function hasty(bytes: number, answer: string): Promise<{ url: string; received(): string }> {
  let received = '';
  const server = createServer((socket) => {
    let answered = false;
    closeAfter(() => socket.destroy());
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      if (answered || received.length - received.indexOf('\r\n\r\n') - 4 < bytes) return;
      answered = true;
      socket.write(answer);
    });
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, received: () => received };
}

/** A pipeline that retries at once; the exchanges that went through it. */
async function retrying(
  upstreams: readonly { url: string; priority?: number }[],
  {
    strategy = { pick: ([first]) => first },
    ...options
  }: RetryOptions & Pick<LoadBalancerOptions, 'strategy'> = {},
  before: readonly Middleware[] = [],
) {
  const exchanges: Exchange[] = [];
  const note: Handler = (req, res, next) => {
    exchanges.push(exchangeOf(req, res));
    next?.();
  };
  const balancer = loadBalancer({
    upstreams: upstreams.map(({ url, priority }) => ({ url, priority })),
    strategy,
    health: { passive: false },
  });
  closeAfter(() => balancer.close());
  const again = retry({ random: () => 0, ...options });
  const { port } = await gateway(
    'express 5',
    ...before,
    note,
    balancer,
    again,
    proxyPass({ allowTrace: true }),
    proxyErrors(),
  );
  /** What became of each try of the first request. */
  const tries = () =>
    exchanges[0]?.attempts.map(({ status, error }) => error?.code ?? status ?? 'under way');
  return { port, pool: balancer.upstreams, exchanges, tries, again };
}

/** Whether the budget had nothing left for it. */
function refused({ isOutOfRetries }: Exchange): boolean {
  return isOutOfRetries;
}

describe('what is tried again', () => {
  it.each(frameworks)('is a GET on another upstream, in %s', async (framework) => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const balancer = loadBalancer({ upstreams: [bad.url, good.url] });
    closeAfter(() => balancer.close());
    const { port } = await gateway(framework, balancer, retry(), proxyPass());
    expect(await rawRequest(port, request('GET /'))).toMatchObject({ status: 200, body: 'ok' });
  });

  it.each(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'DELETE', 'PUT'])(
    'is %s after a lost connection',
    async (method) => {
      const [bad, good] = [await lost(), await rawUpstream()];
      const { port, tries } = await retrying([bad, good]);
      expect((await rawRequest(port, request(`${method} /`))).status).toBe(200);
      expect(tries()).toEqual(['ERR_PROXY_RESET', 200]);
    },
  );

  it.each(['POST', 'PATCH', 'PROPFIND', 'LOCK'])('is not %s, which was sent', async (method) => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const { port, tries } = await retrying([bad, good]);
    expect((await rawRequest(port, request(`${method} /`))).status).toBe(502);
    expect(tries()).toEqual(['ERR_PROXY_RESET']);
    expect(good.connections()).toEqual([]);
  });

  it('is what the app names, in any case, and nothing else', async () => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const { port } = await retrying([bad, good], { methods: ['post'] });
    expect((await rawRequest(port, request('POST /'))).status).toBe(200);
    const other = await retrying([bad, good], { methods: ['post'] });
    expect((await rawRequest(other.port, request('GET /'))).status).toBe(502);
  });

  it.each([502, 503, 504])('is an idempotent request that got %d', async (status) => {
    const [bad, good] = [await answering(status), await rawUpstream()];
    const { port, tries } = await retrying([bad, good]);
    expect(await rawRequest(port, request('GET /'))).toMatchObject({ status: 200, body: 'ok' });
    expect(tries()).toEqual([status, 200]);
    const posting = await retrying([bad, good]);
    expect((await rawRequest(posting.port, request('POST /'))).status).toBe(status);
  });

  it.each([404, 429, 500, 501])('is not one that got %d, unless that is named', async (status) => {
    const [bad, good] = [await answering(status), await rawUpstream()];
    const { port } = await retrying([bad, good]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(status);
    const naming = await retrying([bad, good], { statuses: [status] });
    expect((await rawRequest(naming.port, request('GET /'))).status).toBe(200);
  });

  it('is an answer that cannot be one', async () => {
    const [bad, good] = [
      await rawUpstream('HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n'),
      await rawUpstream(),
    ];
    const { port, tries } = await retrying([bad, good]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    expect(tries()).toEqual(['ERR_PROXY_BAD_RESPONSE', 200]);
  });

  it('is an upstream that is too slow, as long as 504 is among the statuses', async () => {
    const [slow, good] = [await rawUpstream(() => undefined), await rawUpstream()];
    const pipeline = async (options: RetryOptions): Promise<number> => {
      const balancer = loadBalancer({ upstreams: [slow.url, good.url] });
      closeAfter(() => balancer.close());
      const pass = proxyPass({ headersTimeoutMs: 60 });
      const { port } = await gateway('express 5', balancer, retry(options), pass);
      return (await rawRequest(port, request('GET /'))).status;
    };
    expect(await pipeline({ random: () => 0 })).toBe(200);
    expect(await pipeline({ statuses: [503] })).toBe(504);
  });

  it.each(['POST', 'PATCH', 'LOCK'])(
    'is even %s where no connection was made, whatever its body',
    async (method) => {
      const bodies = [
        request(`${method} /`),
        upload(`${method} /`, [], 'x'.repeat(50)),
        chunkedUpload(`${method} /`, [], 'a'.repeat(30), 'b'.repeat(20)),
      ];
      for (const bytes of bodies) {
        const good = await rawUpstream();
        const { port, tries } = await retrying([{ url: await refusing() }, good], {
          bufferBodyBytes: 10,
        });
        expect((await rawRequest(port, bytes)).status).toBe(200);
        expect(tries()).toEqual(['ERR_PROXY_CONNECT', 200]);
        const { body, method: sent } = onlyRequest(good);
        expect([sent, body.length]).toEqual([method, bytes === bodies[0] ? 0 : 50]);
      }
    },
  );
});

describe('request bodies', () => {
  const forms: [string, (body: string) => string][] = [
    ['declared', (body) => upload('PUT /', [], body)],
    [
      'chunked',
      (body) =>
        chunkedUpload('PUT /', [], body.slice(0, 400), body.slice(400, 900), body.slice(900)),
    ],
  ];
  const text = Array.from({ length: 1_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('');

  it.each(forms)('are sent again whole when they fit, %s', async (_form, bytes) => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const { port, exchanges } = await retrying([bad, good], { bufferBodyBytes: 1_000 });
    expect((await rawRequest(port, bytes(text))).status).toBe(200);
    expect(onlyRequest(bad).body).toBe(text);
    expect(onlyRequest(good).body).toBe(text);
    expect(exchanges[0]?.bytesSent).toBe(2_000);
  });

  it.each(forms)('are not sent again when they do not fit, %s', async (_form, bytes) => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const { port, tries } = await retrying([bad, good], { bufferBodyBytes: 999 });
    expect((await rawRequest(port, bytes(text))).status).toBe(502);
    expect(onlyRequest(bad).body).toBe(text);
    expect(tries()).toEqual(['ERR_PROXY_RESET']);
    expect(good.connections()).toEqual([]);
  });

  it('stream past to the first upstream without being collected before', async () => {
    let seen = '';
    const first = await rawUpstream();
    first.sockets.length = 0;
    const { port } = await retrying([first]);
    const client = await rawClient(
      port,
      'PUT / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 10\r\n\r\nfirst',
    );
    await eventually('the first half', () => {
      seen = first.received();
      return seen.endsWith('first');
    });
    client.write('later');
    await client.until((answer) => answer.includes('200 OK'));
    expect(onlyRequest(first).body).toBe('firstlater');
  });

  it.each(['Content-Length: 4', 'Content-Length: 30000', 'Connection: close'])(
    'go on where they were when upstreams refuse in the middle, with %s',
    async (framing) => {
      const answer = `HTTP/1.1 503 Busy\r\n${framing}\r\n\r\nbusy`;
      const [first, second] = [await hasty(200, answer), await hasty(600, answer)];
      const good = await rawUpstream();
      const { port, tries } = await retrying([first, second, good]);
      const head = 'PUT / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1000\r\n\r\n';
      const client = await rawClient(port, head + text.slice(0, 300));
      await eventually('the second try', () => second.received().endsWith(text.slice(0, 300)));
      client.write(text.slice(300, 700));
      await eventually('the third try', () => good.received().endsWith(text.slice(0, 700)));
      client.write(text.slice(700));
      await client.until((received) => received.includes('200 OK'));
      expect(onlyRequest(good).body).toBe(text);
      expect(tries()).toEqual([503, 503, 200]);
    },
  );

  it('go on where they were behind upstreams that refuse, though somebody else listens', async () => {
    const tap: Middleware = (req, _res, next) => {
      req.on('data', () => {});
      next?.();
    };
    const busy = () => answering(503);
    const upstreams = [{ url: await refusing() }, await busy(), await busy(), await rawUpstream()];
    const good = upstreams[3] as RawUpstream;
    const { port, tries, exchanges } = await retrying(upstreams, { retries: 3 }, [tap]);
    const client = await rawClient(port, request('PUT /', ['Transfer-Encoding: chunked']));
    for (let at = 0; at < text.length; at += 250) {
      client.write(`fa\r\n${text.slice(at, at + 250)}\r\n`);
      await delay(20);
    }
    client.write('0\r\n\r\n');
    await client.until((received) => received.includes('200 OK'));
    expect(onlyRequest(good).body).toBe(text);
    expect(tries()).toEqual(['ERR_PROXY_CONNECT', 503, 503, 200]);
    // None for each try: Node warns of more than ten.
    expect(exchanges[0]?.req.listenerCount('error')).toBeLessThan(3);
  });

  it('that middleware has parsed are written again, however long they are', async () => {
    const [bad, good] = [await lost(), await rawUpstream()];
    const options = { methods: ['POST'], bufferBodyBytes: 0 };
    const { port } = await retrying([bad, good], options, [express.json()]);
    const json = JSON.stringify({ text });
    const sent = upload('POST /', ['Content-Type: application/json'], json);
    expect((await rawRequest(port, sent)).status).toBe(200);
    expect(onlyRequest(good).body).toBe(json);
  });
});

describe('where a retry goes', () => {
  it('is to another upstream each time while there is one, then to one that was tried', async () => {
    const upstreams = [await answering(503), await answering(503), await answering(503)];
    const { port, exchanges } = await retrying(upstreams, { retries: 4, budget: false });
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url) ?? [];
    expect(new Set(order.slice(0, 3)).size).toBe(3);
    expect(order).toHaveLength(5);
  });

  it('is to the same one where there is no other, pool or none', async () => {
    let requests = 0;
    const second = await rawUpstream(() => {
      const status = requests++ === 0 ? '503 Busy' : '200 OK';
      return `HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`;
    });
    const { port } = await retrying([second]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    requests = 0;
    const fixed = await gateway('express 5', retry({ random: () => 0 }), proxyPass(second.url));
    expect((await rawRequest(fixed.port, request('GET /'))).status).toBe(200);
  });

  it('moves what is in flight along, and leaves nothing behind', async () => {
    const [bad, good] = [await lost(), await rawUpstream(() => undefined)];
    const { port, pool } = await retrying([bad, good]);
    const client = await rawClient(port, request('GET /'));
    await eventually('the second try', () => requestsOf(good).length === 1);
    expect(pool.stats().map(({ inFlight }) => inFlight)).toEqual([0, 1]);
    client.socket.destroy();
    await eventually('the end', () => pool.stats().every(({ inFlight }) => inFlight === 0));
  });

  it('stays counted where nothing else may be chosen', async () => {
    let respond = (): void => {};
    const slow = await rawUpstream((_bytes, socket) => {
      respond = () => void socket.write('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n');
      return undefined;
    });
    const { port, pool } = await retrying([slow], { retries: 1 });
    const answered = rawRequest(port, request('GET /'));
    await eventually('the first try', () => requestsOf(slow).length === 1);
    pool.upstreams[0]?.bar('unhealthy');
    respond();
    await eventually('the second try', () => requestsOf(slow).length === 2);
    expect(pool.stats()).toMatchObject([{ inFlight: 1 }]);
    respond();
    expect((await answered).status).toBe(503);
    await eventually('the end', () => pool.stats()[0]?.inFlight === 0);
  });

  it('is nowhere where the only one has been removed meanwhile: it is done with, and stays so', async () => {
    const told: string[] = [];
    const removed: RawUpstream = await rawUpstream(() => {
      told.push('asked');
      pool.remove(removed.url);
      return 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nsad.';
    });
    const { port, pool } = await retrying([removed]);
    pool.on('drained', () => told.push('drained'));
    expect(await rawRequest(port, request('GET /'))).toMatchObject({ status: 503, body: 'sad.' });
    await eventually('the end', () => told.includes('drained'));
    expect([told, pool.draining]).toEqual([['asked', 'drained'], []]);
  });

  it('is nowhere where the pool has been closed meanwhile: nobody would close its connections again', async () => {
    const last = await rawUpstream(() => {
      void pool.close();
      return 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nsad.';
    });
    const { port, pool } = await retrying([last]);
    expect(await rawRequest(port, request('GET /'))).toMatchObject({ status: 503, body: 'sad.' });
    expect(requestsOf(last)).toHaveLength(1);
  });

  it('is to what has come in place of one that was removed', async () => {
    const next = await rawUpstream();
    const removed: RawUpstream = await rawUpstream(() => {
      pool.update([next.url]);
      return 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nsad.';
    });
    const { port, pool } = await retrying([removed]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    expect(requestsOf(removed)).toHaveLength(1);
  });

  it('is past one that wants to be left alone for longer, to one that was tried before', async () => {
    const [first, second] = [await answering(503), await answering(503, 'Retry-After: 60')];
    const third = await answering(503);
    const upstreams = [second, first, third];
    const { port, exchanges } = await retrying(upstreams, { retries: 4, budget: false });
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url);
    expect(order).toEqual([second.url, first.url, third.url, first.url, third.url]);
  });

  it('is not to the one that just failed while there is another', async () => {
    const [first, second] = [await answering(503), await answering(503)];
    const { port, exchanges } = await retrying([first, second], { retries: 3, budget: false });
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url);
    expect(order).toEqual([first.url, second.url, first.url, second.url]);
  });

  it('is to the same one again where the other wants to be left alone for longer', async () => {
    const [first, second] = [await answering(503, 'Retry-After: 60'), await answering(503)];
    const { port, exchanges } = await retrying([first, second]);
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url);
    expect(order).toEqual([first.url, second.url, second.url]);
  });

  it('is to those in reserve when all others were tried, and to the others again after that', async () => {
    const upstreams = [await answering(503), await answering(503), await answering(503)];
    const list = upstreams.map(({ url }, i) => ({ url, priority: i === 0 ? 1 : 0 }));
    const { port, exchanges } = await retrying(list, { retries: 4, budget: false });
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url);
    expect(order).toEqual([1, 2, 0, 1, 2].map((i) => upstreams[i]?.url));
  });

  it('is to the reserve where all before it are down, at every request', async () => {
    const down = [{ url: await refusing() }, { url: await refusing() }];
    const reserve = { ...(await rawUpstream()), priority: 1 };
    const { port } = await retrying([...down, reserve], { budget: false });
    const { statuses } = await load(port, { more: (sent) => sent < 20 });
    expect(statuses).toEqual({ 200: 20 });
  });

  it('is nowhere where all want to be left alone for longer, whoever said so last', async () => {
    const upstreams = [
      await answering(503, 'Retry-After: 60'),
      await answering(503, 'Retry-After: 50'),
    ];
    const { port, exchanges } = await retrying(upstreams, { retries: 5 });
    expect((await rawRequest(port, request('GET /'))).header('retry-after')).toBe('50');
    expect(exchanges[0]?.attempts).toHaveLength(2);
  });

  it('is nowhere where the last one is out, and the others want to be left alone', async () => {
    const busy = await answering(503, 'Retry-After: 60');
    const removed: RawUpstream = await rawUpstream(() => {
      pool.remove(removed.url);
      return 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nsad.';
    });
    const { port, pool, exchanges } = await retrying([busy, removed]);
    await rawRequest(port, request('GET /'));
    const order = exchanges[0]?.attempts.map(({ upstream }) => upstream.url);
    expect(order).toEqual([busy.url, removed.url]);
  });
});

describe('when it ends', () => {
  it('is after two retries by default, with the last answer', async () => {
    const upstreams = [await answering(502), await answering(503), await answering(504)];
    const { port, tries } = await retrying(upstreams);
    const answer = await rawRequest(port, request('GET /'));
    expect(tries()).toEqual([502, 503, 504]);
    expect(answer).toMatchObject({ status: 504, body: 'sad.' });
  });

  it('is with the last error where there was no answer', async () => {
    const { port, tries } = await retrying([
      await answering(503),
      await lost(),
      { url: await refusing() },
    ]);
    const { body } = await rawRequest(port, request('GET /'));
    expect(tries()).toEqual([503, 'ERR_PROXY_RESET', 'ERR_PROXY_CONNECT']);
    expect(JSON.parse(body).code).toBe('ERR_PROXY_CONNECT');
  });

  it('is at once with no retries', async () => {
    const { port, tries } = await retrying([await lost(), await rawUpstream()], { retries: 0 });
    expect((await rawRequest(port, request('GET /'))).status).toBe(502);
    expect(tries()).toHaveLength(1);
  });

  it('is once an answer has begun: a body that breaks off is not begun anew', async () => {
    const broken = await rawUpstream((_bytes, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning', () =>
        socket.destroy(),
      );
      return undefined;
    });
    const good = await rawUpstream();
    const { port, tries } = await retrying([broken, good]);
    const client = await rawClient(port, request('GET /'));
    const received = await client.closed();
    expect(received).toContain('the beginning');
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(tries()).toEqual(['ERR_PROXY_RESET']);
    expect(good.connections()).toEqual([]);
  });

  it('is when the client leaves, in the middle of a try', async () => {
    const slow = await rawUpstream(() => undefined);
    const good = await rawUpstream();
    const { port, exchanges, tries } = await retrying([slow, good]);
    const client = await rawClient(port, request('GET /'));
    await eventually('the first try', () => requestsOf(slow).length === 1);
    client.socket.destroy();
    await eventually('the outcome', () => exchanges[0]?.outcome !== undefined);
    await settled(() => good.received().length, 50);
    expect(tries()).toEqual(['ERR_PROXY_CLIENT_CLOSED']);
    expect(good.connections()).toEqual([]);
  });

  it('is when the client leaves, in the middle of a pause', async () => {
    const [bad, good] = [await answering(503), await rawUpstream()];
    const backoff = { baseMs: 150, maxMs: 150 };
    const { port, exchanges } = await retrying([bad, good], { backoff, random: () => 1 });
    const client = await rawClient(port, request('GET /'));
    await eventually('the first try', () => exchanges[0]?.attempts[0]?.status === 503);
    client.socket.destroy();
    await eventually('the outcome', () => exchanges[0]?.outcome !== undefined);
    await settled(() => good.received().length, 250);
    expect(`${exchanges[0]?.outcome}`).toBe('client-closed');
    expect(good.connections()).toEqual([]);
  });
});

describe('pauses', () => {
  /** The pauses between the tries of one request, in milliseconds: the shortest of four, as a machine may be slow. */
  async function pauses(options: RetryOptions): Promise<number[]> {
    const { port, exchanges } = await retrying([{ url: await refusing() }], options);
    for (let i = 0; i < 4; i++) await rawRequest(port, request('GET /'));
    const each = exchanges.map(({ attempts }) =>
      attempts.slice(1).map(({ startedAt }, i) => startedAt - (attempts[i]?.startedAt ?? 0)),
    );
    expect(each).toHaveLength(4);
    return (each[0] ?? []).map((_ms, i) => Math.min(...each.map((ms) => ms[i] ?? 0)));
  }

  it('double up to their limit, and chance takes its part', async () => {
    const options = { retries: 4, budget: false, backoff: { baseMs: 40, maxMs: 100 } } as const;
    const full = await pauses({ ...options, random: () => 1 });
    expect(full).toHaveLength(4);
    // A timer of Node may be a millisecond early.
    for (const [i, ms] of [40, 80, 100, 100].entries()) {
      expect(full[i]).toBeGreaterThan(ms - 2);
      expect(full[i]).toBeLessThan(ms + 58);
    }
    const half = await pauses({ ...options, random: () => 0.5 });
    expect(half[1]).toBeGreaterThan(38);
    expect(half[1]).toBeLessThan(75);
    const none = await pauses({ ...options, random: () => 0 });
    expect(Math.max(...none)).toBeLessThan(38);
  });

  it('are as long as the upstream asks for', async () => {
    let requests = 0;
    const busy = await rawUpstream(() =>
      requests++ === 0
        ? 'HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n'
        : 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    );
    const { port, exchanges } = await retrying([busy]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    const [first, second] = exchanges[0]?.attempts ?? [];
    expect((second?.startedAt ?? 0) - (first?.headAt ?? 0)).toBeGreaterThan(998);
  });

  it('are as long as an upstream has asked for, also when another was tried in between', async () => {
    const busy = await answering(503, 'Retry-After: 1');
    const { port, exchanges } = await retrying([busy, await answering(503)]);
    await rawRequest(port, request('GET /'));
    const [first, second, third] = exchanges[0]?.attempts ?? [];
    expect(third?.upstream.url).toBe(busy.url);
    expect((second?.startedAt ?? 0) - (first?.headAt ?? 0)).toBeLessThan(500);
    expect((third?.startedAt ?? 0) - (first?.headAt ?? 0)).toBeGreaterThan(998);
  });

  it.each(['2', 'Fri, 31 Dec 9999 23:59:59 GMT'])(
    'longer than the limit are not waited for: Retry-After: %s',
    async (value) => {
      const { port, tries } = await retrying([await answering(503, `Retry-After: ${value}`)]);
      const answer = await rawRequest(port, request('GET /'));
      expect([answer.status, answer.header('retry-after')]).toEqual([503, value]);
      expect(tries()).toEqual([503]);
    },
  );

  it.each(['0', 'Thu, 01 Jan 1970 00:00:00 GMT', 'soon', '-1', ''])(
    'that are over, or make no sense, do not hold up: Retry-After: %j',
    async (value) => {
      const { port, tries } = await retrying([await answering(503, `Retry-After: ${value}`)]);
      await rawRequest(port, request('GET /'));
      expect(tries()).toEqual([503, 503, 503]);
    },
  );

  it('that one upstream asks for are not made before another is asked', async () => {
    const busy = await answering(503, 'Retry-After: 100');
    const { port } = await retrying([busy, await rawUpstream()]);
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
  });
});

describe('the budget', () => {
  it('lets failing requests cause a fifth as many retries and the free ones, no more', async () => {
    const down = [{ url: await refusing() }, { url: await refusing() }, { url: await refusing() }];
    const { port, pool } = await retrying(down, { now: testClock() });
    const { statuses } = await load(port, { more: (sent) => sent < 200 });
    expect(statuses).toEqual({ 502: 200 });
    const tries = pool.stats().reduce((sum, { requests }) => sum + requests, 0);
    expect(tries - 200).toBeLessThanOrEqual(43);
    expect(tries - 200).toBeGreaterThanOrEqual(40);
  });

  it('can be set, and turned off', async () => {
    const count = async (budget: RetryOptions['budget']): Promise<number> => {
      const { port, pool } = await retrying([{ url: await refusing() }], {
        budget,
        now: testClock(),
      });
      await load(port, { more: (sent) => sent < 20, clients: 4 });
      return (pool.stats()[0]?.requests ?? 0) - 20;
    };
    expect(await count({ ratio: 0, minPerSecond: 0 })).toBe(0);
    expect(await count({ ratio: 0, minPerSecond: 7 })).toBe(7);
    expect(await count({ ratio: 0.5, minPerSecond: 0 })).toBe(10);
    expect(await count(false)).toBe(40);
  });

  it('gives the client the answer that there was when it is used up', async () => {
    const bad = await answering(503);
    const { port } = await retrying([bad, await rawUpstream()], {
      budget: { ratio: 0, minPerSecond: 0 },
    });
    const answer = await rawRequest(port, request('GET /'));
    expect(answer).toMatchObject({ status: 503, body: 'sad.' });
  });

  it('does not pay for what is not tried again, as the upstream wants to be left alone', async () => {
    const busy = await answering(503, 'Retry-After: 60');
    const budget = { ratio: 0, minPerSecond: 1 };
    const { port, exchanges, again } = await retrying([busy], { budget, now: testClock() });
    for (let i = 0; i < 3; i++) await rawRequest(port, request('GET /'));
    expect([again.retriesLeft, exchanges.map(refused)]).toEqual([1, [false, false, false]]);
  });

  it('takes no turn of an upstream, and leaves the request where its answer is from, when it is used up', async () => {
    const [bad, good] = [await answering(503), await rawUpstream()];
    const budget = { ratio: 0, minPerSecond: 0 };
    const { port, exchanges } = await retrying([bad, good], { budget, strategy: roundRobin() });
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await rawRequest(port, request('GET /'))).status);
    expect(statuses.sort()).toEqual([200, 200, 503, 503]);
    for (const exchange of exchanges.filter(refused)) {
      expect([exchange.upstream?.url, exchange.attempts.length]).toEqual([bad.url, 1]);
    }
    expect(exchanges.filter(refused)).toHaveLength(2);
  });
});

describe('options of retry', () => {
  it.each<[unknown, string]>([
    [null, 'options must be an object, received null'],
    [{ retris: 3 }, 'unknown option "retris", did you mean "retries"?'],
    [{ retries: -1 }, 'retries must be a whole number of at least 0, received -1'],
    [{ retries: '2' }, 'retries must be a whole number, received "2"'],
    [{ methods: 'GET' }, 'methods must be an array, received "GET"'],
    [{ methods: ['GET', 'P ST'] }, 'methods[1] must be a method, received "P ST"'],
    [{ methods: [5] }, 'methods[0] must be a method, received 5'],
    [{ statuses: 503 }, 'statuses must be an array, received 503'],
    [{ statuses: [503, 200] }, 'statuses[1] must be a whole number from 400 to 599, received 200'],
    [{ budget: true }, 'budget: options must be an object, received true'],
    [{ budget: { ratio: 2 } }, 'budget.ratio must be a number from 0 to 1, received 2'],
    [{ budget: { minPerSecond: 0.5 } }, 'budget.minPerSecond must be a whole number of at least 0'],
    [{ budget: { rate: 1 } }, 'budget: unknown option "rate", did you mean "ratio"?'],
    [{ backoff: { baseMs: -1 } }, 'backoff.baseMs must be a whole number from 0 to 2147483647'],
    [{ backoff: { baseMs: 50, maxMs: 49 } }, 'backoff.maxMs must be a whole number from 50 to'],
    [{ backoff: { baseMs: '25' } }, 'backoff.baseMs must be a whole number, received "25"'],
    [{ bufferBodyBytes: -1 }, 'bufferBodyBytes must be a whole number of at least 0, received -1'],
    [{ bufferBodyBytes: '64kb' }, 'bufferBodyBytes must be a whole number, received "64kb"'],
    [{ now: 1 }, 'now must be a function, received 1'],
    [{ random: 1 }, 'random must be a function, received 1'],
  ])('refuse %j', (options, message) => {
    const make = () => retry(options as RetryOptions);
    expect(make).toThrow(/^retry: /);
    expect(make).toThrow(message);
  });

  it('let the longest wait grow with the first', () => {
    expect(() => retry({ backoff: { baseMs: 2_000 } })).not.toThrow();
  });

  it('take undefined for the default', () => {
    const options = {
      retries: undefined,
      methods: undefined,
      budget: undefined,
      backoff: undefined,
    };
    expect(() => retry(options)).not.toThrow();
  });
});

import type { Socket } from 'node:net';
import { describe, expect, it, jest } from '@jest/globals';
import express from 'express';
import {
  type CallResult,
  type CircuitBreakerOptions,
  circuitBreaker,
  type Exchange,
  exchangeOf,
  type Handler,
  loadBalancer,
  modifyResponse,
  OverloadedError,
  type ProxyPassOptions,
  proxyPass,
  retry,
  Upstream,
  UpstreamPool,
} from 'headrace';
import { blackHole } from '../helpers/black-hole.js';
import { type RawResponse, rawClient, rawRequest } from '../helpers/client.js';
import { testClock } from '../helpers/exchanges.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request, upload } from '../helpers/requests.js';
import {
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  type Middleware,
  OK,
  rawUpstream,
  refusing,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = request('GET /');
const answerOf = (status: number): string =>
  `HTTP/1.1 ${status} Status\r\nContent-Length: 4\r\n\r\nsad.`;

/** What an upstream does with a request: answers with these bytes, breaks the connection, or nothing. */
type Mood = string | 'reset' | 'hang';

/** An upstream that can change its mind. */
interface Moody {
  readonly url: string;
  mood: Mood;
  /** Requests so far. */
  seen: number;
  /** The connections of requests that hang. */
  readonly waiting: Socket[];
}

async function moody(mood: Mood = OK): Promise<Moody> {
  const waiting: Socket[] = [];
  const { url } = await rawUpstream((_request, socket) => {
    upstream.seen += 1;
    if (upstream.mood === 'reset') socket.destroy();
    else if (upstream.mood === 'hang') waiting.push(socket);
    else return upstream.mood;
    return undefined;
  });
  const upstream: Moody = { url, mood, seen: 0, waiting };
  return upstream;
}

interface Setting {
  readonly framework?: Framework;
  readonly breaker?: CircuitBreakerOptions;
  readonly pass?: ProxyPassOptions;
  /** Pieces before and after the breaker. */
  readonly before?: readonly Middleware[];
  readonly after?: readonly Middleware[];
}

/** A gateway with a breaker that opens at the fourth of four failures, and a clock of its own. */
async function guarded(upstreams: readonly { url: string }[], setting: Setting = {}) {
  const { framework = 'express 5', breaker, pass, before = [], after = [] } = setting;
  const clock = testClock();
  const exchanges: Exchange[] = [];
  const states: string[] = [];
  const { errors, record } = recordErrors();
  const note: Handler = (req, res, next) => {
    exchanges.push(exchangeOf(req, res));
    next?.();
  };
  const pool = new UpstreamPool(
    upstreams.map(({ url }) => url),
    { health: { passive: false } },
  );
  closeAfter(() => pool.close());
  const guard = circuitBreaker({
    volumeThreshold: 4,
    now: clock,
    onStateChange: ({ state }) => void states.push(state),
    ...breaker,
  });
  closeAfter(() => guard.close());
  const { port } = await gateway(
    framework,
    note,
    loadBalancer({ upstreams: pool }),
    ...before,
    guard,
    ...after,
    proxyPass(pass ?? {}),
    record,
  );
  /** The answers to so many requests at once, as their statuses and bodies, sorted. */
  const ask = async (count: number, bytes = GET): Promise<string[]> => {
    const asked = Array.from({ length: count }, () => rawRequest(port, bytes));
    return (await Promise.all(asked)).map(({ status, body }) => `${status} ${body}`).sort();
  };
  const circuits = () => pool.stats().map(({ circuit }) => circuit?.state);
  const open = async (): Promise<void> => {
    for (const upstream of upstreams as Moody[]) upstream.mood = 'reset';
    while (pool.eligible.length > 0) await ask(1);
    states.length = 0;
  };
  return { port, pool, clock, exchanges, errors, states, ask, circuits, open };
}

describe('circuitBreaker', () => {
  it.each(frameworks)('opens in %s, and the upstream sees nothing more', async (framework) => {
    const upstream = await moody('reset');
    const { ask, port, states } = await guarded([upstream], { framework });
    const seen: number[] = [];
    for (let i = 0; i < 4; i++) seen.push((await rawRequest(port, GET)).status);
    const refused = await rawRequest(port, upload('POST /', [], 'a body that nobody reads'));
    expect([...seen, refused.status]).toEqual([502, 502, 502, 502, 503]);
    expect(refused.header('retry-after')).toBe('10');
    expect(new Set(await ask(20))).toHaveProperty('size', 1);
    expect([upstream.seen, states]).toEqual([4, ['open']]);
  });

  it('guards a single target, whose answer says when it makes sense to come again', async () => {
    const upstream = await moody(answerOf(500));
    const clock = testClock();
    const { errors, record } = recordErrors();
    const { port } = await gateway(
      'express 5',
      circuitBreaker({ volumeThreshold: 2, resetTimeoutMs: 9_500, now: clock }),
      proxyPass(upstream.url),
      record,
    );
    await rawRequest(port, GET);
    await rawRequest(port, GET);
    const answers: (string | undefined)[] = [];
    for (const ms of [0, 500, 1, 8_998]) {
      clock.advance(ms);
      answers.push((await rawRequest(port, GET)).header('retry-after'));
    }
    expect(answers).toEqual(['10', '9', '9', '1']);
    expect(errors.map(({ code, upstream: of }) => [code, of?.url])).toEqual(
      answers.map(() => ['ERR_PROXY_CIRCUIT_OPEN', upstream.url]),
    );
    expect(upstream.seen).toBe(2);
    clock.advance(1);
    expect((await rawRequest(port, GET)).status).toBe(500);
  });

  it('does not begin a try, nor read the body, of what it refuses', async () => {
    const upstream = await moody('reset');
    const exchanges: Exchange[] = [];
    const note: Handler = (req, res, next) => {
      exchanges.push(exchangeOf(req, res));
      next?.();
    };
    const breaker = circuitBreaker({ volumeThreshold: 1 });
    const pass = proxyPass(upstream.url);
    const { port } = await gateway('express 5', note, breaker, pass, recordErrors().record);
    await rawRequest(port, GET);
    const client = await rawClient(port, request('POST /', ['Content-Length: 9'], 'half'));
    await client.until((text) => text.startsWith('HTTP/1.1 503'));
    expect(exchanges[1]).toMatchObject({ attempts: [], bytesSent: 0 });
    expect(upstream.seen).toBe(1);
  });

  it('opens once for two hundred failures at once, at the moment of the fourth', async () => {
    const upstream = await moody('hang');
    const { ask, states, clock, pool, exchanges } = await guarded([upstream]);
    const answers = ask(200);
    await eventually('all are there', () => upstream.waiting.length === 200);
    upstream.waiting.slice(0, 100).map((socket) => socket.destroy());
    await eventually('it opens', () => states.length > 0);
    clock.advance(3_000);
    upstream.waiting.slice(100).map((socket) => socket.destroy());
    expect(new Set(await answers)).toEqual(new Set(['502 ERR_PROXY_RESET']));
    expect(states).toEqual(['open']);
    expect(pool.stats()[0]?.circuit).toMatchObject({ state: 'open', openedAt: 1_000 });
    expect(exchanges).toHaveLength(200);
  });
});

describe('what counts as a failure', () => {
  /** Whether four such answers open the circuit. */
  const opens = async (mood: Mood, breaker: CircuitBreakerOptions = {}): Promise<boolean> => {
    const { ask, states } = await guarded([await moody(mood)], {
      breaker,
      pass: { headersTimeoutMs: 100 },
    });
    await ask(4);
    return states.includes('open');
  };

  it.each([500, 502, 503, 504, 599])('is the status %d', async (status) => {
    expect(await opens(answerOf(status))).toBe(true);
  });

  it.each([200, 301, 400, 401, 404, 408, 429, 499])('is not the status %d', async (status) => {
    expect(await opens(answerOf(status))).toBe(false);
  });

  it.each(['reset', 'hang', 'no HTTP\r\n\r\n'])('is %j in place of an answer', async (mood) => {
    expect(await opens(mood)).toBe(true);
  });

  it('is a connection that is refused, or is not there in time', async () => {
    const refused = await guarded([{ url: await refusing() }]);
    expect(new Set(await refused.ask(4))).toEqual(new Set(['502 ERR_PROXY_CONNECT']));
    expect(refused.states).toEqual(['open']);

    const silent = await guarded([await blackHole()], { pass: { connectTimeoutMs: 100 } });
    expect(new Set(await silent.ask(4))).toEqual(new Set(['504 ERR_PROXY_CONNECT_TIMEOUT']));
    expect(silent.states).toEqual(['open']);
  });

  it('is not a client that leaves', async () => {
    const upstream = await moody('hang');
    const { port, exchanges, states, ask, circuits } = await guarded([upstream]);
    const clients = await Promise.all(Array.from({ length: 20 }, () => rawClient(port, GET)));
    await eventually('all are there', () => upstream.seen === 20);
    for (const { socket } of clients) socket.destroy();
    await eventually('all have left', () => exchanges.every(({ outcome }) => outcome));
    upstream.mood = OK;
    expect(await ask(1)).toEqual(['200 ok']);
    expect([states, circuits()]).toEqual([[], ['closed']]);
  });

  it('is not an upload that is too large or stands still, nor what another piece refuses', async () => {
    const overloaded: Handler = (req, res, next) => {
      exchangeOf(req, res).around(async (exchange, send) => {
        if (exchange.path === '/overloaded') throw new OverloadedError();
        if (exchange.path === '/broken') throw new Error('a wrapper of the app');
        return send();
      });
      next?.();
    };
    const { states, ask, port } = await guarded([await moody('hang')], {
      after: [overloaded],
      pass: { maxBodyBytes: 3, bodyTimeoutMs: 100 },
    });
    expect(new Set(await ask(8, request('GET /overloaded')))).toEqual(
      new Set(['503 ERR_PROXY_OVERLOADED']),
    );
    await ask(8, request('GET /broken'));
    expect(new Set(await ask(8, upload('POST /', [], 'long')))).toEqual(
      new Set(['413 ERR_PROXY_BODY_TOO_LARGE']),
    );
    const stalled = request('POST /', ['Content-Length: 3'], 'a');
    const answers = await Promise.all([1, 2, 3, 4].map(() => rawRequest(port, stalled)));
    expect(answers.map(({ status }) => status)).toEqual([408, 408, 408, 408]);
    expect(states).toEqual([]);
  });

  it('is not a body that breaks off after its head: the verdict was given with that', async () => {
    const half = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf';
    const upstream = await moody(half);
    const { port, exchanges, states } = await guarded([upstream]);
    for (let i = 0; i < 8; i++) {
      const client = await rawClient(port, GET);
      await client.until((text) => text.includes('half'));
      client.socket.destroy();
    }
    await eventually('the ends', () => exchanges.every(({ outcome }) => outcome));
    expect(states).toEqual([]);
  });

  it('is what isFailure says, of answers and of errors', async () => {
    const asked: CallResult[] = [];
    const isFailure = (result: CallResult): boolean => {
      asked.push(result);
      return result.status === 404;
    };
    expect(await opens(answerOf(404), { isFailure })).toBe(true);
    expect(await opens(answerOf(503), { isFailure })).toBe(false);
    expect(await opens('reset', { isFailure })).toBe(false);
    expect(asked.map(({ status }) => status)).toEqual(
      [404, 503, 502].flatMap((status) => [status, status, status, status]),
    );
    expect(await opens('reset', { isFailure: (result) => 'code' in result })).toBe(true);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('isFailure');
      },
    ],
    ['gives a promise', async () => false],
    [
      'gives a promise that rejects',
      async () => {
        throw new Error('isFailure');
      },
    ],
  ])('is the usual where isFailure %s, and the app is warned once', async (_, isFailure) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const options = { isFailure: isFailure as () => boolean };
    expect(await opens(answerOf(503), options)).toBe(true);
    expect(await opens(answerOf(404), options)).toBe(false);
    expect(warn).toHaveBeenCalledTimes(2);
    expect(String(warn.mock.calls[0]?.[0])).toMatch('isFailure');
    warn.mockRestore();
  });
});

describe('half-open', () => {
  it('shows the upstream exactly one of two hundred requests at once, whose success closes', async () => {
    const upstream = await moody();
    const { open, clock, ask, states, circuits } = await guarded([upstream]);
    await open();
    Object.assign(upstream, { mood: 'hang', seen: 0 });
    clock.advance(10_000);
    const answers = ask(200);
    await eventually('the probe', () => upstream.waiting.length > 0);
    expect(await ask(100)).toEqual(Array(100).fill('503 ERR_PROXY_CIRCUIT_OPEN'));
    expect([upstream.seen, circuits()]).toEqual([1, ['half-open']]);
    upstream.waiting[0]?.write(OK);
    const [first, ...others] = await answers;
    expect([first, new Set(others)]).toEqual(['200 ok', new Set(['503 ERR_PROXY_CIRCUIT_OPEN'])]);
    expect([upstream.seen, states]).toEqual([1, ['half-open', 'closed']]);
    upstream.mood = OK;
    expect(await ask(50)).toEqual(Array(50).fill('200 ok'));
  });

  it('opens again with the failure of the probe', async () => {
    const upstream = await moody();
    const { open, clock, ask, states } = await guarded([upstream]);
    await open();
    upstream.seen = 0;
    upstream.mood = answerOf(500);
    clock.advance(10_000);
    expect(await ask(1)).toEqual(['500 sad.']);
    expect(await ask(20)).toEqual(Array(20).fill('503 ERR_PROXY_CIRCUIT_OPEN'));
    expect([upstream.seen, states]).toEqual([1, ['half-open', 'open']]);
  });

  it('takes an answer that is the client\u2019s fault for a good one', async () => {
    const upstream = await moody();
    const { open, clock, ask, circuits } = await guarded([upstream]);
    await open();
    upstream.mood = answerOf(404);
    clock.advance(10_000);
    expect(await ask(1)).toEqual(['404 sad.']);
    expect(circuits()).toEqual(['closed']);
  });

  it('gives the place of a probe whose client leaves to the next one', async () => {
    const upstream = await moody();
    const { open, clock, port, ask, exchanges, circuits } = await guarded([upstream]);
    await open();
    Object.assign(upstream, { mood: 'hang', seen: 0 });
    clock.advance(10_000);
    for (let i = 1; i <= 3; i++) {
      const { socket } = await rawClient(port, GET);
      await eventually('the probe', () => upstream.seen === i);
      expect(await ask(3)).toEqual(Array(3).fill('503 ERR_PROXY_CIRCUIT_OPEN'));
      socket.destroy();
      await eventually('its end', () => exchanges.every(({ outcome }) => outcome));
    }
    expect(circuits()).toEqual(['half-open']);
    upstream.mood = OK;
    expect(await ask(1)).toEqual(['200 ok']);
    expect([upstream.seen, circuits()]).toEqual([4, ['closed']]);
  });

  it('gives it on when an upload keeps the probe from having an answer, whose word counts later on', async () => {
    const upstream = await moody();
    const { open, clock, port, pool, ask, circuits, states } = await guarded([upstream]);
    await open();
    Object.assign(upstream, { mood: 'hang', seen: 0 });
    clock.advance(10_000);
    const slow = await rawClient(port, request('POST /', ['Content-Length: 3'], 'a'));
    await eventually('the probe', () => circuits()[0] === 'half-open');
    await eventually('its place is taken', () => pool.eligible.length === 0);
    expect(await ask(1)).toEqual(['503 ERR_PROXY_CIRCUIT_OPEN']);
    clock.advance(10_000);
    const { socket } = await rawClient(port, GET);
    await eventually('another probe', () => upstream.waiting.length === 1);
    expect(await ask(1)).toEqual(['503 ERR_PROXY_CIRCUIT_OPEN']);
    upstream.mood = OK;
    slow.socket.write('bc');
    await slow.until((text) => text.includes('200 OK'));
    expect([circuits(), states]).toEqual([['closed'], ['half-open', 'closed']]);
    socket.destroy();
    slow.socket.destroy();
  });

  it('gives it on as well when a probe ends in something that is not the upstream\u2019s doing', async () => {
    const upstream = await moody();
    let trouble: (() => Promise<never>) | undefined;
    const after: Handler = (req, res, next) => {
      exchangeOf(req, res).around((_exchange, send) => trouble?.() ?? send());
      next?.();
    };
    const { open, clock, ask, states } = await guarded([upstream], {
      after: [after],
      pass: { maxBodyBytes: 3, bodyTimeoutMs: 100 },
    });
    await open();
    upstream.mood = OK;
    clock.advance(10_000);
    trouble = async () => {
      throw new OverloadedError();
    };
    expect(await ask(1)).toEqual(['503 ERR_PROXY_OVERLOADED']);
    trouble = async () => {
      throw new Error('a wrapper of the app');
    };
    await ask(1);
    trouble = undefined;
    expect(await ask(1, upload('POST /', [], 'long'))).toEqual(['413 ERR_PROXY_BODY_TOO_LARGE']);
    expect(await ask(1, request('POST /', ['Content-Length: 3'], 'a'))).toEqual([
      '408 ERR_PROXY_BODY_TIMEOUT',
    ]);
    expect(states).toEqual(['half-open']);
    expect(await ask(1)).toEqual(['200 ok']);
    expect(states).toEqual(['half-open', 'closed']);
  });

  it('frees the place of a probe with the end of its exchange, though a wrapper never comes back', async () => {
    const upstream = await moody();
    let hangs = false;
    const after: Handler = (req, res, next) => {
      exchangeOf(req, res).around((_exchange, send) => (hangs ? new Promise(() => {}) : send()));
      next?.();
    };
    const { open, clock, ask, port, exchanges } = await guarded([upstream], { after: [after] });
    await open();
    upstream.mood = OK;
    clock.advance(10_000);
    hangs = true;
    exchanges.length = 0;
    const { socket } = await rawClient(port, GET);
    await eventually('the probe', () => exchanges.length === 1);
    expect(await ask(1)).toEqual(['503 ERR_PROXY_CIRCUIT_OPEN']);
    socket.destroy();
    await eventually('its end', () => exchanges[0]?.outcome !== undefined);
    hangs = false;
    expect(await ask(1)).toEqual(['200 ok']);
  });

  it('ends a probe that hangs with the timeout of the head, which is a failure', async () => {
    const upstream = await moody();
    const { open, clock, ask, states } = await guarded([upstream], {
      pass: { headersTimeoutMs: 100 },
    });
    await open();
    upstream.mood = 'hang';
    clock.advance(10_000);
    expect(await ask(1)).toEqual(['504 ERR_PROXY_HEADERS_TIMEOUT']);
    expect(states).toEqual(['half-open', 'open']);
  });

  it('is over with the head of the probe\u2019s answer, however long the body takes', async () => {
    const upstream = await moody();
    const { open, clock, ask, port, circuits } = await guarded([upstream]);
    await open();
    upstream.mood = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf';
    clock.advance(10_000);
    const probe = await rawClient(port, GET);
    await probe.until((text) => text.includes('half'));
    expect(circuits()).toEqual(['closed']);
    upstream.mood = OK;
    expect(await ask(5)).toEqual(Array(5).fill('200 ok'));
  });

  it('is not ended by the late success of a call that began before', async () => {
    const upstream = await moody('hang');
    const { ask, clock, states, circuits } = await guarded([upstream]);
    const late = ask(1);
    await eventually('it is there', () => upstream.waiting.length === 1);
    upstream.mood = 'reset';
    await ask(4);
    clock.advance(10_000);
    upstream.mood = 'hang';
    const probe = ask(1);
    await eventually('the probe', () => upstream.waiting.length === 2);
    upstream.waiting[0]?.write(OK);
    expect(await late).toEqual(['200 ok']);
    expect([circuits(), states]).toEqual([['half-open'], ['open', 'half-open']]);
    upstream.waiting[1]?.destroy();
    await probe;
    expect(states).toEqual(['open', 'half-open', 'open']);
  });

  it('comes by itself, with nobody asking', async () => {
    const upstream = await moody('reset');
    const { ask, pool } = await guarded([upstream], {
      breaker: { resetTimeoutMs: 50, now: undefined },
    });
    const halfOpen = new Promise((resolve) => {
      pool.on('circuit', (_upstream, { state }) => state === 'half-open' && resolve(state));
    });
    await ask(4);
    expect(pool.eligible).toEqual([]);
    await halfOpen;
    expect(pool.eligible).toHaveLength(1);
    upstream.mood = OK;
    expect(await ask(1)).toEqual(['200 ok']);
  });
});

describe('with several upstreams', () => {
  it('goes elsewhere while one is open, and gives it its probe', async () => {
    const [bad, good] = [await moody('reset'), await moody()];
    const { ask, clock, circuits } = await guarded([bad, good]);
    while (circuits()[0] !== 'open') await ask(1);
    bad.seen = 0;
    expect(await ask(100)).toEqual(Array(100).fill('200 ok'));
    expect(bad.seen).toBe(0);
    clock.advance(10_000);
    bad.mood = OK;
    for (let i = 0; i < 3; i++) await ask(1);
    expect(bad.seen).toBeGreaterThan(0);
    expect(circuits()).toEqual(['closed', 'closed']);
  });

  it('sends on what was chosen for a place that another probe has taken', async () => {
    const [bad, good] = [await moody('reset'), await moody()];
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let held = 0;
    const hold: Middleware = (_req, _res, next: () => void) => {
      held += 1;
      void released.then(() => next());
    };
    let holding = false;
    const { ask, clock, circuits, pool, exchanges } = await guarded([bad, good], {
      before: [(req, res, next) => (holding ? hold(req, res, next) : next())],
    });
    while (circuits()[0] !== 'open') await ask(1);
    clock.advance(10_000);
    await ask(1);
    expect(circuits()[0]).toBe('half-open');
    Object.assign(bad, { mood: 'hang', seen: 0 });
    holding = true;
    exchanges.length = 0;
    const answers = ask(200);
    await eventually('all have been chosen for', () => held === 200);
    const chosen = exchanges.filter(({ upstream }) => upstream === pool.upstreams[0]);
    expect(chosen.length).toBeGreaterThan(50);
    release();
    await eventually('the probe', () => bad.waiting.length > 0);
    await eventually('the others', () => good.seen >= 199);
    bad.waiting[0]?.write(OK);
    expect(await answers).toEqual(Array(200).fill('200 ok'));
    expect([bad.seen, circuits()]).toEqual([1, ['closed', 'closed']]);
    expect(pool.stats().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  });

  it.each(['loadBalancer', 'proxyPass'])(
    'answers that it is open when all are, with %s',
    async (where) => {
      const upstreams = [await moody('reset'), await moody('reset')];
      const pool = new UpstreamPool(upstreams.map(({ url }) => url));
      closeAfter(() => pool.close());
      const clock = testClock();
      const breaker = circuitBreaker({ volumeThreshold: 2, now: clock });
      const { errors, record } = recordErrors();
      const pieces =
        where === 'loadBalancer'
          ? [loadBalancer({ upstreams: pool }), breaker, proxyPass()]
          : [breaker, proxyPass(pool)];
      const { port } = await gateway('express 5', ...pieces, record);
      for (let i = 0; i < 3; i++) await rawRequest(port, GET);
      clock.advance(4_000);
      await rawRequest(port, GET);
      const refused: RawResponse = await rawRequest(port, GET);
      expect([refused.status, refused.header('retry-after')]).toEqual([503, '6']);
      expect(errors.at(-1)?.code).toBe('ERR_PROXY_CIRCUIT_OPEN');
      expect(upstreams.map(({ seen }) => seen)).toEqual([2, 2]);
      clock.advance(6_000);
      expect((await rawRequest(port, GET)).status).toBe(502);
      expect((await rawRequest(port, GET)).header('retry-after')).toBe('4');
    },
  );

  it('answers that there is none when they are out for other reasons', async () => {
    const { pool, ask } = await guarded([await moody()]);
    await ask(1);
    pool.upstreams[0]?.bar('unhealthy');
    expect(await ask(1)).toEqual(['503 ERR_PROXY_NO_UPSTREAM']);
  });

  it.each([
    ['one of its own', {}],
    ['one for its route', { per: 'route' as const }],
  ])('heeds the circuits of another pipeline over the same pool, with %s', async (_, options) => {
    const upstream = await moody();
    const { pool, open } = await guarded([upstream]);
    const other = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      circuitBreaker(options),
      proxyPass(),
      recordErrors().record,
    );
    expect((await rawRequest(other.port, GET)).status).toBe(200);
    await open();
    Object.assign(upstream, { mood: OK, seen: 0 });
    expect(await rawRequest(other.port, GET)).toMatchObject({
      status: 503,
      body: 'ERR_PROXY_CIRCUIT_OPEN',
    });
    expect(upstream.seen).toBe(0);
  });

  it('leaves alone what the app itself has chosen outside of the pool', async () => {
    const [inside, outside] = [await moody(), await moody('reset')];
    const own = new Upstream(outside.url);
    closeAfter(() => own.close());
    const choose: Handler = (req, res, next) => {
      exchangeOf(req, res).upstream = own;
      next?.();
    };
    const { ask } = await guarded([inside], { before: [choose] });
    await ask(4);
    expect(await ask(3)).toEqual(Array(3).fill('503 ERR_PROXY_CIRCUIT_OPEN'));
    expect(inside.seen).toBe(0);
  });

  it('lets a sticky client be the probe, and keeps it meanwhile elsewhere', async () => {
    const [a, b] = [await moody(), await moody()];
    const pool = new UpstreamPool([a.url, b.url]);
    closeAfter(() => pool.close());
    const clock = testClock();
    const { port } = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool, sticky: { secret: 'a secret of enough length' } }),
      circuitBreaker({ volumeThreshold: 2, now: clock }),
      proxyPass(),
    );
    const cookie = (await rawRequest(port, GET)).header('set-cookie')?.split(';')[0];
    const stuck = request('GET /', [`Cookie: ${cookie}`]);
    a.mood = answerOf(500);
    await rawRequest(port, stuck);
    await rawRequest(port, stuck);
    a.mood = OK;
    expect((await rawRequest(port, stuck)).status).toBe(200);
    expect([a.seen, b.seen]).toEqual([3, 1]);
    clock.advance(10_000);
    await rawRequest(port, request('GET /'));
    await rawRequest(port, stuck);
    expect(pool.stats()[0]?.circuit?.state).toBe('closed');
  });
});

describe('with retry()', () => {
  it('before it, decides about every try', async () => {
    const [bad, good] = [await moody('reset'), await moody()];
    const { ask, circuits } = await guarded([bad, good], {
      before: [retry({ random: () => 0, budget: false })],
    });
    for (let i = 0; i < 12; i++) expect(await ask(1)).toEqual(['200 ok']);
    expect([bad.seen, circuits()]).toEqual([4, ['open', 'closed']]);
  });

  it('after it, decides once for all tries', async () => {
    const upstream = await moody('reset');
    const { ask, states } = await guarded([upstream], {
      after: [retry({ retries: 2, random: () => 0, budget: false })],
    });
    for (let i = 0; i < 3; i++) await ask(1);
    expect([upstream.seen, states]).toEqual([9, []]);
    await ask(1);
    expect(states).toEqual(['open']);
  });

  it('sends a retry that comes too late for its upstream to one that has not been tried', async () => {
    const [first, second, third] = [await moody('reset'), await moody('reset'), await moody()];
    const pool = new UpstreamPool(
      [first, second, third].map(({ url }) => url),
      { strategy: { pick: ([one]) => one }, health: { passive: false } },
    );
    closeAfter(() => pool.close());
    let release = (): void => {};
    let held: Exchange | undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const between: Handler = (req, res, next) => {
      const exchange = exchangeOf(req, res);
      if (req.method === 'POST') exchange.upstream = pool.upstreams[1];
      exchange.around(async ({ upstream, method }, send) => {
        if (method === 'GET' && upstream === pool.upstreams[1]) {
          held = exchange;
          await released;
        }
        return send();
      });
      next?.();
    };
    const { port } = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      retry({ random: () => 0 }),
      between,
      circuitBreaker({ volumeThreshold: 4 }),
      proxyPass(),
      recordErrors().record,
    );
    const answer = rawRequest(port, GET);
    await eventually('the retry', () => held !== undefined);
    for (let i = 0; i < 4; i++) await rawRequest(port, request('POST /'));
    expect(pool.upstreams[1]?.circuit?.state).toBe('open');
    release();
    expect(await answer).toMatchObject({ status: 200, body: 'ok' });
    const { upstreams } = pool;
    expect(held?.attempts.map(({ upstream }) => upstreams.indexOf(upstream))).toEqual([0, 2]);
  });

  it('is not tried again by it when all circuits are open', async () => {
    const upstream = await moody();
    const { open, ask, exchanges } = await guarded([upstream], {
      before: [retry({ random: () => 0, budget: false })],
    });
    await open();
    exchanges.length = 0;
    expect(await ask(1)).toEqual(['503 ERR_PROXY_CIRCUIT_OPEN']);
    expect(exchanges[0]?.attempts).toEqual([]);
  });
});

describe('per', () => {
  /** An app with two routes to two upstreams, of which the first fails. */
  async function routes(options: CircuitBreakerOptions) {
    const [bad, good] = [await moody(answerOf(500)), await moody()];
    const app = express();
    app.use(circuitBreaker({ volumeThreshold: 2, ...options }));
    app.get('/users/:id', proxyPass(bad.url) as Handler);
    app.use('/orders', proxyPass(good.url) as Handler);
    const { port } = await serve(app);
    const ask = async (line: string, ...headers: string[]) =>
      (await rawRequest(port, request(line, headers))).status;
    return { ask, bad, good };
  }

  it('route has one circuit for all upstreams behind it', async () => {
    const { ask, bad, good } = await routes({ per: 'route' });
    expect([await ask('GET /users/1'), await ask('GET /users/2')]).toEqual([500, 500]);
    expect([await ask('GET /users/3'), await ask('GET /orders/1')]).toEqual([503, 503]);
    expect([bad.seen, good.seen]).toEqual([2, 0]);
  });

  it('a function has one for each key that it gives', async () => {
    const { ask, bad } = await routes({ per: (req) => String(req.headers['x-tenant']) });
    const [a, b] = ['X-Tenant: a', 'X-Tenant: b'];
    expect([await ask('GET /users/1', a), await ask('GET /users/1', a)]).toEqual([500, 500]);
    expect([await ask('GET /users/1', a), await ask('GET /orders/1', a)]).toEqual([503, 503]);
    expect([await ask('GET /users/1', b), await ask('GET /orders/1', b)]).toEqual([500, 200]);
    expect(bad.seen).toBe(3);
  });

  it.each<[string, () => unknown, string]>([
    [
      'throws',
      () => {
        throw new Error('no key');
      },
      'no key',
    ],
    ['gives no string', () => 5, 'circuitBreaker: per() must return a string, received 5'],
  ])('a function that %s fails its own request alone', async (_, per, message) => {
    const upstream = await moody();
    const { ask, errors } = await guarded([upstream], { breaker: { per: per as () => string } });
    await ask(1);
    expect([errors[0]?.message, upstream.seen]).toEqual([message, 0]);
  });
});

describe('the fallback of a breaker', () => {
  it('answers in place of an open circuit, and of any other error', async () => {
    const upstream = await moody('reset');
    const { ask, states, exchanges } = await guarded([upstream], {
      breaker: { fallback: { status: 203, body: 'stale' }, per: 'route' },
    });
    expect(await ask(6)).toEqual(Array(6).fill('203 stale'));
    expect(states).toEqual(['open']);
    expect(await ask(1)).toEqual(['203 stale']);
    expect(exchanges.at(-1)?.degraded?.code).toBe('ERR_PROXY_CIRCUIT_OPEN');
  });

  it('answers where the balancer has nothing but open circuits to choose from, and is edited', async () => {
    const upstream = await moody('reset');
    const edit = modifyResponse((response) => response.headers.set('X-Edited', 'yes'));
    const { ask, port, pool, exchanges, clock, circuits } = await guarded([upstream], {
      breaker: { fallback: { status: 203, body: 'stale' } },
      after: [edit],
    });
    expect(await ask(4)).toEqual(Array(4).fill('203 stale'));
    expect(pool.eligible).toEqual([]);
    const answer = await rawRequest(port, GET);
    expect([answer.status, answer.body, answer.header('x-edited')]).toEqual([203, 'stale', 'yes']);
    expect(exchanges.at(-1)?.degraded?.code).toBe('ERR_PROXY_CIRCUIT_OPEN');
    expect(upstream.seen).toBe(4);
    expect(pool.stats()[0]?.inFlight).toBe(0);
    upstream.mood = OK;
    clock.advance(10_000);
    expect(await ask(1)).toEqual(['200 ok']);
    expect(circuits()).toEqual(['closed']);
  });

  it('is not needed for the refusal: a pipeline without a breaker shares what another one knows', async () => {
    const upstream = await moody('reset');
    const { ask, pool } = await guarded([upstream]);
    await ask(4);
    const { errors, record } = recordErrors();
    const { port } = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      proxyPass(),
      record,
    );
    const answer = await rawRequest(port, GET);
    expect([answer.status, answer.header('retry-after')]).toEqual([503, '10']);
    expect([errors[0]?.code, upstream.seen]).toEqual(['ERR_PROXY_CIRCUIT_OPEN', 4]);
  });

  it('lets a call pass whose circuit has become due since the balancer looked', async () => {
    const upstream = await moody('reset');
    let wait = false;
    const { ask, clock, pool, states } = await guarded([upstream], {
      before: [
        (_req, _res, next) => {
          if (wait) clock.advance(10_000);
          next();
        },
      ],
    });
    await ask(4);
    upstream.mood = OK;
    wait = true;
    expect(await ask(1)).toEqual(['200 ok']);
    expect(states).toEqual(['open', 'half-open', 'closed']);
    expect(pool.stats()[0]?.inFlight).toBe(0);
  });

  it('names another upstream, which the circuit of a route does not stand in the way of', async () => {
    const [bad, spare] = [await moody('reset'), await moody()];
    const { ask, states } = await guarded([bad], {
      breaker: {
        per: 'route',
        fallback: (error) => (error.code === 'ERR_PROXY_CIRCUIT_OPEN' ? spare.url : undefined),
      },
    });
    await ask(4);
    expect(await ask(10)).toEqual(Array(10).fill('200 ok'));
    expect([bad.seen, spare.seen, states]).toEqual([4, 10, ['open']]);
  });

  it('is guarded itself, where each upstream has a circuit', async () => {
    const [bad, spare] = [await moody('reset'), await moody('reset')];
    const { ask } = await guarded([bad], { breaker: { fallback: () => spare.url } });
    await ask(4);
    await eventually('both are open', () => spare.seen === 4);
    expect(await ask(1)).toEqual(['503 ERR_PROXY_CIRCUIT_OPEN']);
    expect([bad.seen, spare.seen]).toEqual([4, 4]);
  });
});

describe('options', () => {
  it.each<[string, unknown, string]>([
    ['errorThresholdPercentage', 101, 'must be a number from 0 to 100, received 101'],
    ['errorThresholdPercentage', '50', 'must be a number from 0 to 100, received "50"'],
    ['volumeThreshold', 0, 'must be a whole number of at least 1, received 0'],
    ['windowMs', 0.5, 'must be a whole number from 1 to 2147483647, received 0.5'],
    ['resetTimeoutMs', 2 ** 31, 'must be a whole number from 1 to 2147483647, received 2147483648'],
    ['per', 'host', 'must be "upstream", "route" or a function, received "host"'],
    ['isFailure', 500, 'must be a function, received 500'],
    ['fallback', 'http://a', 'must be a function or a response, received "http://a"'],
    ['onStateChange', {}, 'must be a function, received an object []'],
    ['now', 0, 'must be a function, received 0'],
  ])('refuses %s: %p', (name, value, message) => {
    const options = { [name]: value } as CircuitBreakerOptions;
    expect(() => circuitBreaker(options)).toThrow(`circuitBreaker: ${name} ${message}`);
  });

  it('refuses what it does not know, and being mounted without the call', () => {
    const options = { timeout: 1 } as CircuitBreakerOptions;
    expect(() => circuitBreaker(options)).toThrow('circuitBreaker: unknown option "timeout"');
    expect(() => circuitBreaker({ rawHeaders: [] } as object)).toThrow('app.use(circuitBreaker(');
  });

  it('are not touched', () => {
    expect(() => circuitBreaker(Object.freeze({ windowMs: 1_000 }))).not.toThrow();
    const { name } = circuitBreaker();
    expect(name).toBe('circuitBreakerMiddleware');
  });
});

import { once } from 'node:events';
import { describe, expect, it, jest } from '@jest/globals';
import express from 'express';
import {
  type Around,
  type Exchange,
  exchangeOf,
  type Handler,
  NoUpstreamError,
  proxyPass,
  type ResponseEdit,
  stripHopHeaders,
  Upstream,
  UpstreamResponse,
} from 'headrace';
import request from 'supertest';
import { rawClient } from '../helpers/client.js';
import { get, received, receiver } from '../helpers/inbound.js';
import { closeAfter, rawUpstream, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** An exchange of its own, for the parts that need no pipeline. */
async function exchange(...lines: string[]): Promise<Exchange> {
  const { req, res } = await received(...lines);
  return exchangeOf(req, res);
}

describe('exchangeOf', () => {
  it('returns the same exchange for the same request', async () => {
    const { req, res } = await received();
    expect(exchangeOf(req, res)).toBe(exchangeOf(req, res));
    expect(exchangeOf(req, res)).toMatchObject({ req, res });
  });

  it('makes res.locals where the framework has none, and keeps what is there', async () => {
    const { req, res } = await received();
    const own = exchangeOf(req, res);
    expect(res).toHaveProperty('locals.proxy', own);

    const other = await received();
    Object.assign(other.res, { locals: { user: 'me' } });
    exchangeOf(other.req, other.res);
    expect(other.res).toHaveProperty('locals.user', 'me');
  });

  it('outlives res.locals, and is there again behind the next piece', async () => {
    const upstream = await rawUpstream();
    const seen: unknown[] = [];
    const app = express();
    app.use((req, res, next) => {
      exchangeOf(req, res).headers.set('X-User', 'ada').delete('Cookie');
      exchangeOf(req, res).onOutcome(({ outcome }) => seen.push(`${outcome}`));
      next();
    });
    app.use((_req, res, next) => {
      res.locals = { title: 'mine' } as never;
      next();
    });
    app.use(stripHopHeaders(), (req, res, next) => {
      seen.push(res.locals.proxy === exchangeOf(req, res), res.locals.title);
      next();
    });
    app.use((_req, res, next) => {
      res.locals = {} as never;
      next();
    });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    app.use(pass);
    await request(app).get('/').set('X-User', 'mallory').set('Cookie', 'a=1').expect(200);
    expect(upstream.received()).toMatch(/X-User: ada/);
    expect(upstream.received()).not.toMatch(/mallory|cookie/i);
    await eventually('the outcome', () => seen.length === 3);
    expect(seen).toEqual([true, 'mine', 'completed']);
  });

  it('is the same for two copies of the package in one process', async () => {
    const { req, res } = await received();
    const own = exchangeOf(req, res);
    let another: typeof exchangeOf | undefined;
    jest.isolateModules(() => {
      ({ exchangeOf: another } = jest.requireActual<{ exchangeOf: typeof exchangeOf }>(
        '../../src/exchange/exchange.js',
      ));
    });
    expect(another).not.toBe(exchangeOf);
    expect(another?.(req, res)).toBe(own);
    Object.assign(res, { locals: {} });
    expect(another?.(req, res)).toBe(own);
  });

  it("is each request's own where the app has one res.locals for all", async () => {
    const locals = {};
    const [one, other] = [await received(), await received()];
    for (const { res } of [one, other]) Object.assign(res, { locals });
    const first = exchangeOf(one.req, one.res);
    expect(exchangeOf(other.req, other.res)).not.toBe(first);
    expect(exchangeOf(one.req, one.res)).toBe(first);
  });

  it('is res.locals.proxy in Express, printed by a handler', async () => {
    const app = express();
    app.use(stripHopHeaders());
    app.use((_req, res) => res.json(res.locals.proxy));
    const { body } = await request(app).post('/a?b=c').set('X-User', 'me');
    expect(body).toMatchObject({ method: 'POST', path: '/a?b=c', attempts: [] });
    expect(body.headers).toMatchObject({ 'x-user': 'me' });
    expect(body.headers).not.toHaveProperty('connection');
  });
});

describe('method and path', () => {
  it('are those of the live request until they are set', async () => {
    const one = await exchange();
    expect([one.method, one.path]).toEqual(['GET', '/path?query']);
    one.req.method = 'PUT';
    one.req.url = '/live';
    expect([one.method, one.path]).toEqual(['PUT', '/live']);
    one.method = 'POST';
    one.path = '/set';
    one.req.url = '/later';
    expect([one.method, one.path]).toEqual(['POST', '/set']);
    expect([one.req.method, one.req.url]).toEqual(['PUT', '/later']);
  });

  it.each([
    ['http://app.example/a?b', '/a?b'],
    ['HTTPS://app.example:1/a', '/a'],
    ['http://app.example', '/'],
    ['http://app.example?b', '/?b'],
  ])('the path of %s is %s', async (target, path) => {
    const receive = await receiver();
    const { req, res } = await receive(`GET ${target} HTTP/1.1\r\nHost: app.example\r\n\r\n`);
    expect(exchangeOf(req, res).path).toBe(path);
  });
});

describe('around', () => {
  /** A piece that puts a wrapper round the call, as a user would write it. */
  const piece = (wrapper: Around): Handler =>
    function ownMiddleware(req, res, next) {
      exchangeOf(req, res).around(wrapper);
      next?.();
    };

  it('makes the first one registered the outermost', async () => {
    const order: string[] = [];
    const noting = (name: string) =>
      piece(async (_exchange, send) => {
        order.push(`${name} in`);
        const response = await send();
        order.push(`${name} out`);
        return response;
      });
    const app = express();
    app.use(noting('outer'), noting('inner'));
    app.use(piece(async () => new UpstreamResponse({ body: 'mine' })));
    app.use(proxyPass());
    const { text } = await request(app).get('/');
    expect(text).toBe('mine');
    expect(order).toEqual(['outer in', 'inner in', 'inner out', 'outer out']);
  });

  it('stands outside of what is round each try, whichever comes first', async () => {
    const order: string[] = [];
    const noting = (name: string): Around => {
      return (_exchange, send) => {
        order.push(name);
        return send();
      };
    };
    const each = (name: string): Handler =>
      function ownMiddleware(req, res, next) {
        exchangeOf(req, res).aroundEach(noting(name));
        next?.();
      };
    const upstream = await rawUpstream();
    const twice = piece(async (_exchange, send) => {
      (await send()).discard();
      return send();
    });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const app = express().use(each('a'), each('b'), twice, piece(noting('round')), pass);
    await request(app).get('/').expect(200);
    expect(order).toEqual(['round', 'a', 'b', 'round', 'a', 'b']);
  });

  it('gets the exchange, and may call several times', async () => {
    const upstream = await rawUpstream();
    const app = express();
    app.use(
      piece(async (exchange, send) => {
        (await send()).discard();
        exchange.headers.set('X-Try', exchange.attempts.length);
        return send();
      }),
    );
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    app.use(pass);
    await request(app).get('/').expect(200);
    const requests = upstream.received().split('\r\n\r\n');
    expect(requests[0]).not.toMatch(/x-try/i);
    expect(requests[1]).toMatch(/x-try: 1/i);
  });

  it.each([
    ['throws', (): never => raise()],
    ['rejects', async (): Promise<never> => raise()],
  ])('hands on what a wrapper %s', async (_, wrapper) => {
    const app = express();
    app.use(piece(wrapper), proxyPass());
    app.use(showError);
    await request(app).get('/').expect(503, { code: 'ERR_PROXY_NO_UPSTREAM' });
  });

  function raise(): never {
    throw new NoUpstreamError();
  }
});

describe('onResponse', () => {
  it('runs edits in the order registered, each after the one before it has ended', async () => {
    const order: string[] = [];
    const app = express();
    app.use((req, res, next) => {
      const exchange = exchangeOf(req, res);
      exchange.onResponse(async (response) => {
        await Promise.resolve();
        response.headers.set('X-Order', 'first');
        order.push('first');
        exchange.onResponse(() => void order.push('registered by the first'));
      });
      exchange.onResponse((response) => {
        order.push(`second sees ${response.headers.get('x-order')}`);
      });
      exchange.around(async () => new UpstreamResponse());
      next();
    });
    app.use(proxyPass());
    await request(app).get('/').expect(200).expect('X-Order', 'first');
    expect(order).toEqual(['first', 'second sees first', 'registered by the first']);
  });

  it('costs no promise as long as no edit gives one', async () => {
    const one = await exchange();
    const edit = jest.fn<ResponseEdit>();
    one.onResponse(edit);
    const response = new UpstreamResponse();
    expect(one.edit(response)).toBeUndefined();
    expect(edit).toHaveBeenCalledWith(response, one.req, one.res);
    expect(one.edit(response)).toBeUndefined();
    expect(edit).toHaveBeenCalledTimes(1);
    one.restartEdits();
    await one.edit(response);
    expect(edit).toHaveBeenCalledTimes(2);
  });
});

describe('outcome', () => {
  const UPLOAD = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello';

  it('is completed when the answer has been sent, with bytes each way', async () => {
    const upstream = await rawUpstream();
    const { client, outcome } = await through(proxyPass(upstream.url), UPLOAD);
    await client.until((text) => text.endsWith('ok'));
    const { type, bytesSent, bytesReceived, durationMs, error } = await outcome;
    expect([type, bytesSent, bytesReceived, error]).toEqual(['completed', 5, 2, undefined]);
    expect(durationMs).toBeGreaterThan(0);
  });

  it('is known of an answer that no upstream gave, too', async () => {
    const { req, res } = await received();
    const told = new Promise<Exchange>((resolve) => exchangeOf(req, res).onOutcome(resolve));
    res.end('own');
    expect((await told).outcome?.type).toBe('completed');
    const gone = await received();
    const left = new Promise<Exchange>((resolve) => {
      exchangeOf(gone.req, gone.res).onOutcome(resolve);
    });
    gone.req.socket.destroy();
    expect((await left).outcome?.type).toBe('client-closed');
    expect(exchangeOf(gone.req, gone.res).open).toBe(false);
  });

  it('costs one listener, however many ask', async () => {
    const { req, res } = await received();
    const before = res.listenerCount('close');
    const one = exchangeOf(req, res);
    for (let i = 0; i < 3; i++) one.onOutcome(() => {});
    expect(res.listenerCount('close')).toBe(before + 1);
  });

  it('is failed, with the error, when the upstream could not be reached', async () => {
    const { outcome } = await through(proxyPass('http://127.0.0.1:1'), get());
    expect(await outcome).toMatchObject({
      type: 'failed',
      error: { code: 'ERR_PROXY_CONNECT' },
    });
  });

  it('is client-closed when the client leaves while waiting', async () => {
    let leave: () => void = () => {};
    const upstream = await rawUpstream(() => void leave());
    const { client, outcome } = await through(proxyPass(upstream.url), get());
    leave = () => client.socket.destroy();
    expect(await outcome).toMatchObject({
      type: 'client-closed',
      error: { code: 'ERR_PROXY_CLIENT_CLOSED', upstream: { url: upstream.url } },
    });
  });

  it('reads as its type', async () => {
    const one = await exchange();
    one.settle('completed');
    expect(`${one.outcome}`).toBe('completed');
  });

  it('is noted once', async () => {
    const one = await exchange();
    const listener = jest.fn();
    one.onOutcome(listener);
    expect(one.open).toBe(true);
    one.settle('failed', new NoUpstreamError());
    one.settle('completed');
    expect(one.outcome).toMatchObject({ type: 'failed', error: { code: 'ERR_PROXY_NO_UPSTREAM' } });
    expect(one.open).toBe(false);
    expect(listener.mock.calls).toEqual([[one]]);
  });

  it('is told at once to those who ask late', async () => {
    const one = await exchange();
    one.settle('completed');
    const listener = jest.fn();
    one.onOutcome(listener);
    expect(listener.mock.calls).toEqual([[one]]);
  });

  it.each([
    ['an error', new Error('the listener fails')],
    ['something else', 'the listener fails'],
  ])('listeners that throw %s become a warning, and the others are told', async (_, thrown) => {
    const one = await exchange();
    // Jest's copy of `process` hears nothing of the events of the real one.
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const listener = jest.fn();
    one.onOutcome(() => {
      throw thrown;
    });
    one.onOutcome(listener);
    one.settle('completed');
    expect(listener).toHaveBeenCalledTimes(1);
    expect(warn).toHaveBeenCalledWith('A listener of exchange.onOutcome() threw', {
      type: 'HeadraceWarning',
      code: 'HEADRACE_LISTENER',
      detail: expect.stringContaining('the listener fails'),
    });
  });

  /** Sends bytes through a handler that never gets a `next`, and tells how the exchange ended. */
  async function through(handler: Handler & { close(): Promise<void> }, bytes: string) {
    closeAfter(() => handler.close());
    let tell: (exchange: Exchange) => void = () => {};
    const ended = new Promise<Exchange>((resolve) => {
      tell = resolve;
    });
    const { port } = await serve((req, res) => {
      exchangeOf(req, res).onOutcome(tell);
      handler(req, res);
    });
    const client = await rawClient(port, bytes);
    return { client, outcome: ended.then(({ outcome }) => outcome!) };
  }
});

describe('open', () => {
  it('says whether the client can still be answered', async () => {
    const one = await exchange();
    expect(one.open).toBe(true);
    one.res.destroy();
    expect(one.open).toBe(false);
  });
});

describe('a held response', () => {
  it('is discarded with the answer when nobody has sent it', async () => {
    const { req, res } = await received();
    const one = exchangeOf(req, res);
    one.watch();
    one.response = new UpstreamResponse({ body: 'held' });
    const { response } = one;
    res.end('other');
    await once(res, 'close');
    expect(response.content.at).toBe('nowhere');
  });
});

describe('toJSON', () => {
  it('is a line for a log: names and numbers, no sockets, no credentials', async () => {
    const one = await exchange('X-A: 1');
    const upstream = new Upstream('http://user:secret@localhost:3000/base');
    one.upstream = upstream;
    const blank = {
      upstream,
      path: '/base',
      host: undefined,
      sentAt: 1,
      headAt: undefined,
      status: undefined,
    };
    one.attempts.push(
      { ...blank, startedAt: 1, error: new NoUpstreamError() },
      { ...blank, startedAt: 2, headAt: 3, status: 200, error: undefined },
    );
    one.response = new UpstreamResponse({ status: 201, headers: { 'X-B': '2' } });
    one.settle('failed', new NoUpstreamError());
    const line = JSON.stringify(one);
    expect(line).not.toContain('secret');
    expect(JSON.parse(line)).toEqual({
      method: 'GET',
      path: '/path?query',
      headers: { 'x-a': '1' },
      upstream: 'http://localhost:3000/base',
      attempts: [
        { upstream: 'http://localhost:3000/base', startedAt: 1, error: 'ERR_PROXY_NO_UPSTREAM' },
        { upstream: 'http://localhost:3000/base', startedAt: 2, headAt: 3, status: 200 },
      ],
      response: { status: 201, headers: { 'x-b': '2' } },
      outcome: {
        type: 'failed',
        bytesSent: 0,
        bytesReceived: 0,
        degraded: false,
        durationMs: one.outcome?.durationMs,
        error: 'ERR_PROXY_NO_UPSTREAM',
      },
    });
  });

  it('masks what lets whoever reads it be somebody else', async () => {
    const one = await exchange(
      'Authorization: Bearer s3cret',
      'Cookie: a=s3cret',
      'X-API-Key: s3cret',
      'Referer: http://a.example/?token=s3cret',
    );
    one.path = '/a?access_token=s3cret';
    one.upstream = new Upstream('http://localhost:3000/?api_key=s3cret');
    one.response = new UpstreamResponse({
      headers: { 'Set-Cookie': 'a=s3cret', Location: '/cb?code=s3cret', 'X-B': '2' },
    });
    const line = JSON.stringify(one);
    expect(line).not.toContain('s3cret');
    expect(JSON.parse(line)).toMatchObject({
      path: '/a?access_token=***',
      headers: { authorization: '***', referer: 'http://a.example/?token=***' },
      response: { headers: { 'set-cookie': '***', location: '/cb?code=***', 'x-b': '2' } },
    });
  });

  it('is short for an exchange that has only begun', async () => {
    expect(JSON.parse(JSON.stringify(await exchange()))).toEqual({
      method: 'GET',
      path: '/path?query',
      headers: {},
      attempts: [],
    });
  });
});

/** Shows the code of an error, as an app's own error middleware might. */
function showError(
  error: { status: number; code: string },
  _req: express.Request,
  res: express.Response,
  _next: express.NextFunction,
): void {
  res.status(error.status).json({ code: error.code });
}

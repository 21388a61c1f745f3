import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import {
  apiKey,
  attach,
  authenticate,
  authorize,
  basicAuth,
  bearerJwt,
  exchangeOf,
  fallback,
  forwardProxy,
  proxyErrors,
  proxyPass,
  type Refusals,
  reverseProxy,
  type Verdict,
  type Verifier,
} from 'headrace';
import { WebSocket, WebSocketServer } from 'ws';
import { inspect } from '../../src/options.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { anExchange } from '../helpers/exchanges.js';
import { basic, bearer, guarded, issuer, NOW, show } from '../helpers/identity.js';
import { onlyRequest, request } from '../helpers/requests.js';
import {
  appOf,
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';

const users = basicAuth({ users: { ada: 'lovelace' } });

/** A verifier that answers the same to everybody. */
const answers = (verdict: Verdict | Promise<Verdict>, scheme = 'test'): Verifier => ({
  scheme,
  verify: () => verdict,
  challenge: (wrong) => `${scheme} wrong=${wrong}`,
});
const identity = { subject: 'ada', claims: {}, scheme: 'test' };
const broken = (): Verifier => ({
  scheme: 'broken',
  verify: () => Promise.reject(new Error('down')),
});

describe('authenticate', () => {
  it.each([
    [[], 'authenticate: needs a verifier: bearerJwt(…), basicAuth(…), apiKey(…), …'],
    [[{}], 'authenticate: needs a verifier'],
    [[bearerJwt], 'authenticate: verifiers[0] must have a scheme and verify(), received function'],
    [
      [users, undefined],
      'authenticate: verifiers[1] must have a scheme and verify(), received und',
    ],
    [[users, { lgo: 1 }], 'authenticate: unknown option "lgo", did you mean "log"?'],
    [[users, { log: 1 }], 'authenticate: log must be a function, received 1'],
    [[users, { optional: 'yes' }], 'authenticate: optional must be true or false, received "yes"'],
    [[users, { logWindowMs: 0 }], 'authenticate: logWindowMs must be a whole number from 1 to'],
    [[{ rawHeaders: [] }], 'authenticate: it was given a request'],
  ])('refuses %j', (rest, message) => {
    expect(() => authenticate(...(rest as unknown as Verifier[]))).toThrow(message);
  });

  it.each(frameworks)('lets through whom it knows, and nobody else, in %s', async (framework) => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const tell: Middleware = (req, res, next) => {
      const exchange = exchangeOf(req, res);
      exchange.headers.set('X-User', exchange.identity?.subject ?? 'nobody');
      next();
    };
    const middleware = [authenticate(users), tell, pass, proxyErrors()];
    const { port } = await gateway(framework, ...middleware);
    const refused = await rawRequest(port, request('GET /'));
    expect([refused.status, refused.header('www-authenticate')]).toEqual([
      401,
      'Basic realm="gateway", charset="UTF-8"',
    ]);
    expect(upstream.received()).toBe('');
    const passed = await rawRequest(port, request('GET /', [basic('ada', 'lovelace')]));
    expect(passed.status).toBe(200);
    const { lines } = onlyRequest(upstream);
    expect([lines('x-user'), lines('authorization')]).toEqual([['ada'], []]);
  });

  it('asks the verifiers in order, until one knows the client', async () => {
    const asked: string[] = [];
    const verifier = (scheme: string, verdict: Verdict | Promise<Verdict>): Verifier => ({
      scheme,
      verify() {
        asked.push(scheme);
        return verdict;
      },
    });
    const { pass } = await guarded([
      verifier('a', undefined),
      verifier('b', Promise.resolve(undefined)),
      verifier('c', { refused: 'wrong' }),
      verifier('d', Promise.resolve({ refused: 'wrong' })),
      verifier('e', Promise.resolve(identity)),
      verifier('f', identity),
    ]);
    expect((await pass()).identity).toEqual(identity);
    expect(asked).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('names every kind of credentials, once, and which were wrong', async () => {
    const { get, reason } = await guarded([
      answers(undefined, 'A'),
      answers({ refused: 'bad' }, 'B'),
      answers(undefined, 'A'),
    ]);
    const { status, header } = await get();
    expect([status, header('www-authenticate')]).toEqual([401, 'A wrong=false, B wrong=true']);
    expect(reason()).toBe('B: bad');
  });

  it('says the same to clients whatever was wrong', async () => {
    const middleware = [authenticate(users), show, proxyErrors()];
    const { port } = await gateway('express 5', ...middleware);
    const answersTo = async (...lines: string[]) => {
      const { status, headers, body } = await rawRequest(port, request('GET /', lines));
      return [status, headers.filter(([name]) => name !== 'Date'), body];
    };
    const none = await answersTo();
    expect(none[2]).toContain('Valid credentials are required');
    expect(await answersTo(basic('ada', 'wrong'))).toEqual(none);
    expect(await answersTo(basic('nobody', 'lovelace'))).toEqual(none);
    expect(await answersTo('Authorization: Basic !!!')).toEqual(none);
  });

  it.each<[string, Verifier]>([
    ['rejects', broken()],
    ['throws', { scheme: 'broken', verify: () => void JSON.parse('') as unknown as Verdict }],
    ['answers with true', answers(true as unknown as Verdict)],
    ['comes to true', answers(Promise.resolve(true as unknown as Verdict))],
  ])('answers 503 when a verifier %s, and never lets through', async (_how, verifier) => {
    const { get, errors } = await guarded([verifier, answers({ refused: 'wrong' })]);
    const { status, body, header } = await get();
    expect([status, body]).toEqual([503, 'ERR_PROXY_AUTH_UNAVAILABLE']);
    expect(header('www-authenticate')).toBeUndefined();
    expect(errors[0]?.cause).toBeInstanceOf(Error);
  });

  it.each([
    [{ refuse: 'expired' }],
    [{ ok: false }],
    [{ error: 'no such user' }],
    [{}],
    [[]],
    [{ subject: null, claims: {}, scheme: 'test' }],
    [{ subject: 'ada', scheme: 'test' }],
    [{ subject: 'ada', claims: null, scheme: 'test' }],
    [{ subject: 'ada', claims: ['admin'], scheme: 'test' }],
    [{ subject: 'ada', claims: {} }],
    ['ada'],
  ])('takes %j for nobody, but for a verifier that cannot tell', async (verdict) => {
    const wrong = verdict as unknown as Verdict;
    for (const verifier of [answers(wrong), answers(Promise.resolve(wrong))]) {
      const { get, errors } = await guarded([verifier, { optional: true }]);
      expect((await get()).status).toBe(503);
      expect(String(errors[0]?.cause)).toBe(
        'TypeError: authenticate: verifiers[0] must answer with { subject, claims, scheme }, { refused } or undefined, ' +
          `it answered with ${inspect(verdict)}`,
      );
    }
  });

  it('knows clients that have no name', async () => {
    const { pass } = await guarded([answers({ subject: undefined, claims: {}, scheme: 'test' })]);
    expect((await pass()).identity).toEqual({ claims: {}, scheme: 'test' });
  });

  it('lets those through whom another verifier knows', async () => {
    const { pass } = await guarded([broken(), answers(identity)]);
    expect((await pass()).identity).toEqual(identity);
  });

  it('does not keep an identity that something before it made up', async () => {
    const { errors, ...gate } = await guarded([answers(undefined)]);
    const forge: Middleware = (req, res, next) => {
      exchangeOf(req, res).identity = identity;
      next();
    };
    const seen: unknown[] = [];
    const see: Middleware = (_error, req, res, _next) => {
      seen.push(exchangeOf(req, res).identity);
      res.end();
    };
    const { port } = await gateway('connect', forge, authenticate(answers(undefined)), show, see);
    await rawRequest(port, request('GET /'));
    expect(seen).toEqual([undefined]);
    expect((await gate.get()).status).toBe(401);
  });

  it('drops the matter when the client has gone in the meantime', async () => {
    let decide: (verdict: Verdict) => void = () => {};
    const pending = new Promise<Verdict>((resolve) => {
      decide = resolve;
    });
    let asked: () => void = () => {};
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    let passed = 0;
    const verifier: Verifier = {
      scheme: 'slow',
      verify({ res }) {
        res.on('close', () => decide(identity));
        asked();
        return pending;
      },
    };
    const count: Middleware = () => void passed++;
    const { port } = await gateway('connect', authenticate(verifier), count);
    const client = await rawClient(port, request('GET /'));
    await arrived;
    client.socket.destroy();
    await pending;
    await new Promise(setImmediate);
    expect(passed).toBe(0);
  });

  it('leaves it alone when what is behind it throws', async () => {
    const asked: string[] = [];
    const verifier = (name: string): Verifier => ({
      ...answers({ ...identity, subject: name }),
      verify: () => {
        asked.push(name);
        return { ...identity, subject: name };
      },
    });
    const handler = authenticate(verifier('one'), verifier('two'));
    const exchange = anExchange();
    const next = () => {
      throw new Error('a fault of the app');
    };
    expect(() => handler(exchange.req, exchange.res, next)).toThrow('a fault of the app');
    expect(asked).toEqual(['one']);
  });

  it('survives a challenge that throws, whenever it is asked for', async () => {
    for (const verdict of [undefined, Promise.resolve(undefined)]) {
      const challenge = (): never => {
        throw new Error('no challenge');
      };
      const { get, errors } = await guarded([{ scheme: 'test', verify: () => verdict, challenge }]);
      expect((await get()).status).toBe(500);
      expect(errors.map(({ message }) => message)).toEqual(['no challenge']);
    }
  });

  it('tells the log of each reason once a window, with how often', async () => {
    const told: Refusals[] = [];
    let now = 0;
    const log = (refusals: Refusals) => void told.push(refusals);
    const options = { log, logWindowMs: 1_000, now: () => now };
    const { get } = await guarded([users, options]);
    for (let i = 0; i < 3; i++) await get(basic('ada', `${i}`));
    await get();
    expect(told).toEqual([
      { scheme: 'basic', reason: 'wrong name or password', count: 1 },
      { scheme: 'any', reason: 'no credentials', count: 1 },
    ]);
    now = 1_000;
    await get(basic('ada', '3'));
    expect(told.slice(2)).toEqual([
      { scheme: 'basic', reason: 'wrong name or password', count: 3 },
    ]);
  });

  it('bounds what it counts, whatever verifiers make of reasons', async () => {
    const told: Refusals[] = [];
    let n = 0;
    const verifier: Verifier = { scheme: 'x', verify: () => ({ refused: `${n++}` }) };
    const { get } = await guarded([verifier, { log: (one) => void told.push(one) }]);
    for (let i = 0; i < 105; i++) await get();
    expect(told.length).toBe(101);
    expect(told.at(-1)?.reason).toBe('other');
  });

  it('lets a fallback answer, but not pass', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const instead = fallback(({ status }) => ({ status, body: 'instead' }));
    const { port } = await gateway('connect', instead, authenticate(users), pass, proxyErrors());
    const { status, body } = await rawRequest(port, request('GET /'));
    expect([status, body]).toEqual([401, 'instead']);
    const elsewhere = fallback(() => upstream.url);
    closeAfter(() => elsewhere.close());
    const other = await gateway('connect', elsewhere, authenticate(users), pass, proxyErrors());
    expect((await rawRequest(other.port, request('GET /'))).status).toBe(401);
    expect(upstream.received()).toBe('');
  });

  it('stands before a whole reverse proxy', async () => {
    const upstream = await rawUpstream();
    const proxy = reverseProxy(upstream.url);
    closeAfter(() => proxy.close());
    const { port } = await gateway('express 5', authenticate(users), proxy);
    expect((await rawRequest(port, request('GET /'))).status).toBe(401);
    expect((await rawRequest(port, request('GET /', [basic('ada', 'lovelace')]))).status).toBe(200);
  });

  it('leaves it to the target which credentials the upstream gets', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(`http://gate:way@127.0.0.1:${upstream.port}`);
    closeAfter(() => pass.close());
    const { port } = await gateway('connect', authenticate(users), pass, proxyErrors());
    await rawRequest(port, request('GET /', [basic('ada', 'lovelace')]));
    const { lines } = onlyRequest(upstream);
    expect(lines('authorization')).toEqual([basic('gate', 'way').slice('Authorization: '.length)]);
  });
});

describe('where it is optional', () => {
  const { token, jwk } = issuer();
  const tokens = bearerJwt({ keys: [jwk], algorithms: ['ES256'], now: () => NOW });
  const lookup = { b493d48364afe44d11c0165cf470a4164d1e2609911ef998be868d46ade3de4e: 'billing' };
  const own = answers(undefined, 'own');

  it.each<[string, Verifier, right: () => Promise<string>, subject: string, wrong: string]>([
    ['password', users, async () => basic('ada', 'lovelace'), 'ada', basic('ada', 'byron')],
    ['token', tokens, async () => bearer(await token()), 'ada', bearer('a.b.c')],
    ['key', apiKey({ lookup }), async () => 'X-API-Key: banana', 'billing', 'X-API-Key: apple'],
  ])(
    'lets those pass who bring no %s, as nobody, and not those with a wrong one',
    async (...args) => {
      const [, verifier, right, subject, wrong] = args;
      const { get, pass } = await guarded([own, verifier, { optional: true }]);
      expect((await pass()).identity).toBeUndefined();
      expect((await pass(await right())).identity).toMatchObject({ subject });
      const { status, header } = await get(wrong);
      expect([status, header('www-authenticate')]).toEqual([401, expect.stringContaining('own')]);
    },
  );

  it('takes a key in the query that is wrong or there twice for wrong', async () => {
    const keys = authenticate(apiKey({ lookup, query: 'key' }), { optional: true });
    const { port } = await gateway('connect', keys, show, proxyErrors());
    const ask = async (path: string) => (await rawRequest(port, request(`GET ${path}`))).status;
    expect(await ask('/?kez=apple')).toBe(200);
    expect(await ask('/?key=banana')).toBe(200);
    expect(await ask('/?key=apple')).toBe(401);
    expect(await ask('/?key=')).toBe(401);
    expect(await ask('/?key=banana&key=banana')).toBe(401);
  });

  it.each(['Bearer', 'bearer ', 'Bearer\tx', 'Bearer,', 'Bearer  ', 'Basic', 'BASIC "', 'Basic ,'])(
    'refuses credentials that are no more than %j',
    async (value) => {
      const { get } = await guarded([tokens, users, { optional: true }]);
      expect((await get(`Authorization: ${value}`)).status).toBe(401);
    },
  );

  it.each(['Negotiate abc', 'Bearers abc', 'Basic-2 abc', ''])(
    'leaves credentials to the upstream that are for none of the verifiers: %j',
    async (value) => {
      const { pass } = await guarded([tokens, users, { optional: true }]);
      const { identity: who, headers } = await pass(`Authorization: ${value}`);
      expect([who, headers.authorization]).toEqual([undefined, value]);
    },
  );

  it('lets nobody pass while a verifier cannot tell', async () => {
    for (const verifiers of [
      [broken(), own],
      [own, broken()],
      [own, answers(true as never)],
    ]) {
      const { get, errors } = await guarded([...verifiers, { optional: true }]);
      expect((await get()).status).toBe(503);
      expect(errors).toMatchObject([{ code: 'ERR_PROXY_AUTH_UNAVAILABLE' }]);
    }
  });

  it('refuses whatever a verifier gives for a reason', async () => {
    for (const refused of [undefined, null, false, '']) {
      const { get } = await guarded([
        answers({ refused } as unknown as Verdict),
        { optional: true },
      ]);
      expect((await get()).status).toBe(401);
    }
  });

  it('keeps no identity that something before it made up, and tells the log nothing', async () => {
    const logged: Refusals[] = [];
    const { port } = await gateway(
      'node:http',
      (req, res, next) => {
        exchangeOf(req, res).identity = identity;
        next();
      },
      authenticate(users, { optional: true, log: (refusals) => void logged.push(refusals) }),
      show,
    );
    const { status, body } = await rawRequest(port, request('GET /'));
    expect([status, JSON.parse(body).identity, logged]).toEqual([200, undefined, []]);
  });

  it('leaves it to a policy what nobody may do', async () => {
    const policy = authorize({
      allow: [{ path: '/public/**' }, { path: '/own/**', claims: {} }, { path: '/open/**' }],
      deny: [{ path: '/open/**', claims: { sub: 'mallory' } }],
    });
    const gate = authenticate(users, { optional: true });
    const { port } = await gateway('express 5', gate, policy, show, proxyErrors());
    const ask = async (path: string, ...lines: string[]) =>
      (await rawRequest(port, request(`GET ${path}`, lines))).status;
    const ada = basic('ada', 'lovelace');
    expect([await ask('/public/a'), await ask('/public/a', ada)]).toEqual([200, 200]);
    expect([await ask('/own/a'), await ask('/own/a', ada)]).toEqual([403, 200]);
    expect([await ask('/open/a'), await ask('/open/a', ada)]).toEqual([403, 200]);
    expect(await ask('/public/a', basic('ada', 'byron'))).toBe(401);
  });

  it('goes by Proxy-Authorization at a forward proxy', async () => {
    forwardProxy();
    const gate = authenticate(users, { optional: true });
    const { port } = await gateway('connect', gate, show, proxyErrors());
    const ask = async (...lines: string[]) =>
      (await rawRequest(port, request('GET http://origin.example/a', lines))).status;
    expect(await ask()).toBe(200);
    expect(await ask(basic('ada', 'byron'))).toBe(200);
    expect(await ask(`Proxy-${basic('ada', 'byron')}`)).toBe(407);
  });

  it('opens a WebSocket for nobody, and not for wrong credentials', async () => {
    const { server: backend, url } = await serve(() => {});
    const sockets = new WebSocketServer({ server: backend });
    sockets.on('connection', (socket, { url: path }) => socket.send(String(path)));
    closeAfter(() => sockets.close());
    const pass = proxyPass(url);
    closeAfter(() => pass.close());
    const policy = authorize({ allow: [{ path: '/public' }, { claims: {} }] });
    const gate = authenticate(tokens, { optional: true });
    const app = appOf('express 5', gate, policy, pass, proxyErrors());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    const open = async (path: string, authorization?: string) => {
      const headers = authorization === undefined ? {} : { authorization };
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
      socket.on('error', () => {});
      closeAfter(() => socket.terminate());
      const [answer] = await Promise.race([
        once(socket, 'message').then(([message]) => [String(message)]),
        once(socket, 'unexpected-response').then(([, response]) => [response.statusCode]),
      ]);
      return answer;
    };
    expect(await open('/public')).toBe('/public');
    expect(await open('/own')).toBe(403);
    expect(await open('/own', `Bearer ${await token()}`)).toBe('/own');
    expect(await open('/public', 'Bearer a.b.c')).toBe(401);
  });
});

describe('at a forward proxy', () => {
  const line = 'GET http://origin.example/a';
  const proxyLine = (text: string) => text.replace('Authorization', 'Proxy-Authorization');

  it('asks for credentials with 407, in their own field', async () => {
    forwardProxy();
    const { port } = await gateway('connect', authenticate(users), show, proxyErrors());
    const { status, header } = await rawRequest(port, request(line));
    expect([status, header('proxy-authenticate'), header('www-authenticate')]).toEqual([
      407,
      'Basic realm="gateway", charset="UTF-8"',
      undefined,
    ]);
    const ours = proxyLine(basic('ada', 'lovelace'));
    const passed = await rawRequest(port, request(line, [ours, 'Authorization: Basic theirs']));
    const { identity: who, headers } = JSON.parse(passed.body);
    expect([who.subject, headers.authorization]).toEqual(['ada', 'Basic theirs']);
    // What is meant for the origin is nothing that the proxy judges, and the other way round.
    const theirs = await rawRequest(port, request(line, [basic('ada', 'lovelace')]));
    expect(theirs.status).toBe(407);
    expect((await rawRequest(port, request('GET /', [ours]))).status).toBe(401);
  });

  it('asks for them at CONNECT as well, and curl knows the answer', async () => {
    const upstream = await rawUpstream();
    const proxy = forwardProxy({ allow: [`127.0.0.1:${upstream.port}`] });
    closeAfter(() => proxy.close());
    const { token, jwk } = issuer();
    const keys = bearerJwt({ keys: [jwk], algorithms: ['ES256'], now: () => NOW });
    const app = appOf('express 5', authenticate(users, keys), proxy, proxyErrors());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    const target = `127.0.0.1:${upstream.port}`;
    const line = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n`;
    const ask = async (...lines: string[]) => {
      const client = await rawClient(port, [`${line}${lines.join('\r\n')}`, '', ''].join('\r\n'));
      return (await client.until((text) => text.includes('\r\n\r\n'))).split('\r\n')[0];
    };
    expect(await ask('X-A: 1')).toBe('HTTP/1.1 407 Proxy Authentication Required');
    expect(await ask(bearer(await token()))).toBe('HTTP/1.1 407 Proxy Authentication Required');
    expect(await ask(proxyLine(bearer(await token())))).toBe('HTTP/1.1 200 Connection established');
    expect(upstream.received()).toBe('');

    const curl = (user: string, ...options: string[]) =>
      promisify(execFile)('curl', [
        ...['-s', '-x', `http://127.0.0.1:${port}`, '--proxy-anyauth', '-U', user],
        ...['--noproxy', '', '-w', ' %{http_connect} %{http_code}', ...options, upstream.url],
      ]).then(
        ({ stdout }) => stdout,
        ({ stdout }) => stdout as string,
      );
    expect(await curl('ada:lovelace', '-p')).toBe('ok 200 200');
    expect(await curl('ada:lovelace')).toBe('ok 000 200');
    expect(await curl('ada:byron', '-p')).toBe(' 407 000');
    expect(upstream.received()).not.toContain('uthorization');
  });
});

describe('a WebSocket', () => {
  it('is opened for whom is known, and is a plain 401 for others', async () => {
    const { server: backend, port: backendPort } = await serve(() => {});
    const sockets = new WebSocketServer({ server: backend });
    sockets.on('connection', (socket, { headers }) => {
      socket.send(`${headers['x-user']} ${headers.authorization}`);
    });
    closeAfter(() => sockets.close());
    const pass = proxyPass(`http://127.0.0.1:${backendPort}`);
    closeAfter(() => pass.close());
    const { token, jwk } = issuer();
    const keys = bearerJwt({ keys: [jwk], algorithms: ['ES256'], now: () => NOW, forward: false });
    const tell: Middleware = (req, res, next) => {
      const { headers, identity: who } = exchangeOf(req, res);
      headers.set('X-User', who?.subject ?? 'nobody');
      next();
    };
    const app = appOf('express 5', authenticate(keys), tell, pass, proxyErrors());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    closeAfter(() => attached.close());

    const refused = new WebSocket(`ws://127.0.0.1:${port}/`);
    const [, response] = await once(refused, 'unexpected-response');
    expect([response.statusCode, response.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="gateway"',
    ]);
    refused.on('error', () => {});
    refused.terminate();
    const headers = { authorization: `Bearer ${await token()}` };
    const opened = new WebSocket(`ws://127.0.0.1:${port}/`, { headers });
    const [message] = await once(opened, 'message');
    expect(String(message)).toBe('ada undefined');
    opened.close();
    await once(opened, 'close');
  });
});

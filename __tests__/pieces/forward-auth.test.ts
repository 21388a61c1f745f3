import type { IncomingMessage, RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  type ForwardAuthOptions,
  forwardAuth,
  forwardedFor,
  modifyResponse,
  proxyPass,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request as bytesOf, onlyRequest, requestsOf, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

interface Rig {
  readonly framework?: (typeof frameworks)[number];
  readonly before?: Middleware[];
  readonly after?: Middleware[];
}

/** A gateway that asks a service before it lets through to an upstream. */
async function guarded(
  url: string,
  options: Partial<ForwardAuthOptions> = {},
  { framework = 'express 5', before = [], after = [] }: Rig = {},
) {
  const upstream = await rawUpstream();
  const { errors, record } = recordErrors();
  const auth = forwardAuth({ url, ...options });
  const pass = proxyPass(upstream.url);
  closeAfter(() => Promise.all([auth.close(), pass.close()]));
  const { port } = await gateway(framework, ...before, auth, ...after, pass, record);
  return {
    upstream,
    errors,
    port,
    ask: (line: string, ...headers: string[]) => rawRequest(port, bytesOf(line, headers)),
  };
}

/** A service that notes what it is asked. */
async function service(answer: RequestListener = (_req, res) => void res.end('ok')) {
  const seen: IncomingMessage[] = [];
  const sockets = new Set<unknown>();
  const { url } = await serve((req, res) => {
    seen.push(req);
    sockets.add(req.socket);
    answer(req, res);
  });
  return { url, seen, sockets };
}

describe('forwardAuth', () => {
  const url = 'http://localhost:4000/verify';
  it.each<[unknown, string]>([
    [undefined, 'forwardAuth: options must be an object, received undefined'],
    [{}, 'forwardAuth: url must be an http(s) URL, received undefined'],
    [{ url: 'http://a:b@c' }, 'forwardAuth: url has credentials'],
    [
      { url, copyHeaders: ['set-cookie'] },
      'forwardAuth: copyHeaders has "set-cookie", which is for',
    ],
    [{ url, copyHeaders: ['x_user'] }, 'forwardAuth: copyHeaders cannot have "x_user"'],
    [{ url, copyHeaders: ['Host'] }, 'forwardAuth: copyHeaders cannot have "host"'],
    [
      { url, responseHeaders: ['Connection'] },
      'forwardAuth: responseHeaders cannot have "connection"',
    ],
    [
      { url, requestHeaders: null },
      'forwardAuth: requestHeaders must be an array of field names, received null',
    ],
    [
      { url, requestHeaders: 'cookie' },
      'forwardAuth: requestHeaders must be an array of field names',
    ],
    [{ url, timeoutMs: 0 }, 'forwardAuth: timeoutMs must be a whole number from 1'],
    [
      { url, onError: 'pass' },
      'forwardAuth: onError must be one of "deny", "allow", received "pass"',
    ],
    [{ url, trust: {} }, "forwardAuth: trust must be 'app'"],
    [{ url, via: 'a b' }, 'forwardAuth: via must be a name for Via'],
    [{ url, transport: { keepAlive: 1 } }, 'forwardAuth: transport: unknown option "keepAlive"'],
    [
      { url, copyHeader: [] },
      'forwardAuth: unknown option "copyHeader", did you mean "copyHeaders"?',
    ],
  ])('refuses %#', (options, message) => {
    expect(() => forwardAuth(options as ForwardAuthOptions)).toThrow(message);
  });

  it.each(frameworks)(
    'asks with what the client sent, and lets a 2xx through, in %s',
    async (framework) => {
      const auth = await rawUpstream(
        'HTTP/1.1 204 No Content\r\nX-User: ada\r\nX-Other: 1\r\n\r\n',
      );
      const { ask, port, upstream } = await guarded(
        `${auth.url}/verify/?a=b`,
        { copyHeaders: ['X-User', 'X-Role'] },
        { framework },
      );
      const forged = ['X-User: forged', 'x_user: forged', 'X-Role: forged', 'Connection: X-User'];
      await rawRequest(
        port,
        upload('POST /shop?x', ['Cookie: a=1', 'If-None-Match: "e"', ...forged], 'body'),
      );

      const asked = onlyRequest(auth);
      expect([asked.method, asked.target, asked.body]).toEqual(['GET', '/verify/?a=b', '']);
      const told = [
        'cookie',
        'x-forwarded-method',
        'x-forwarded-uri',
        'x-forwarded-for',
        'x-forwarded-host',
        'x-forwarded-proto',
        'if-none-match',
        'content-length',
        'via',
      ];
      expect(told.map((name) => asked.lines(name))).toEqual([
        ['a=1'],
        ['POST'],
        ['/shop?x'],
        ['127.0.0.1'],
        ['app.example'],
        ['http'],
        [],
        [],
        ['1.1 headrace-auth'],
      ]);
      const sent = onlyRequest(upstream);
      expect([
        sent.body,
        sent.lines('x-user'),
        sent.lines('x-role'),
        sent.lines('x-other'),
        sent.lines('via'),
      ]).toEqual(['body', ['ada'], [], [], []]);
      expect(upstream.received()).not.toContain('forged');
      expect((await ask('GET /')).status).toBe(200);
    },
  );

  it('shows the service no claims of the client, and those that forwardedFor() has written', async () => {
    const claims = [
      'X-Forwarded-Uri: /x',
      'X-Forwarded-Method: X',
      'X-Forwarded-For: 6.6.6.6',
      'X-Original-URL: /x',
      'X_Original_Url: /x',
      'X.Rewrite.Url: /original',
      'X_Auth_Request_Redirect: /original',
      'X-Real-IP: 6.6.6.6',
      'Forwarded: for=6.6.6.6',
    ];
    const plain = await service();
    await (await guarded(plain.url)).ask('GET /a', ...claims);
    const behind = await service();
    const before = [forwardedFor({ trust: true })];
    await (await guarded(behind.url, {}, { before })).ask('GET /a', ...claims);

    expect(plain.seen[0]?.headers).toMatchObject({
      'x-forwarded-uri': '/a',
      'x-forwarded-method': 'GET',
      'x-forwarded-for': '127.0.0.1',
    });
    expect(plain.seen[0]?.rawHeaders.join()).not.toMatch(/6\.6\.6\.6|original/i);
    expect(behind.seen[0]?.headers).toMatchObject({
      'x-forwarded-uri': '/a',
      'x-forwarded-for': '6.6.6.6, 127.0.0.1',
      via: '1.1 headrace, 1.1 headrace-auth',
    });
  });

  it.each([
    ['http://gw.example/admin?x=1', '/admin?x=1'],
    ['http://gw.example?x', '/?x'],
    ['/admin#/public', '/admin'],
    ['/admin?x=1#y', '/admin?x=1'],
  ])('tells the service of %s the path that is sent', async (target, path) => {
    const auth = await service();
    const { ask, upstream } = await guarded(auth.url);
    expect((await ask(`GET ${target}`)).status).toBe(200);
    expect(auth.seen[0]?.headers['x-forwarded-uri']).toBe(path);
    expect(upstream.received()).toContain(`GET ${path} HTTP/1.1\r\n`);
  });

  it('shows it only the fields that are named', async () => {
    const auth = await service();
    const { ask } = await guarded(auth.url, { requestHeaders: ['Cookie'] });
    await ask('GET /', 'Cookie: a=1', 'Authorization: secret');
    const { cookie, authorization, 'x-forwarded-uri': uri } = auth.seen[0]?.headers ?? {};
    expect([cookie, authorization, uri]).toEqual(['a=1', undefined, '/']);
  });

  it.each([
    [
      401,
      { 'WWW-Authenticate': 'Basic', 'Set-Cookie': ['a=1', 'b=2'], 'Content-Type': 'text/html' },
    ],
    [403, {}],
    [302, { Location: '/login' }],
  ])('relays %i to the client, with its fields and its body', async (status, headers) => {
    const auth = await service((_req, res) => void res.writeHead(status, headers).end('no way'));
    const after = [modifyResponse((response) => void response.headers.set('x-edited', '1'))];
    const { ask, upstream } = await guarded(auth.url, {}, { after, before: after });
    const response = await ask('GET /');

    expect([response.status, response.body, response.header('x-edited')]).toEqual([
      status,
      'no way',
      undefined,
    ]);
    for (const [name, value] of Object.entries(headers)) {
      const lines = response.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase());
      expect(lines.map(([, line]) => line)).toEqual([value].flat());
    }
    expect(upstream.sockets).toEqual([]);
  });

  it('takes any other 4xx for a no, whatever is said of errors', async () => {
    for (const status of [304, 400, 404, 407, 431]) {
      const auth = await service((_req, res) => void res.writeHead(status).end());
      const { ask, errors, upstream } = await guarded(auth.url, { onError: 'allow' });
      expect([status, (await ask('GET /')).status]).toEqual([status, 403]);
      expect(errors[0]?.cause).toMatchObject({
        message: `forwardAuth: the service answered ${status}`,
      });
      expect(upstream.sockets).toEqual([]);
    }
  });

  const failing: [string, string | ((request: string) => string | undefined)][] = [
    ['answers 500', 'HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n'],
    ['does not speak HTTP', 'hello\r\n\r\n'],
    [
      'frames its answer twice',
      'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'has too much to say',
      `HTTP/1.1 500 No\r\nContent-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`,
    ],
    ['says nothing', () => undefined],
    ['stops in the middle', 'HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nab'],
  ];

  it.each(failing)(
    'answers 503, or passes where that is asked for, when the service %s',
    async (_, answer) => {
      const auth = await rawUpstream(answer);
      const options = { timeoutMs: 150, copyHeaders: ['x-user'] };
      const strict = await guarded(auth.url, options);
      const lenient = await guarded(auth.url, { ...options, onError: 'allow' });

      const [refused, passed] = await Promise.all([
        strict.ask('GET /', 'X-User: forged'),
        lenient.ask('GET /', 'X-User: forged'),
      ]);
      expect([refused.status, strict.errors[0]?.code]).toEqual([503, 'ERR_PROXY_AUTH_UNAVAILABLE']);
      expect(strict.upstream.sockets).toEqual([]);
      expect(passed.status).toBe(200);
      expect(onlyRequest(lenient.upstream).lines('x-user')).toEqual([]);
    },
  );

  const page = `Content-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`;
  it.each<[string, string]>([
    ['403 with too much of a page', `HTTP/1.1 403 No\r\n${page}`],
    ['302 with too much of a page', `HTTP/1.1 302 Found\r\nLocation: /login\r\n${page}`],
    ['404 with too much of a page', `HTTP/1.1 404 No\r\n${page}`],
    ['401 whose body comes too late', 'HTTP/1.1 401 Who\r\nContent-Length: 9\r\n\r\nno!'],
    ['401 with too many fields', `HTTP/1.1 401 Who\r\n${'A: b\r\n'.repeat(257)}\r\n`],
  ])('takes a %s for a no without words, whatever is said of errors', async (_, answer) => {
    for (const onError of ['deny', 'allow'] as const) {
      const auth = await rawUpstream(answer);
      const { ask, errors, upstream } = await guarded(auth.url, { timeoutMs: 150, onError });
      const { status, body } = await ask('GET /');
      expect([status, errors[0]?.code]).toEqual([403, 'ERR_PROXY_FORBIDDEN']);
      expect(body).not.toContain('xxx');
      expect(upstream.sockets).toEqual([]);
    }
  });

  it('takes a 401 that breaks off for a no without words, and a 200 or 500 that cannot be read for none', async () => {
    const fields = 'A: b\r\n'.repeat(257);
    for (const [answer, expected] of [
      ['HTTP/1.1 401 Who\r\nContent-Length: 9\r\n\r\nno!', 403],
      [`HTTP/1.1 200 OK\r\n${fields}\r\n`, 503],
      [`HTTP/1.1 500 Oops\r\n${page}`, 503],
    ] as const) {
      const auth = await rawUpstream((_bytes, socket) => void socket.end(answer));
      const { ask } = await guarded(auth.url);
      expect([answer.slice(0, 12), (await ask('GET /')).status]).toEqual([
        answer.slice(0, 12),
        expected,
      ]);
    }
  });

  it('lets a yes pass at its head, and ends one that goes on for too long', async () => {
    let open = 0;
    const auth = await service((_req, res) => {
      open++;
      res.writeHead(200).flushHeaders();
      const drip = setInterval(() => res.write('.'), 5);
      res.on('close', () => {
        clearInterval(drip);
        open--;
      });
    });
    const { ask } = await guarded(auth.url, { timeoutMs: 100, transport: { connections: 1 } });
    expect((await ask('GET /')).status).toBe(200);
    expect(open).toBe(1);
    await eventually('the end of the yes', () => open === 0);
    expect((await ask('GET /')).status).toBe(200);
    await eventually('the end of the other', () => open === 0);
  });

  it('answers 503 when there is nobody to ask', async () => {
    const { ask, errors } = await guarded('http://127.0.0.1:1');
    expect((await ask('GET /')).status).toBe(503);
    expect(errors[0]?.cause).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('passes chosen fields of a yes on to the client', async () => {
    const headers = { 'Set-Cookie': ['a=1', 'b=2'], 'X-Session': 'new', 'X-Other': '1' };
    const auth = await service((_req, res) => void res.writeHead(200, headers).end('ok'));
    const { ask } = await guarded(auth.url, { responseHeaders: ['set-cookie', 'x-session'] });
    const response = await ask('GET /');

    const lines = response.headers.filter(([name]) =>
      /^(set-cookie|x-session|x-other)/i.test(name),
    );
    expect(lines.map(([name, value]) => `${name.toLowerCase()}: ${value}`)).toEqual([
      'set-cookie: a=1',
      'set-cookie: b=2',
      'x-session: new',
    ]);
  });

  it('asks over connections that it keeps, and once more when one of them is lost', async () => {
    let last = false;
    const auth = await rawUpstream((_request, socket) => {
      if (last) {
        last = false;
        socket.destroy();
        return undefined;
      }
      return 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    });
    const { ask } = await guarded(auth.url);
    for (let i = 0; i < 3; i++) await ask('GET /');
    expect(auth.sockets).toHaveLength(1);
    last = true;
    expect((await ask('GET /')).status).toBe(200);
    expect(requestsOf(auth)).toHaveLength(5);
  });

  it('asks no further when the client has left', async () => {
    let asked: () => void = () => {};
    const whenAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    let left: () => void = () => {};
    const whenLeft = new Promise<void>((resolve) => {
      left = resolve;
    });
    const auth = await rawUpstream((_request, socket) => {
      socket.on('close', left);
      asked();
      return undefined;
    });
    const { port, errors, upstream } = await guarded(auth.url, { onError: 'allow' });
    const client = await rawClient(port, bytesOf('GET /'));
    await whenAsked;
    client.socket.destroy();
    await whenLeft;
    expect([errors, upstream.sockets]).toEqual([[], []]);
  });

  it('does not ask itself for ever', async () => {
    let gatewayUrl = '';
    let count = 0;
    const counting: Middleware = (_req, _res, next) => {
      count++;
      next();
    };
    const relay = await service((req, res) => {
      void fetch(`${gatewayUrl}/auth`, { headers: { via: String(req.headers.via) } }).then(
        (answer) => {
          res.writeHead(answer.status).end();
        },
      );
    });
    const { port, ask, errors } = await guarded(relay.url, {}, { before: [counting] });
    gatewayUrl = `http://127.0.0.1:${port}`;
    expect((await ask('GET /')).status).toBe(503);
    expect(errors.map(({ code }) => code)).toEqual([
      'ERR_PROXY_LOOP',
      'ERR_PROXY_AUTH_UNAVAILABLE',
    ]);
    expect(count).toBe(2);
  });
});

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import {
  exchangeOf,
  forwardedFor,
  type Handler,
  modifyResponse,
  type ProxyError,
  proxyErrors,
  proxyPass,
  type ResponseEdit,
  reverseProxy,
  rewriteCookies,
  rewriteRedirects,
  stripHopHeaders,
  Upstream,
} from 'headrace';
import { parseResponses, rawClient, rawRequest } from './helpers/client.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from './helpers/servers.js';
import { canonicalHead, canonicalRequests } from './helpers/wire.js';

const HOST = 'Host: gateway.test';

/** Sends a GET with these fields through middleware to a recording upstream; gives the fields it got. */
async function fieldsUpstream(
  framework: (typeof frameworks)[number],
  fields: readonly string[],
  ...before: Middleware[]
): Promise<[name: string, value: string][]> {
  const upstream = await rawUpstream();
  const pass = proxyPass(upstream.url);
  closeAfter(() => pass.close());
  const { port } = await gateway(framework, ...before, pass);
  const { status } = await rawRequest(port, bytesOf('/', fields));
  expect(status).toBe(200);
  const { requests, rest } = canonicalRequests(upstream.received());
  expect([requests.length, rest]).toEqual([1, '']);
  return requests.flatMap(({ headers }) => headers);
}

function bytesOf(target: string, fields: readonly string[] = []): string {
  return [`GET ${target} HTTP/1.1`, HOST, ...fields, '', ''].join('\r\n');
}

/** The values of all fields that a CGI-style server would read under the same name. */
function readAs(headers: readonly [string, string][], name: string): string[] {
  const folded = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '_');
  return headers.filter(([key]) => folded(key) === folded(name)).map(([, value]) => value);
}

describe.each(frameworks)('names under %s', (framework) => {
  it.each([
    'X_Forwarded_For',
    'X.Forwarded.For',
    'x_forwarded-for',
    'X_Forwarded_Host',
    'X_Forwarded_Proto',
    'X_Forwarded_Anything',
    'X_Real_IP',
    'X_Client_IP',
    'True_Client_IP',
    'Content_Length',
    'Transfer_Encoding',
    'Transfer.Encoding',
    'Keep_Alive',
    'Proxy_Authorization',
    'HTTP2_Settings',
  ])('drops %s, which a CGI-style upstream takes for a field of ours', async (name) => {
    const seen = await fieldsUpstream(framework, [`${name}: evil`], forwardedFor());

    expect(seen.filter(([, value]) => value.includes('evil'))).toEqual([]);
  });

  it('drops spellings of what the app sets, on the exchange or on the request', async () => {
    const app: Middleware = (req, res, next) => {
      exchangeOf(req, res).headers.set('X-User', 'alice');
      req.headers['x-role'] = 'reader';
      next();
    };
    const spellings = ['x.user', 'X_User', 'x!user', 'x_role', 'X.Role'];

    const seen = await fieldsUpstream(
      framework,
      spellings.map((name) => `${name}: evil`),
      app,
    );

    expect(readAs(seen, 'x-user')).toEqual(['alice']);
    expect(readAs(seen, 'x-role')).toEqual(['reader']);
  });

  it('lets other underscores pass', async () => {
    const seen = await fieldsUpstream(framework, ['my_field: a', 'x_trace.id: b'], forwardedFor());

    expect(seen).toEqual(
      expect.arrayContaining([
        ['my_field', 'a'],
        ['x_trace.id', 'b'],
      ]),
    );
  });
});

/** Everything by which a client may say who it is, and a few that only look like it. */
const claims = [
  'Forwarded: for=6.6.6.6;proto=https;host=evil.test',
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-For: 6.6.6.7',
  'X-Forwarded-Host: evil.test',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Port: 666',
  'X-Forwarded-Prefix: /evil',
  'X-Forwarded-Server: evil.test',
  'X-Forwarded-Ssl: on',
  'X-Real-IP: 6.6.6.6',
  'X-Client-IP: 6.6.6.6',
  'True-Client-IP: 6.6.6.6',
];

describe.each(frameworks)('who the client is, under %s', (framework) => {
  it('is not told by a peer that is not trusted: its claims are replaced or dropped', async () => {
    const seen = await fieldsUpstream(framework, claims, forwardedFor());

    const told = seen.filter(([name]) => /forwarded|-ip$/i.test(name));
    expect(Object.fromEntries(told)).toEqual({
      'X-Forwarded-For': '127.0.0.1',
      'X-Forwarded-Host': 'gateway.test',
      'X-Forwarded-Proto': 'http',
    });
    expect(told).toHaveLength(3);
  });

  it.each([
    ['X-Forwarded-Proto', 'javascript', 'http'],
    ['X-Forwarded-Proto', 'https"', 'http'],
    ['X-Forwarded-Proto', '', 'http'],
    ['X-Forwarded-Proto', 'HTTPS, http', 'https'],
    ['X-Forwarded-Host', 'evil.test/path', 'gateway.test'],
    ['X-Forwarded-Host', 'u@evil.test', 'gateway.test'],
    ['X-Forwarded-Host', '"><script>', 'gateway.test'],
    ['X-Forwarded-Host', 'evil.test:port', 'gateway.test'],
    ['X-Forwarded-Host', 'shop.test:8443', 'shop.test:8443'],
    ['X-Forwarded-Port', '80@evil', '80'],
    ['X-Forwarded-Port', '-1', '80'],
    ['X-Forwarded-Port', '8443', '8443'],
    ['X-Real-IP', '6.6.6.6', '127.0.0.1'],
  ])('takes of a trusted %s only what can be one: %p', async (name, value, written) => {
    const headers = [
      'x-forwarded-proto',
      'x-forwarded-host',
      'x-forwarded-port',
      'x-real-ip',
    ] as const;

    const seen = await fieldsUpstream(
      framework,
      [`${name}: ${value}`],
      forwardedFor({ trust: true, headers }),
    );

    expect(readAs(seen, name)).toEqual([written]);
  });

  it.each(['for=1.2.3.4;host="a', 'for="\\"', '"', 'for="a\\'])(
    'does not append to a Forwarded whose quotes stay open: %p',
    async (value) => {
      const seen = await fieldsUpstream(
        framework,
        [`Forwarded: ${value}`],
        forwardedFor({ trust: true, headers: 'forwarded' }),
      );

      expect(readAs(seen, 'forwarded')).toEqual(['for=127.0.0.1;host=gateway.test;proto=http']);
    },
  );

  it('cannot break out of the quotes of our own Forwarded with Host', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    const { port } = await gateway(framework, forwardedFor({ headers: 'forwarded' }), pass);

    const hosts = ['a;proto=https', 'a";proto=https;x="', 'a:80;proto=https'];
    for (const host of hosts) {
      await rawRequest(port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    }

    const { requests } = canonicalRequests(upstream.received());
    for (const request of requests) {
      expect(request.header('forwarded')).toBe('for=127.0.0.1;proto=http');
    }
    // A semicolon can stand in a host; quotes cannot.
    expect(requests.length).toBeLessThan(hosts.length);
  });
});

describe.each(frameworks)(
  'fields that the client nominates in Connection, under %s',
  (framework) => {
    it('are gone before anything behind stripHopHeaders() decides on them, and never ours', async () => {
      const decisions: unknown[] = [];
      const decide: Middleware = (req, res, next) => {
        const { headers } = exchangeOf(req, res);
        decisions.push(headers.get('cookie'), headers.get('authorization'), headers.get('x-user'));
        headers.set('X-User', 'alice');
        req.headers['x-role'] = 'reader';
        next();
      };

      const seen = await fieldsUpstream(
        framework,
        [
          'Connection: cookie, Authorization, x-user, x-role, x-forwarded-for, via, host-hint',
          'Cookie: admin=1',
          'Authorization: Basic eA==',
          'X-User: root',
          'X-Role: admin',
          'Host-Hint: evil',
        ],
        stripHopHeaders(),
        forwardedFor(),
        decide,
      );

      expect(decisions).toEqual([undefined, undefined, undefined]);
      expect(readAs(seen, 'cookie')).toEqual([]);
      expect(readAs(seen, 'authorization')).toEqual([]);
      expect(readAs(seen, 'host-hint')).toEqual([]);
      expect(readAs(seen, 'x-user')).toEqual(['alice']);
      expect(readAs(seen, 'x-role')).toEqual(['reader']);
      expect(readAs(seen, 'x-forwarded-for')).toEqual(['127.0.0.1']);
      expect(readAs(seen, 'via')).toEqual(['1.1 headrace']);
    });
  },
);

const INJECTIONS = [
  '/<script>alert(1)</script>',
  '/\'"%3e%3cimg%20src=x',
  '/%0d%0aSet-Cookie:%20a=b',
  '/%1b[31m',
];

describe.each(frameworks)('answers that we compose, under %s', (framework) => {
  it.each(['text/html', 'application/json', 'text/plain'])(
    'have nothing of the request in an error page as %s',
    async (accept) => {
      const pass = proxyPass('http://user:secret@127.0.0.1:1');
      const { port } = await gateway(framework, pass, proxyErrors());

      const answers = await Promise.all(
        INJECTIONS.map((target) => rawRequest(port, bytesOf(target, [`Accept: ${accept}`]))),
      );

      expect(new Set(answers.map(({ body }) => body)).size).toBe(1);
      const [{ status, body, headers } = answers[0]!] = answers;
      expect(status).toBe(502);
      expect(body + JSON.stringify(headers)).not.toMatch(/127\.0\.0\.1|secret|ECONN|script>a|img/);
    },
  );

  it.each([
    ['a path that the base is cut off', '/base//evil.test/x', '/.//evil.test/x'],
    ['one with a backslash', '/base/\\evil.test/x', '/./\\evil.test/x'],
    ['one with a tab', '/base/\t/evil.test/x', '/./\t/evil.test/x'],
    [
      'a whole URL of the upstream',
      'http://{upstream}/base//evil.test/x',
      'http://gateway.test//evil.test/x',
    ],
  ])('do not make another host of %s', async (_, location, mapped) => {
    const upstream = await rawUpstream(() => {
      const value = location.replace('{upstream}', `127.0.0.1:${upstream.port}`);
      return `HTTP/1.1 302 Found\r\nLocation: ${value}\r\nContent-Length: 0\r\n\r\n`;
    });
    const pass = proxyPass(`${upstream.url}/base`);
    const { port } = await gateway(framework, rewriteRedirects(), pass);

    const response = await rawRequest(port, bytesOf('/'));

    expect(response.header('location')).toBe(mapped);
    expect(new URL(mapped, 'http://gateway.test/').host).toBe('gateway.test');
  });

  it('leave Set-Cookie byte for byte as it was', async () => {
    const cookies = [
      'a="b, c"; Expires=Wed, 21 Oct 2026 07:28:00 GMT;Path=/ ;  secure',
      'k\xe9y=v\xe4lue; domain=.evil.test',
      '__Host-a=b; Path=/; Secure',
      '=;;;',
      'x',
    ];
    const lines = cookies.map((cookie) => `Set-Cookie: ${cookie}\r\n`).join('');
    const answer = `HTTP/1.1 200 OK\r\n${lines}Content-Length: 0\r\n\r\n`;
    const upstream = await rawUpstream(Buffer.from(answer, 'latin1'));
    const pipeline = reverseProxy(upstream.url);
    closeAfter(() => pipeline.close());
    const { port } = await gateway(framework, pipeline);

    const { headers } = await rawRequest(port, bytesOf('/'));

    expect(headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value)).toEqual(
      cookies,
    );
  });

  it('keep __Host- and __Secure- cookies valid when cookies are rewritten', async () => {
    const answer =
      'HTTP/1.1 200 OK\r\nSet-Cookie: __Host-a=b; Path=/; Secure\r\n' +
      'Set-Cookie: __Secure-c=d; Path=/app; Secure; Domain=up.test\r\nContent-Length: 0\r\n\r\n';
    const upstream = await rawUpstream(answer);
    const cookies = rewriteCookies({ domain: 'gateway.test', path: '/shop', secure: false });
    const { port } = await gateway(framework, cookies, proxyPass(upstream.url));

    const { headers } = await rawRequest(port, bytesOf('/'));

    expect(headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value)).toEqual([
      '__Host-a=b; Path=/; Secure',
      '__Secure-c=d; Path=/shop; Secure; Domain=gateway.test',
    ]);
  });

  it.each([
    ['a semicolon', 'evil.test; Secure'],
    ['a line break', 'a\r\nSet-Cookie: b=c'],
    ['a terminal escape', 'a\x1b[31m'],
  ])('take nothing with %s for an attribute of a cookie', async (_, value) => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Domain=x\r\nContent-Length: 0\r\n\r\n',
    );
    const cookies = rewriteCookies({ domain: () => value });
    const { port } = await gateway(framework, cookies, proxyPass(upstream.url));

    const { status, headers } = await rawRequest(port, bytesOf('/'));

    expect(status).toBe(502);
    expect(headers.filter(([name]) => /cookie/i.test(name))).toEqual([]);
  });
});

/** What an app may do that hands on what the client sent, decoded. */
const careless: Record<string, (req: IncomingMessage, res: ServerResponse) => void> = {
  'a decoded path': (req, res) => {
    exchangeOf(req, res).path = decoded(req);
  },
  'a decoded URL': (req) => {
    req.url = decoded(req);
  },
  'a decoded value on the exchange': (req, res) => {
    exchangeOf(req, res).headers.set('X-Path', decoded(req));
  },
  'a decoded value on the request': (req) => {
    req.headers['x-path'] = decoded(req);
  },
  'a decoded name on the request': (req) => {
    req.headers[decoded(req)] = 'a';
  },
  'a decoded method': (req, res) => {
    exchangeOf(req, res).method = decoded(req);
  },
  'a decoded Host': (req, res) => {
    exchangeOf(req, res).headers.set('Host', decoded(req));
  },
};

const LINES = '/%20HTTP/1.1%0d%0aHost:%20a%0d%0aX-Evil:%20b%0d%0a%0d%0aGET%20/evil%20HTTP/1.1';

describe.each(frameworks)('an app that is careless, under %s', (framework) => {
  it.each(Object.entries(careless))('splits no request with %s', async (_, edit) => {
    const upstream = await rawUpstream();
    const app: Middleware = (req, res, next) => {
      try {
        edit(req, res);
      } catch (error) {
        return next(error);
      }
      next();
    };
    const { port } = await gateway(framework, app, proxyPass(upstream.url));

    const { status } = await rawRequest(port, bytesOf(LINES));

    expect(status).toBeGreaterThanOrEqual(400);
    expect(upstream.received()).toBe('');
  });

  it.each<[string, ResponseEdit]>([
    [
      'a reason phrase',
      (response, req) => void Object.assign(response, { statusText: decoded(req) }),
    ],
    ['a value', (response, req) => void response.headers.set('X-Path', decoded(req))],
    ['a name', (response, req) => void response.headers.append(decoded(req), 'a')],
    ['a value on res', (_response, req, res) => void res.setHeader('X-Path', decoded(req))],
  ])('splits no response with %s', async (_, edit) => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, modifyResponse(edit), proxyPass(upstream.url));
    const client = await rawClient(port, bytesOf(LINES));

    const text = await client.until((text) => parseResponses(text).length > 0);

    expect(text).not.toMatch(/^X-Evil/m);
    expect(parseResponses(text)).toHaveLength(1);
    canonicalHead(text);
  });
});

function decoded(req: IncomingMessage): string {
  return decodeURIComponent(req.url ?? '');
}

describe('a redirect of the upstream', () => {
  it('is passed on and never followed', async () => {
    const elsewhere = await rawUpstream();
    const upstream = await rawUpstream(
      `HTTP/1.1 302 Found\r\nLocation: ${elsewhere.url}/\r\nContent-Length: 0\r\n\r\n`,
    );
    const pipeline = reverseProxy(upstream.url);
    closeAfter(() => pipeline.close());
    const { port } = await gateway('express 5', pipeline);

    const response = await rawRequest(port, bytesOf('/'));

    expect([response.status, response.header('location')]).toEqual([302, `${elsewhere.url}/`]);
    expect(elsewhere.sockets).toEqual([]);
  });
});

describe('credentials in the URL of a target', () => {
  const BASIC = Buffer.from('user:secret').toString('base64');

  it('are used', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url.replace('//', '//user:secret@'));
    const { port } = await gateway('express 5', pass);

    await rawRequest(port, bytesOf('/', ['Authorization: Bearer of-the-client']));

    const [request] = canonicalRequests(upstream.received()).requests;
    expect(readAs(request?.headers ?? [], 'authorization')).toEqual([`Basic ${BASIC}`]);
  });

  it('are never shown: not by the upstream, the exchange or an error, in any notation', async () => {
    const shown: string[] = [];
    const show = (value: unknown) =>
      shown.push(String(value), JSON.stringify(value), inspect(value, { depth: 9 }));
    show(new Upstream('http://user:secret@127.0.0.1:1/base'));
    const log = (error: ProxyError, req: object) => {
      const { res } = req as Parameters<typeof exchangeOf>[0] & {
        res: Parameters<typeof exchangeOf>[1];
      };
      show(error);
      show(error.upstream);
      show(exchangeOf(req as Parameters<typeof exchangeOf>[0], res));
    };
    const pass = proxyPass('http://user:secret@127.0.0.1:1');
    const { port } = await gateway('express 5', pass, proxyErrors({ log }));
    const { body } = await rawRequest(port, bytesOf('/'));
    shown.push(body);
    for (const bad of ['ftp://user:secret@a', 'http://user:secret@', 'user:secret@a']) {
      try {
        proxyPass(bad);
      } catch (error) {
        show(error);
      }
    }

    expect(shown.length).toBeGreaterThan(18);
    expect(shown.filter((text) => text.includes('secret') || text.includes(BASIC))).toEqual([]);
  });
});

const mounts: Record<string, (pipeline: Handler) => RequestListener> = {
  'express 5': (pipeline) => express().use('/api', pipeline),
  'express 4': (pipeline) => express4().use('/api', pipeline),
  connect: (pipeline) => connect().use('/api', pipeline),
};

describe.each(Object.entries(mounts))('a pipeline mounted at /api under %s', (_, mounted) => {
  it.each([
    '/api//evil.test/x',
    '/api/\\evil.test/x',
    '/api\\evil.test',
    '/api/../x',
    '/api/..',
    '/api..',
    '/api../x',
    '/apix',
    '/api.evil.test/x',
    '/api@evil.test/x',
    '/api:80@evil.test/x',
    '/api;/x',
    '/API//evil.test',
    '/api%2f..%2fx',
    '/api/%2e%2e/x',
    '//api/x',
    '//evil.test/api/x',
    '/x/../api/x',
    '/api?//evil.test',
    '/api#//evil.test',
    '/api',
    'http://evil.test/api',
    'http://evil.test/api//x',
    'http://evil.test/apix',
    'http://evil.test/x/api',
    'http:/api/x',
    'x:/api/x',
  ])('goes to its own upstream with what is behind the mount, or nowhere: %p', async (target) => {
    const upstream = await rawUpstream();
    const pipeline = reverseProxy(upstream.url);
    closeAfter(() => pipeline.close());
    const { port } = await serve(mounted(pipeline));

    const { status } = await rawRequest(port, bytesOf(target));

    const { requests, rest } = canonicalRequests(upstream.received());
    const [request, ...others] = requests;
    expect([others, rest]).toEqual([[], '']);
    if (request === undefined) {
      expect([400, 404]).toContain(status);
      return;
    }
    const path = target.replace(/^http:\/\/[^/]*/, '').replace(/#.*/, '');
    const behind = path.slice('/api'.length).replace(/^(?!\/)/, '/');
    expect(request.header('host')).toBe(`127.0.0.1:${upstream.port}`);
    // Express 4 takes the first slash behind the mount path for its own.
    expect([behind, behind.replace(/^\/\//, '/')]).toContain(request.target);
  });
});

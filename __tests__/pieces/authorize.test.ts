import { describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  type AccessCheck,
  type AccessRule,
  type AuthorizeOptions,
  authorize,
  exchangeOf,
  type Handler,
  type Identity,
  proxyErrors,
  proxyPass,
  rewriteUrl,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request as bytesOf } from '../helpers/requests.js';
import { closeAfter, frameworks, gateway, type Middleware, serve } from '../helpers/servers.js';

/** Stands for `authenticate()`: the client says in plain words who it is. */
const identify: Handler = (req, res, next) => {
  const given = req.headers['x-identity'] as string | undefined;
  if (given !== undefined) exchangeOf(req, res).identity = JSON.parse(given) as Identity;
  next?.();
};

const as = (claims: object, subject?: string) =>
  `X-Identity: ${JSON.stringify({ claims, subject, scheme: 'test' })}`;

const greet: Middleware = (_req, res) => void res.end('in');

/** An app behind a policy: asks it, and tells the status or the reason of the refusal. */
async function guarded(policy: AuthorizeOptions | AccessCheck) {
  const { errors, record } = recordErrors();
  const { port } = await gateway('express 5', identify, authorize(policy), greet, record);
  return async (line: string, ...headers: string[]) => {
    const { status } = await rawRequest(port, bytesOf(line, headers));
    if (status === 200) return status;
    const { cause, message } = errors.at(-1) ?? {};
    return (cause as { code?: string } | undefined)?.code ?? message;
  };
}

const everywhere: AccessRule = { path: '/**' };

describe('authorize', () => {
  it.each([
    [undefined, 'authorize: options must be an object, received undefined'],
    [{}, 'authorize: allow is required; without it, nothing would pass'],
    [{ deny: [] }, 'authorize: allow is required; without it, nothing would pass'],
    [{ alow: [] }, 'authorize: unknown option "alow", did you mean "allow"?'],
    [{ allow: {} }, 'authorize: allow must be a list of rules, received an object []'],
    [{ allow: [{}] }, "authorize: allow[0] needs a condition; { path: '/**' } is everything"],
    [{ allow: [{ path: undefined }] }, 'authorize: allow[0].path is there, and undefined'],
    [{ allow: [{ path: '' }] }, 'authorize: allow[0].path must be a plain path'],
    [{ allow: [{ path: [] }] }, 'authorize: allow[0].path must be text or a list of it'],
    [{ allow: [{ paths: '/' }] }, 'authorize: allow[0]: unknown option "paths"'],
    [{ allow: [], deny: [{ methods: [] }] }, 'authorize: deny[0].methods must be text or a list'],
    [{ allow: [{ methods: ['G T'] }] }, 'authorize: allow[0].methods[0] must be a method'],
    [{ allow: [{ claims: [] }] }, 'authorize: allow[0].claims must be an object of claims'],
    [
      { allow: [{ claims: new Map([['role', 'admin']]) }] },
      'authorize: allow[0].claims must be an object of claims, received an instance of Map',
    ],
    [
      { allow: [{ claims: Promise.resolve({}) }] },
      'authorize: allow[0].claims must be an object of claims, received a promise',
    ],
    [{ allow: [{ claims: { a: {} } }] }, 'authorize: allow[0].claims.a must be a value, a list'],
    [{ allow: [{ claims: { a: [] } }] }, 'authorize: allow[0].claims.a must be a value, a list'],
    [{ allow: [{ host: 'a:80' }] }, 'authorize: allow[0].host must be a host without a port'],
    [{ allow: [{ address: 'a' }] }, 'authorize: allow[0].address[0] must be an address'],
    [{ allow: [{ when: true }] }, 'authorize: allow[0].when must be a function, received true'],
    [{ allow: [], caseSensitive: 1 }, 'authorize: caseSensitive must be true or false'],
    [{ allow: [], trust: {} }, "authorize: trust must be 'app', a boolean"],
  ])('refuses %j', (policy, message) => {
    expect(() => authorize(policy as AuthorizeOptions)).toThrow(message);
  });

  it.each(frameworks)(
    'lets pass what a rule allows, and nothing else, in %s',
    async (framework) => {
      const { errors, record } = recordErrors();
      const policy = authorize({ allow: [{ path: '/a/*', methods: ['GET'] }] });
      const { port } = await gateway(framework, policy, greet, record);
      const statusOf = async (line: string) => (await rawRequest(port, bytesOf(line))).status;

      expect(await statusOf('GET /a/b?c')).toBe(200);
      expect(await statusOf('HEAD /a/b')).toBe(200);
      expect(await statusOf('POST /a/b')).toBe(403);
      expect(await statusOf('GET /b')).toBe(403);
      expect(errors[0]).toMatchObject({
        code: 'ERR_PROXY_FORBIDDEN',
        message: 'This request is not allowed',
        cause: { code: 'NOT_ALLOWED', message: 'authorize: no rule allows it' },
      });
    },
  );

  it('needs every condition of a rule, and one rule', async () => {
    const ask = await guarded({
      allow: [
        {
          path: ['/a/**', '/b'],
          methods: ['POST'],
          claims: { role: 'admin' },
          host: 'app.example',
        },
        { path: '/c' },
      ],
    });
    const admin = as({ role: 'admin' });

    expect(await ask('POST /a', admin)).toBe(200);
    expect(await ask('POST /b', admin)).toBe(200);
    expect(await ask('GET /c')).toBe(200);
    expect(await ask('POST /a')).toBe('NOT_ALLOWED');
    expect(await ask('POST /a', as({ role: 'reader' }))).toBe('NOT_ALLOWED');
    expect(await ask('GET /a', admin)).toBe('NOT_ALLOWED');
    expect(await ask('POST /d', admin)).toBe('NOT_ALLOWED');
  });

  it('lets deny win', async () => {
    const ask = await guarded({ allow: [everywhere], deny: [{ path: '/a', methods: ['GET'] }] });

    expect(await ask('GET /b')).toBe(200);
    expect(await ask('POST /a')).toBe(200);
    expect(await ask('GET /a')).toBe('DENIED');
    expect(await ask('HEAD /a')).toBe('DENIED');
  });

  it('lets nothing pass with no rule', async () => {
    const ask = await guarded({ allow: [] });
    expect(await ask('GET /')).toBe('NOT_ALLOWED');
  });

  it('finds claims that are values and lists, and asks functions', async () => {
    const claims = {
      role: ['admin', 'owner'],
      level: (value: unknown) => typeof value === 'number' && value > 3,
    };
    const ask = await guarded({ allow: [{ claims }] });

    expect(await ask('GET /', as({ role: 'owner', level: 4 }))).toBe(200);
    expect(await ask('GET /', as({ role: ['reader', 'admin'], level: 9 }))).toBe(200);
    expect(await ask('GET /', as({ role: 'owner', level: 3 }))).toBe('NOT_ALLOWED');
    expect(await ask('GET /', as({ role: 'owners', level: 4 }))).toBe('NOT_ALLOWED');
    expect(await ask('GET /', as({ role: [], level: 4 }))).toBe('NOT_ALLOWED');
    expect(await ask('GET /', as({ level: 4 }))).toBe('NOT_ALLOWED');
    expect(await ask('GET /')).toBe('NOT_ALLOWED');
  });

  it('knows the subject as sub, and any identity by no claims', async () => {
    const ask = await guarded({
      allow: [
        { path: '/ada', claims: { sub: 'ada' } },
        { path: '/all', claims: {} },
        { path: '/own', claims: { constructor: () => true } },
      ],
    });

    expect(await ask('GET /ada', as({}, 'ada'))).toBe(200);
    expect(await ask('GET /ada', as({ sub: 'bob' }, 'ada'))).toBe('NOT_ALLOWED');
    expect(await ask('GET /ada', as({}))).toBe('NOT_ALLOWED');
    expect(await ask('GET /all', as({}))).toBe(200);
    expect(await ask('GET /all')).toBe('NOT_ALLOWED');
    expect(await ask('GET /own', as({}))).toBe('NOT_ALLOWED');
  });

  it('denies nobody what it denies to some: they could be one of these', async () => {
    const ask = await guarded({
      allow: [everywhere],
      deny: [
        { path: '/a', claims: { banned: true } },
        { path: '/b', claims: {} },
        { path: '/c', when: ({ identity }) => identity?.claims.banned === true },
      ],
    });
    const answers = async (...who: string[]) => [
      await ask('GET /a', ...who),
      await ask('GET /b', ...who),
      await ask('GET /c', ...who),
      await ask('GET /d', ...who),
    ];

    expect(await answers()).toEqual(['DENIED', 'DENIED', 200, 200]);
    expect(await answers(as({}))).toEqual([200, 'DENIED', 200, 200]);
    expect(await answers(as({ banned: true }))).toEqual(['DENIED', 'DENIED', 'DENIED', 200]);
  });

  it('asks a function that denies about a claim that is missing, too, and one that allows does not', async () => {
    const lacks = (value: unknown): boolean => !(Array.isArray(value) && value.includes('staff'));
    const ask = await guarded({
      allow: [{ path: '/a' }, { path: '/b', claims: { groups: lacks } }],
      deny: [{ path: '/a', claims: { groups: lacks } }],
    });
    expect(await ask('GET /a', as({ groups: ['staff'] }))).toBe(200);
    expect(await ask('GET /a', as({ groups: ['guests'] }))).toBe('DENIED');
    expect(await ask('GET /a', as({}))).toBe('DENIED');
    expect(await ask('GET /b', as({ groups: ['guests'] }))).toBe(200);
    expect(await ask('GET /b', as({}))).toBe('NOT_ALLOWED');
  });

  it('knows the host that the client asks for, without port and in any case', async () => {
    const rules = (kind: string) => [{ path: `/${kind}`, host: ['app.example', '*.shop.example'] }];
    const options = { allow: [...rules('in'), { path: '/out' }], deny: rules('out'), trust: true };
    const ask = await guarded(options);
    const at = (path: string, host: string) => ask(`GET ${path}`, `X-Forwarded-Host: ${host}`);

    for (const host of ['app.example', 'APP.example:8080', 'app.example.', 'a.b.shop.example']) {
      expect([host, await at('/in', host), await at('/out', host)]).toEqual([host, 200, 'DENIED']);
    }
    for (const host of ['shop.example', 'xapp.example', 'app.example.evil.test']) {
      const results = [host, await at('/in', host), await at('/out', host)];
      expect(results).toEqual([host, 'NOT_ALLOWED', 200]);
    }
  });

  it('knows the address of the client, and counts an unknown one against it', async () => {
    const address = ['10.0.0.0/8', '::1'];
    const rules: AccessRule[] = [{ path: '/in', address }, { path: '/out' }];
    const deny = [{ path: '/out', address }];
    const ask = await guarded({ allow: rules, deny, trust: true });
    const from = async (client: string) => [
      await ask('GET /in', `X-Forwarded-For: ${client}`),
      await ask('GET /out', `X-Forwarded-For: ${client}`),
    ];

    expect(await from('10.1.1.1')).toEqual([200, 'DENIED']);
    expect(await from('::ffff:10.1.1.1')).toEqual([200, 'DENIED']);
    expect(await from('192.0.2.1')).toEqual(['NOT_ALLOWED', 200]);
    expect(await from('unknown')).toEqual(['NOT_ALLOWED', 'DENIED']);
  });

  it('asks conditions of your own, at once or later, when all others hold', async () => {
    const asked: string[] = [];
    const when =
      (name: string): AccessCheck =>
      ({ req, method, path, host, address, identity }) => {
        asked.push([name, method, path, host, address, identity?.subject].join(' '));
        const answer = req.headers[`x-${name}`] === 'yes';
        return name === 'late' ? Promise.resolve(answer) : answer;
      };
    const ask = await guarded({
      deny: [{ path: '/deny', when: when('late') }],
      allow: [
        { path: '/a', when: when('late') },
        { path: '/a', when: when('now') },
        { path: '/b', methods: ['POST'], when: when('now') },
        { path: '/deny' },
      ],
    });

    expect(await ask('GET /a?b', 'X-Late: yes', as({}, 'ada'))).toBe(200);
    expect(asked.splice(0)).toEqual(['late GET /a app.example 127.0.0.1 ada']);
    expect(await ask('GET /a', 'X-Now: yes')).toBe(200);
    expect(asked.splice(0)).toHaveLength(2);
    expect(await ask('GET /a')).toBe('NOT_ALLOWED');
    expect(asked.splice(0)).toHaveLength(2);
    expect(await ask('GET /b', 'X-Now: yes')).toBe('NOT_ALLOWED');
    expect(asked).toEqual([]);
    expect(await ask('GET /deny', 'X-Late: yes')).toBe('DENIED');
    expect(await ask('GET /deny', 'X-Late: no')).toBe(200);
  });

  it('takes a function for the whole policy', async () => {
    const ask = await guarded(async ({ path }) => path === '/a');

    expect(await ask('GET /a/')).toBe(200);
    expect(await ask('GET /b')).toBe('DENIED');
    expect(await ask('GET /b/../a')).toBe('AMBIGUOUS_PATH');
  });

  it.each<[string, AuthorizeOptions | AccessCheck, string]>([
    [
      'says neither yes nor no',
      (() => 1) as never,
      'authorize: the policy must return true or false',
    ],
    ['says so later', (async () => undefined) as never, 'authorize: the policy must return'],
    [
      'throws',
      () => {
        throw new Error('oops');
      },
      'oops',
    ],
    ['fails', () => Promise.reject(new Error('oops')), 'oops'],
    [
      'gives a promise where a claim is asked for',
      { allow: [{ claims: { a: (async () => true) as never } }] },
      'authorize: allow[0].claims.a must return true or false',
    ],
    [
      'throws while it denies',
      {
        allow: [everywhere],
        deny: [
          {
            when: () => {
              throw new Error('oops');
            },
          },
        ],
      },
      'oops',
    ],
    [
      'denies with something else than a yes',
      { allow: [everywhere], deny: [{ when: (() => 'yes') as never }] },
      'authorize: deny[0].when must return true or false',
    ],
  ])('lets nothing pass when a function %s', async (_, policy, message) => {
    const ask = await guarded(policy);
    expect(await ask('GET /', as({ a: 1 }))).toMatch(message);
  });

  it('says nothing of the reason to the client', async () => {
    const policy = authorize({ allow: [{ path: '/secret-rule' }] });
    const { port } = await gateway('express 5', policy, greet, proxyErrors());
    const { status, body } = await rawRequest(port, bytesOf('GET /'));
    expect([status, JSON.parse(body)]).toEqual([
      403,
      {
        type: 'about:blank',
        title: 'Forbidden',
        status: 403,
        detail: 'This request is not allowed',
        code: 'ERR_PROXY_FORBIDDEN',
      },
    ]);
  });
});

/** Spellings that some server takes for `/admin` or what is below it. */
const TRICKS = [
  '/%61dmin',
  '/%41dmin',
  '/ADMIN',
  '//admin',
  '/\\admin',
  '/./admin',
  '/x/../admin',
  '/x/%2e%2e/admin',
  '/x/..;/admin',
  '/x/..%2fadmin',
  '/x//../admin',
  '/;/admin',
  '/;a=b/admin',
  '/%2fadmin',
  '/%2561dmin',
  '/admin/',
  '/admin//',
  '/admin%2f',
  '/admin%2Fx',
  '/admin%5cx',
  '/admin\\x',
  '/admin;x',
  '/admin;x/y',
  '/admin%3bx',
  '/admin/.',
  '/admin/..',
  '/admin%00',
  '/admin%20',
  '/admin.',
  '/admin?x',
  '/admin%3fx',
  '/admin#x',
  '/admin%23',
  '/%EF%BD%81dmin',
  '/%c1%a1dmin',
  'http://app.example/admin',
  'http://app.example//admin',
];

describe('guard and upstream cannot disagree', () => {
  /** Servers as they are found, and what each takes the path for. */
  const readers: Record<string, (url: string) => string> = {
    'as it is': (url) => url.split('?')[0] as string,
    decoding: (url) => decodeURIComponent(url.split('?')[0] as string),
    'with the URL parser': (url) => decodeURIComponent(new URL(url, 'http://a').pathname),
    'without parameters': (url) =>
      new URL(url.replace(/;[^/]*/g, ''), 'http://a').pathname.replace(/\/+/g, '/'),
    'on Windows': (url) =>
      decodeURIComponent(url.split('?')[0] as string)
        .replaceAll('\\', '/')
        .replace(/[. ]+(?=\/|$)/g, ''),
  };

  const isAdmin = (path: string) => /^\/+admin(?![^/])/i.test(path);

  async function reaching(policy: AuthorizeOptions) {
    const seen: string[] = [];
    const upstream = await serve((req, res) => {
      seen.push(req.url ?? '');
      res.end('ok');
    });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await gateway('node:http', identify, authorize(policy), pass);
    return { seen, port };
  }

  it.each<[string, AuthorizeOptions]>([
    ['a rule that denies', { allow: [everywhere], deny: [{ path: '/admin/**' }] }],
    [
      'rules that allow something else',
      { allow: [{ path: ['/public/**', '/x/**', '/*'] }], deny: [{ path: '/admin/**' }] },
    ],
    [
      'a rule that allows others',
      { allow: [{ path: '/public/**' }, { path: '/admin/**', claims: {} }] },
    ],
  ])('about %s', async (_, policy) => {
    const { seen, port } = await reaching(policy);

    for (const trick of TRICKS) await rawRequest(port, bytesOf(`GET ${trick}`));
    await rawRequest(port, bytesOf('GET /public/x'));

    expect(seen.at(-1)).toBe('/public/x');
    for (const url of seen) {
      for (const [name, read] of Object.entries(readers)) {
        let path = '';
        try {
          path = read(url);
        } catch {
          // Such a server answers 400.
        }
        expect([url, name, isAdmin(path)]).toEqual([url, name, false]);
      }
    }
  });

  it('lets ambiguous paths pass where every reading is allowed', async () => {
    const { seen, port } = await reaching({ allow: [{ path: '/files/**' }] });
    const targets = ['/files/a%2Fb', '/files//a', '/files/a;v=1', '/files/100%25', '/files/a%20b'];
    for (const target of targets) await rawRequest(port, bytesOf(`GET ${target}`));
    expect(seen).toEqual(targets);
  });

  it('refuses those of which only some readings are allowed, and says so', async () => {
    const some = await guarded({ allow: [{ path: '/files/*' }] });
    const each = await guarded({ allow: [{ path: '/files/*' }, { path: '/files/*/*' }] });

    expect(await some('GET /files/a')).toBe(200);
    expect(await some('GET /files/a%2Fb')).toBe('AMBIGUOUS_PATH');
    expect(await each('GET /files/a%2Fb')).toBe(200);
    expect(await each('GET /files/a%2F..')).toBe('AMBIGUOUS_PATH');
  });

  it('compares letters as it is told', async () => {
    const policy = (caseSensitive: boolean): AuthorizeOptions => ({
      allow: [{ path: ['/Shop/**', '/admin'] }],
      deny: [{ path: '/admin' }],
      caseSensitive,
    });
    const asked = ['GET /shop/a', 'GET /Shop/a', 'GET /ADMIN'];
    const any = await guarded(policy(false));
    const exact = await guarded(policy(true));

    expect(await Promise.all(asked.map((line) => any(line)))).toEqual([200, 200, 'DENIED']);
    expect(await Promise.all(asked.map((line) => exact(line)))).toEqual([
      'NOT_ALLOWED',
      200,
      'NOT_ALLOWED',
    ]);
  });
});

describe('what is judged is what is sent', () => {
  async function upstreamOf(...middleware: Middleware[]) {
    const { errors, record } = recordErrors();
    const seen: string[] = [];
    const upstream = await serve((req, res) => {
      seen.push(`${req.method} ${req.url}`);
      res.end('ok');
    });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await gateway('express 5', ...middleware, pass, record);
    return { seen, errors, port, pass };
  }

  const publicOnly = () => authorize({ allow: [{ path: '/public/**', methods: ['GET'] }] });

  it('when the path is rewritten before', async () => {
    const { seen, port } = await upstreamOf(rewriteUrl({ '^/api': '' }), publicOnly());
    await rawRequest(port, bytesOf('GET /api/public/a'));
    expect((await rawRequest(port, bytesOf('GET /public/../admin'))).status).toBe(403);
    expect(seen).toEqual(['GET /public/a']);
  });

  it.each<[string, Middleware]>([
    ['the path is rewritten', rewriteUrl({ '^/public': '' })],
    [
      'the URL is replaced',
      (req, _res, next) => {
        req.url = '/admin';
        next();
      },
    ],
    [
      'the method is replaced',
      (req, res, next) => {
        exchangeOf(req, res).method = 'DELETE';
        next();
      },
    ],
  ])('when %s behind it: it is judged once more', async (_, change) => {
    const { seen, errors, port } = await upstreamOf(publicOnly(), change);
    expect((await rawRequest(port, bytesOf('GET /public/admin'))).status).toBe(403);
    expect(errors[0]?.cause).toMatchObject({ code: 'CHANGED' });
    expect(seen).toEqual([]);
  });

  it('when a rewrite leads to what is allowed as well', async () => {
    const { seen, port } = await upstreamOf(
      publicOnly(),
      rewriteUrl({ '^/public/a': '/public/b' }),
    );
    await rawRequest(port, bytesOf('GET /public/a'));
    expect(seen).toEqual(['GET /public/b']);
  });

  it('when a router cuts its mount path off', async () => {
    const { seen, pass } = await upstreamOf();
    const app = express().use(publicOnly()).use('/public', pass).use(proxyErrors());
    const { port } = await serve(app);
    expect((await rawRequest(port, bytesOf('GET /public/a'))).status).toBe(200);
    expect(seen).toEqual(['GET /a']);
  });
});

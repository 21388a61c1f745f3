import { describe, expect, it } from '@jest/globals';
import type { RequestHandler } from 'express';
import fc from 'fast-check';
import { exchangeOf, proxyPass, type RewriteRules, rewriteUrl } from 'headrace';
import request from 'supertest';
import { appWith, errorOf, printing } from '../helpers/apps.js';
import { receiver } from '../helpers/inbound.js';
import { serve } from '../helpers/servers.js';

/** The path that goes out for a path that comes in. */
async function rewritten(rules: RewriteRules, path: string): Promise<string> {
  const { body } = await request(printing(rewriteUrl(rules)))
    .get(path)
    .expect(200);
  return body.path;
}

describe('rules in an object', () => {
  it.each<[Record<string, string>, string, string]>([
    [{ '^/api': '' }, '/api/users', '/users'],
    [{ '^/api': '' }, '/api', '/'],
    [{ '^/api': '' }, '/api?page=2', '/?page=2'],
    [{ '^/api/': '/' }, '/api/users', '/users'],
    [{ '^/api': '/v2/' }, '/api/users', '/v2/users'],
    [{ '^/api': '/$1' }, '/api/users', '/$1/users'],
    [{ '^/api': 'v2' }, '/api/users', '/v2/users'],
    [{ '^/old/([^/]+)/(\\d+)$': '/new/$2?was=$1' }, '/old/a/7?b=c', '/new/7?was=a&b=c'],
    [{ '/v1/': '/v2/' }, '/api/v1/users', '/api/v2/users'],
    [{ '^/a': '/first', '^/ab': '/second' }, '/abc', '/firstbc'],
    [{ '^/x': '/first', '^/ab': '/second' }, '/abc', '/secondc'],
    [{ '\\.html$': '' }, '/page.html?x=.html', '/page?x=.html'],
    [{ '^/same': '/same', '^/': '/other/' }, '/same', '/same'],
    [{ '/(s)ame': '/$1ame', '^/': '/other/' }, '/same', '/same'],
  ])('%j make %s into %s', async (rules, path, result) => {
    expect(await rewritten(rules, path)).toBe(result);
  });
});

describe('rules in a list', () => {
  it.each<[RewriteRules, string, string]>([
    [[['/api', '']], '/api/users', '/users'],
    [[['/api', '']], '/api', '/'],
    [[['/api/', '']], '/api/users', '/users'],
    [[['/api', '']], '/apis', '/apis'],
    [[['/', '/v1']], '/users', '/v1/users'],
    [[['/api', '/v1/']], '/api/users', '/v1/users'],
    [[[/^\/(\w+)\/old/i, '/$1/new']], '/x/OLD/y', '/x/new/y'],
    [[[/a/g, 'b']], '/banana', '/bbnbnb'],
    [
      [
        ['/a', '/first'],
        [/^\/b/, '/second'],
      ],
      '/b',
      '/second',
    ],
    [[], '/users', '/users'],
  ])('%j make %s into %s', async (rules, path, result) => {
    expect(await rewritten(rules, path)).toBe(result);
  });

  it.each(['g', 'y', 'gy'])(
    'a pattern with the flags %s forgets the request before',
    async (flags) => {
      const pattern = Object.freeze(new RegExp('/old', flags));
      const app = printing(rewriteUrl([[pattern, '/new']]));
      for (let i = 0; i < 3; i++) expect((await request(app).get('/old')).body.path).toBe('/new');
      expect(pattern.lastIndex).toBe(0);
    },
  );
});

describe('a function', () => {
  it('gets path, query and the request, and returns what to send instead', async () => {
    const rules: RewriteRules = (path, req) => `/${req.method}${path}`;
    expect(await rewritten(rules, '/a?b')).toBe('/GET/a?b');
    expect(await rewritten((path) => path.slice(1), '/a?b')).toBe('/a?b');
  });

  it.each([
    [() => undefined, 'rewriteUrl: the function must return a path, it returned undefined'],
    [() => 5, 'rewriteUrl: the function must return a path, it returned 5'],
    [async () => '/x', 'rewriteUrl: the function must return a path, it returned a promise'],
  ])('that returns no path ends in an error: %p', async (rules, message) => {
    expect(await errorOf(rewriteUrl(rules as never))).toBe(`TypeError: ${message}`);
  });

  it('that throws ends in its error', async () => {
    const piece = rewriteUrl(() => {
      throw new RangeError('no');
    });
    expect(await errorOf(piece)).toBe('RangeError: no');
  });

  it('that throws on a bare server, where there is no next(), is 500', async () => {
    const piece = rewriteUrl(() => {
      throw new RangeError('no');
    });
    const { url } = await serve((req, res) => {
      piece(req, res);
      proxyPass('http://127.0.0.1:1')(req, res);
    });
    expect((await fetch(url)).status).toBe(500);
  });
});

describe('rewriteUrl', () => {
  it('leaves req.url and req.originalUrl alone', async () => {
    const show: RequestHandler = (req, res) => res.json([req.url, req.originalUrl]);
    const { body } = await request(appWith(rewriteUrl({ '^/a': '/b' }), show)).get('/a?c');
    expect(body).toEqual(['/a?c', '/a?c']);
  });

  it('sees the rest behind a mount path, and what an earlier piece has made of it', async () => {
    const app = appWith();
    app.use('/api', rewriteUrl({ '^/a': '/b' }), rewriteUrl({ '^/b': '/c' }));
    app.use((_req, res) => void res.json(res.locals.proxy));
    expect((await request(app).get('/api/a/x')).body.path).toBe('/c/x');
  });

  it('keeps in mind what it exchanged, for the pieces that find the way back', async () => {
    const seen: unknown[] = [];
    const look: RequestHandler = (req, res, next) => {
      seen.push(exchangeOf(req, res).rewritten);
      next();
    };
    const app = printing(
      rewriteUrl({ '^/api': '/v1/' }),
      look,
      rewriteUrl([[/v1/, 'v2']]),
      look,
      rewriteUrl([['/v2', '']]),
      look,
      rewriteUrl((path) => `/fn${path}`),
      look,
    );
    expect((await request(app).get('/api/x')).body.path).toBe('/fn/x');
    const first = { from: '/api', to: '/v1' };
    const second = { from: '/v2', to: '' };
    expect(seen).toEqual([[first], [first], [first, second], [first, second]]);
  });

  it('a rewrite that does not match changes nothing, byte for byte', async () => {
    const receive = await receiver();
    const pieces = [rewriteUrl({ '^/api': '', 'x{3}$': '' }), rewriteUrl([['/b', '/c']])];
    const path = fc.stringMatching(/^\/[aA-z%/.;=&~!]{0,8}(\?[!-"$-~]{0,8})?$/);
    await fc.assert(
      fc.asyncProperty(path, async (path) => {
        fc.pre(!path.startsWith('/api') && !/^\/b(?:\/|$|\?)/.test(path));
        const { req, res } = await receive(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
        for (const piece of pieces) piece(req, res);
        expect(exchangeOf(req, res).path).toBe(path);
      }),
    );
  });

  it('the query is byte for byte what the client sent', async () => {
    const receive = await receiver();
    const piece = rewriteUrl([[/[aeiou?&]/g, '']]);
    const query = fc.stringMatching(/^[!-"$-~]{0,12}$/);
    await fc.assert(
      fc.asyncProperty(query, async (query) => {
        const { req, res } = await receive(`GET /aeiou/b?${query} HTTP/1.1\r\nHost: a\r\n\r\n`);
        piece(req, res);
        expect(exchangeOf(req, res).path).toBe(`//b?${query}`);
      }),
    );
  });
});

describe('rules that are none', () => {
  it.each([
    [
      undefined,
      "rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received undefined",
    ],
    [
      null,
      "rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received null",
    ],
    [
      /^\/api/,
      "rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received /^\\/api/",
    ],
    [
      new Map([['^/api', '']]),
      "rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received an instance of Map",
    ],
    [
      '^/api',
      `rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received "^/api"`,
    ],
    [
      [['/a']],
      'rewriteUrl: rules[0] must be a pair of pattern and replacement, received an array of 1',
    ],
    [
      [['/a', ''], '/b'],
      'rewriteUrl: rules[1] must be a pair of pattern and replacement, received "/b"',
    ],
    [
      [['api', '']],
      'rewriteUrl: rules[0] must begin with a RegExp or a prefix such as "/api", received "api"',
    ],
    [
      [[7, '']],
      'rewriteUrl: rules[0] must begin with a RegExp or a prefix such as "/api", received 7',
    ],
    [[['/a', 7]], 'rewriteUrl: rules[0] must be replaced by a string, received 7'],
    [[[/a/, null]], 'rewriteUrl: rules[0] must be replaced by a string, received null'],
    [
      { '^/a': undefined },
      'rewriteUrl: rules["^/a"] must be replaced by a string, received undefined',
    ],
    [{ '(': '' }, 'rewriteUrl: rules["("] is not a regular expression'],
  ])('%p are refused', (rules, message) => {
    expect(() => rewriteUrl(rules as never)).toThrow(TypeError);
    expect(() => rewriteUrl(rules as never)).toThrow(message);
  });

  it.each([[{ '^/(a+)+$': '' }], [[[/^\/(?:x*y?)*z/, '']]]])(
    '%p could backtrack for seconds, and are refused',
    (rules) => {
      expect(() => rewriteUrl(rules as never)).toThrow(RangeError);
      expect(() => rewriteUrl(rules as never)).toThrow(/^rewriteUrl: rules\[/);
    },
  );

  it('mounted without being called, it says so', async () => {
    expect(await errorOf(rewriteUrl)).toMatch(
      /Mount what it returns: app\.use\(rewriteUrl\(…\)\)$/,
    );
  });
});

import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express, { type RequestHandler } from 'express';
import express4 from 'express4';
import { proxyPass, rewriteCookies, rewriteRedirects } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { appOf, closeAfter, type Middleware, rawUpstream, serve } from '../helpers/servers.js';

const GET = 'GET /shop/cart HTTP/1.1\r\nHost: app.example\r\n\r\n';

/** An app with these middleware at `/shop`, or without a mount path where there are none. */
const mounts: [
  framework: string,
  mount: string,
  make: (...middleware: Middleware[]) => RequestListener,
][] = [
  [
    'express 5',
    '/shop',
    (...middleware) => express().use('/shop', ...(middleware as RequestHandler[])),
  ],
  [
    'express 4',
    '/shop',
    (...middleware) => express4().use('/shop', ...(middleware as RequestHandler[])),
  ],
  [
    'connect',
    '/shop',
    (...middleware) => {
      const app = connect();
      for (const one of middleware) app.use('/shop', one as connect.HandleFunction);
      return app;
    },
  ],
  ['node:http', '', (...middleware) => appOf('node:http', ...middleware)],
];

/** Asks through these pieces for what an upstream answers with these lines. */
async function answerOf(
  make: (...middleware: Middleware[]) => RequestListener,
  base: string,
  piece: Middleware,
  lines: (origin: string) => string[],
) {
  let origin = '';
  const upstream = await rawUpstream(
    () => `HTTP/1.1 ${lines(origin).join('\r\n')}\r\nContent-Length: 0\r\n\r\n`,
  );
  origin = upstream.url;
  const pass = proxyPass(`${upstream.url}${base}`);
  closeAfter(() => pass.close());
  const { port } = await serve(make(piece, pass));
  return rawRequest(port, GET);
}

describe.each(mounts)('rewriteRedirects() in %s at "%s"', (_framework, mount, make) => {
  it.each(['201 Created', '301 Moved', '302 Found', '303 See Other', '307 Again', '308 For Good'])(
    'maps the Location of %s back to where the client is',
    async (status) => {
      const locations: [sent: (origin: string) => string, seen: string][] = [
        [(origin) => `${origin}/app/login?a=b#c`, `http://app.example${mount}/login?a=b#c`],
        [(origin) => `${origin.slice(5)}/app/login`, `//app.example${mount}/login`],
        [() => '/app/login', `${mount}/login`],
        [() => 'login', 'login'],
        [() => 'http://other.example/app/login', 'http://other.example/app/login'],
      ];
      for (const [sent, seen] of locations) {
        const res = await answerOf(make, '/app', rewriteRedirects(), (origin) => [
          status,
          `Location: ${sent(origin)}`,
        ]);
        expect([res.status, res.header('location')]).toEqual([Number(status.slice(0, 3)), seen]);
      }
    },
  );

  it('leaves the Location of other answers alone', async () => {
    for (const status of ['200 OK', '404 Not Found']) {
      const res = await answerOf(make, '', rewriteRedirects(), (origin) => [
        status,
        `Location: ${origin}/login`,
      ]);
      expect(res.header('location')).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/login$/);
    }
  });
});

describe.each(mounts)('rewriteCookies() in %s at "%s"', (_framework, _mount, make) => {
  it('maps Domain, Path, Secure and SameSite of each Set-Cookie, and nothing else in it', async () => {
    const piece = rewriteCookies({
      domain: { 'upstream.example': 'app.example' },
      path: { '/': '/shop/' },
      secure: false,
      sameSite: 'lax',
    });
    const cookies = [
      'a=Domain=upstream.example; Path=/; Domain=upstream.example; Secure; SameSite=None; HttpOnly',
      'b="x, y"; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=1; Path=/deep; Domain=other.example',
      'c=1',
    ];
    const res = await answerOf(make, '', piece, () => [
      '200 OK',
      ...cookies.map((cookie) => `Set-Cookie: ${cookie}`),
    ]);
    const seen = res.headers.filter(([name]) => name.toLowerCase() === 'set-cookie');
    const [a, b, c, ...more] = seen.map(([, value]) => value.split('; '));
    expect(more).toEqual([]);
    expect(a?.[0]).toBe('a=Domain=upstream.example');
    expect(new Set(a?.slice(1))).toEqual(
      new Set(['Path=/shop/', 'Domain=app.example', 'SameSite=Lax', 'HttpOnly']),
    );
    expect(b?.slice(0, 3)).toEqual([
      'b="x, y"',
      'Expires=Wed, 21 Oct 2026 07:28:00 GMT',
      'Max-Age=1',
    ]);
    expect(b).toContain('Path=/deep');
    expect(b).toContain('Domain=other.example');
    expect(c).toEqual(['c=1', 'SameSite=Lax']);
  });
});

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type RewriteCookiesOptions, rewriteCookies } from 'headrace';
import request from 'supertest';
import { answering, errorOf } from '../helpers/apps.js';

/** What the client gets of these `Set-Cookie` lines. */
async function rewritten(
  options: RewriteCookiesOptions,
  ...cookies: string[]
): Promise<string[] | undefined> {
  const init = { headers: { 'Set-Cookie': cookies } };
  const { headers } = await request(answering(init, rewriteCookies(options)))
    .get('/')
    .expect(200);
  return headers['set-cookie'] as string[] | undefined;
}

describe('rewriteCookies', () => {
  it.each<[RewriteCookiesOptions, string, string]>([
    [{ domain: 'app.example' }, 'a=1; Domain=backend; Path=/', 'a=1; Domain=app.example; Path=/'],
    [{ domain: 'app.example' }, 'a=1; Path=/', 'a=1; Path=/'],
    [{ domain: false }, 'a=1; Domain=backend; Path=/', 'a=1; Path=/'],
    [
      { domain: { 'one.local': 'one.example' } },
      'a=1; Domain=one.local',
      'a=1; Domain=one.example',
    ],
    [
      { domain: { 'one.local': 'one.example' } },
      'a=1; domain=.One.Local',
      'a=1; Domain=one.example',
    ],
    [{ domain: { '.one.local': 'x' } }, 'a=1; Domain=one.local', 'a=1; Domain=x'],
    [{ domain: { 'one.local': 'x', '*': 'y' } }, 'a=1; Domain=two.local', 'a=1; Domain=y'],
    [{ domain: { 'one.local': false, '*': 'y' } }, 'a=1; Domain=one.local', 'a=1'],
    [{ domain: (domain) => `x.${domain}` }, 'a=1; Domain=backend', 'a=1; Domain=x.backend'],
    [{ domain: () => false }, 'a=1; Domain=backend', 'a=1'],
    [{ path: '/shop' }, 'a=1; Path=/; HttpOnly', 'a=1; Path=/shop; HttpOnly'],
    [{ path: { '/': '/shop' } }, 'a=1; Path=/', 'a=1; Path=/shop'],
    [{ path: { '/a': '/b' } }, 'a=1; Path=/A', 'a=1; Path=/A'],
    [{ path: (path) => `/shop${path}` }, 'a=1; PATH = /x', 'a=1; Path=/shop/x'],
    [{ secure: true }, 'a=1; Path=/', 'a=1; Path=/; Secure'],
    [{ secure: true }, 'a=1; secure', 'a=1; secure'],
    [{ secure: false }, 'a=1; SECURE; Path=/', 'a=1; Path=/'],
    [{ sameSite: 'lax' }, 'a=1; SameSite=None; Secure', 'a=1; Secure; SameSite=Lax'],
    [{ sameSite: 'strict' }, 'a=1', 'a=1; SameSite=Strict'],
    [{ sameSite: 'none' }, 'a=1', 'a=1; Secure; SameSite=None'],
    [{ sameSite: false }, 'a=1; samesite=Lax; Path=/', 'a=1; Path=/'],
    [{ secure: false, sameSite: 'lax' }, 'a=1; SameSite=None; Secure', 'a=1; SameSite=Lax'],
    [{ secure: false, sameSite: false }, 'a=1; SameSite=None; Secure', 'a=1'],
    [
      { domain: 'x', path: '/y' },
      'domain=path; Domain=a; Path=/b',
      'domain=path; Domain=x; Path=/y',
    ],
    [{ secure: false }, 'secure', 'secure'],
  ])('with %j makes %s into %s', async (options, cookie, result) => {
    expect(await rewritten(options, cookie)).toEqual([result]);
  });

  it('rewrites each of several, and keeps them apart and in order', async () => {
    expect(await rewritten({ secure: true }, 'a=1', 'b=2; Secure', 'c=x,y')).toEqual([
      'a=1; Secure',
      'b=2; Secure',
      'c=x,y; Secure',
    ]);
  });

  it('sets none where there is none', async () => {
    expect(await rewritten({ secure: true, sameSite: 'lax' })).toBeUndefined();
  });

  it('keeps what makes __Host- and __Secure- cookies valid', async () => {
    const options: RewriteCookiesOptions = { domain: 'x', path: '/shop', secure: false };
    expect(
      await rewritten(
        options,
        '__Host-a=1; Path=/; Secure',
        '__secure-b=2; Path=/; Secure',
        '__Http-b=2; Path=/; Secure; HttpOnly',
        'c=3; Secure; Partitioned',
        'd=4; Secure; SameSite=None',
      ),
    ).toEqual([
      '__Host-a=1; Path=/; Secure',
      '__secure-b=2; Path=/shop; Secure',
      '__Http-b=2; Path=/shop; Secure; HttpOnly',
      'c=3; Secure; Partitioned',
      'd=4; Secure; SameSite=None',
    ]);
  });

  it('passes each byte for byte that none of its rules is about', async () => {
    const attribute = fc.stringMatching(/^[ -:<-~]{0,10}$/);
    const cookie = fc
      .tuple(fc.stringMatching(/^[!-:<-~][ -:<-~]{0,10}$/), fc.array(attribute, { maxLength: 4 }))
      .map((parts) => parts.flat().join(';'))
      .filter((text) => text === text.trim());
    const others = { domain: { 'only.this': 'x' }, path: { '/only/this': '/x' } };
    await fc.assert(
      fc.asyncProperty(cookie, async (cookie) => {
        expect(await rewritten(others, cookie)).toEqual([cookie]);
        expect(await rewritten({}, cookie)).toEqual([cookie]);
      }),
      { numRuns: 50 },
    );
  });

  it('changes the attributes it is told to, and nothing else', async () => {
    const value = fc.stringMatching(/^[a-z/.]{0,6}$/);
    const attribute = fc.oneof(
      value.map((value) => `Domain=${value}`),
      value.map((value) => `Path=${value}`),
      fc.constantFrom('Secure', 'HttpOnly', 'SameSite=Lax', 'Max-Age=1', 'Expires=x', 'x=y;'),
    );
    const options: RewriteCookiesOptions = {
      domain: 'D',
      path: '/p',
      secure: false,
      sameSite: false,
    };
    await fc.assert(
      fc.asyncProperty(fc.array(attribute, { maxLength: 6 }), async (attributes) => {
        const kept = attributes
          .filter((text) => text !== 'Secure' && text !== 'SameSite=Lax')
          .map((text) => text.replace(/^Domain=.*/, 'Domain=D').replace(/^Path=.*/, 'Path=/p'));
        const [result] = (await rewritten(options, ['a=1', ...attributes].join('; '))) ?? [];
        expect(result).toBe(['a=1', ...kept].join('; '));
      }),
      { numRuns: 50 },
    );
  });

  it.each([() => 'a;b', () => 'a\r\nb', () => 5, () => undefined, () => 'ü'])(
    'a function that returns no value of an attribute is 502: %p',
    async (domain) => {
      const init = { headers: { 'Set-Cookie': 'a=1; Domain=b' } };
      const app = answering(init, rewriteCookies({ domain: domain as () => string }));
      const { headers } = await request(app).get('/').expect(502);
      expect(headers).not.toHaveProperty('set-cookie');
    },
  );

  it.each([
    [undefined, 'rewriteCookies: options must be an object, received undefined'],
    ...['', ' ', 'http://a', 'a/b'].map((domain): [unknown, string] => [
      { domain },
      `rewriteCookies: domain must be the name of a host, or false for none, received "${domain}"`,
    ]),
    [
      { domain: { '*': '' } },
      'rewriteCookies: domain["*"] must be the name of a host, or false for none, received ""',
    ],
    ...['', 'shop'].map((path): [unknown, string] => [
      { path },
      `rewriteCookies: path must be a path that begins with a slash, or false for none, received "${path}"`,
    ]),
    [{ samesite: 'lax' }, 'rewriteCookies: unknown option "samesite", did you mean "sameSite"?'],
    [
      { httpOnly: true },
      'rewriteCookies: unknown option "httpOnly"; known are domain, path, secure, sameSite',
    ],
    [{ secure: 'yes' }, 'rewriteCookies: secure must be true or false, received "yes"'],
    [
      { sameSite: 'Lax' },
      'rewriteCookies: sameSite must be one of "strict", "lax", "none", received "Lax", did you mean "lax"?',
    ],
    [
      { sameSite: true },
      'rewriteCookies: sameSite must be one of "strict", "lax", "none", received true',
    ],
    [
      { secure: false, sameSite: 'none' },
      "rewriteCookies: sameSite 'none' needs Secure, which secure: false takes out",
    ],
    [
      { domain: 5 },
      'rewriteCookies: domain must be a string, false, an object or a function, received 5',
    ],
    [
      { domain: true },
      'rewriteCookies: domain must be a string, false, an object or a function, received true',
    ],
    [
      { path: null },
      'rewriteCookies: path must be a string, false, an object or a function, received null',
    ],
    [
      { path: ['/'] },
      'rewriteCookies: path must be a string, false, an object or a function, received an array of 1',
    ],
    [
      { domain: 'a; HttpOnly' },
      'rewriteCookies: domain must be a cookie attribute\'s value or false, received "a; HttpOnly"',
    ],
    [
      { path: { '/a': 5 } },
      'rewriteCookies: path["/a"] must be a cookie attribute\'s value or false, received 5',
    ],
    [
      { path: { '*': 'a\nb' } },
      'rewriteCookies: path["*"] must be a cookie attribute\'s value or false, received "a\\nb"',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => rewriteCookies(options as never)).toThrow(new TypeError(message));
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(rewriteCookies)).toMatch(/returns: app\.use\(rewriteCookies\(…\)\)$/);
  });
});

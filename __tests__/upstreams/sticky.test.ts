import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { exchangeOf, loadBalancer, type Upstream, UpstreamPool, UpstreamResponse } from 'headrace';
import { Sticky, type StickyOptions } from '../../src/upstreams/sticky.js';
import { anExchange } from '../helpers/exchanges.js';

beforeEach(() => void jest.useFakeTimers({ now: 1_700_000_000_000 }));
afterEach(() => void jest.useRealTimers());

const SECRET = 'a secret of enough length';

function sticking(
  options: Partial<StickyOptions> = {},
  urls = ['http://10.1.2.3:8080', 'http://b'],
) {
  const pool = new UpstreamPool(urls);
  const sticky = new Sticky('sticky', { secret: SECRET, ...options }, pool);
  /** The cookie that a client gets whose request, with `cookie`, was answered by an upstream. */
  const issued = (upstream: Upstream | undefined, cookie?: string): string | undefined => {
    const { req, res } = anExchange(cookie === undefined ? {} : { cookie });
    const response = new UpstreamResponse();
    exchangeOf(req, res).upstream = upstream;
    void sticky.edit(response, req, res);
    return response.headers.get('set-cookie');
  };
  const [a, b] = pool.upstreams as [Upstream, Upstream];
  return { pool, sticky, issued, a, b };
}

/** What a client sends back. */
function sentBack(setCookie: string | undefined): string {
  return String(setCookie).split(';')[0] as string;
}

describe('the cookie', () => {
  it('brings a client back to the upstream that answered it', () => {
    const { sticky, issued, a, b } = sticking();
    for (const upstream of [a, b]) {
      expect(sticky.upstreamOf(sentBack(issued(upstream)))).toBe(upstream);
    }
  });

  it('is found among others, whatever they look like', () => {
    const { sticky, issued, b } = sticking();
    const cookie = sentBack(issued(b));
    expect(sticky.upstreamOf(`a=1; flag; =; xheadrace_upstream=no;${cookie} ; z="2"`)).toBe(b);
    expect(sticky.upstreamOf('a=1; flag')).toBeUndefined();
    expect(sticky.upstreamOf('')).toBeUndefined();
    expect(sticky.upstreamOf(undefined)).toBeUndefined();
  });

  it('does not let the upstream’s address be read or guessed from it', () => {
    const { issued, a } = sticking();
    const cookie = sentBack(issued(a));
    const plain = [cookie, ...cookie.split(/[=.]/)].flatMap((part) => [
      part,
      Buffer.from(part, 'base64url').toString('latin1'),
    ]);
    for (const text of plain) expect(text).not.toMatch(/10\.1\.2\.3|8080|http/);
    const unkeyed = createHmac('sha256', '').update(`upstream:${a.url}`).digest('base64url');
    expect(cookie).not.toContain(unkeyed.slice(0, 22));
    const other = sticking({ secret: 'another secret of that length' });
    expect(sentBack(other.issued(other.a)).split('.')[0]).not.toBe(cookie.split('.')[0]);
  });

  it('is issued again only when the upstream is another one', () => {
    const { issued, a, b } = sticking();
    const cookie = sentBack(issued(a));
    expect(issued(a, cookie)).toBeUndefined();
    const changed = issued(b, cookie);
    expect(changed).toBeDefined();
    expect(issued(b, sentBack(changed))).toBeUndefined();
  });

  it('is not issued for an upstream of somebody else, to which a fallback has sent the request', () => {
    const { issued, a } = sticking();
    const cookie = sentBack(issued(a));
    const elsewhere = new UpstreamPool(['http://elsewhere']).upstreams[0];
    expect(issued(elsewhere, cookie)).toBeUndefined();
    expect(issued(elsewhere)).toBeUndefined();
  });

  it('is not issued where no upstream was chosen', () => {
    expect(sticking().issued(undefined)).toBeUndefined();
  });

  it('stands beside the cookies of the upstream', () => {
    const { sticky, a } = sticking();
    const { req, res } = anExchange();
    exchangeOf(req, res).upstream = a;
    const response = new UpstreamResponse({ headers: { 'Set-Cookie': 'session=1' } });
    void sticky.edit(response, req, res);
    expect(response.headers.getAll('set-cookie')).toEqual([
      'session=1',
      expect.stringMatching(/^headrace_upstream=/),
    ]);
  });
});

describe('a cookie that is not to be believed', () => {
  it('is one with a single character changed', () => {
    const { sticky, issued, a } = sticking();
    const [name, value] = sentBack(issued(a)).split('=') as [string, string];
    for (let i = 0; i < value.length; i++) {
      const forged = `${value.slice(0, i)}${value[i] === 'A' ? 'B' : 'A'}${value.slice(i + 1)}`;
      expect([i, sticky.upstreamOf(`${name}=${forged}`)]).toEqual([i, undefined]);
    }
  });

  it.each([
    '',
    '.',
    '..',
    'a.b.c',
    '\0',
    'é.é.é',
    `${'A'.repeat(22)}.x.${'A'.repeat(22)}`,
    'A'.repeat(10_000),
  ])('is %j', (value) => {
    expect(sticking().sticky.upstreamOf(`headrace_upstream=${value}`)).toBeUndefined();
  });

  it('is one of another secret, or of another name', () => {
    const { issued, a } = sticking();
    const value = sentBack(issued(a)).split('=')[1];
    const other = sticking({ secret: `${SECRET}!` });
    expect(other.sticky.upstreamOf(`headrace_upstream=${value}`)).toBeUndefined();
    const named = sticking({ name: 'other' });
    expect(named.sticky.upstreamOf(`other=${value}`)).toBeUndefined();
  });

  it('is one put together from two genuine ones', () => {
    const { sticky, issued, a, b } = sticking();
    const [one, two] = [sentBack(issued(a)), sentBack(issued(b))];
    const [, time, signature] = two.split('.');
    expect(sticky.upstreamOf([one.split('.')[0], time, signature].join('.'))).toBeUndefined();
  });

  it('is one of an upstream that has left, or is not in use', () => {
    const { pool, sticky, issued, a, b } = sticking();
    const [ofA, ofB] = [sentBack(issued(a)), sentBack(issued(b))];
    a.bar('ejected');
    expect(sticky.upstreamOf(ofA)).toBeUndefined();
    a.lift('ejected');
    expect(sticky.upstreamOf(ofA)).toBe(a);
    pool.remove('http://b');
    expect(sticky.upstreamOf(ofB)).toBeUndefined();
    const anew = pool.add('http://b');
    expect(sticky.upstreamOf(ofB)).toBe(anew);
  });

  it('is one that is older than the TTL, whatever the browser says', () => {
    const { sticky, issued, a } = sticking({ ttlMs: 60_000 });
    const cookie = sentBack(issued(a));
    jest.advanceTimersByTime(59_999);
    expect(sticky.upstreamOf(cookie)).toBe(a);
    jest.advanceTimersByTime(1);
    expect(sticky.upstreamOf(cookie)).toBeUndefined();
    expect(issued(a, cookie)).toBeDefined();
  });

  it('is never too old without a TTL', () => {
    const { sticky, issued, a } = sticking();
    const cookie = sentBack(issued(a));
    jest.advanceTimersByTime(10 * 365 * 86_400_000);
    expect(sticky.upstreamOf(cookie)).toBe(a);
  });
});

describe('attributes', () => {
  it.each<[Partial<StickyOptions>, string]>([
    [{}, 'Path=/; HttpOnly; SameSite=Lax'],
    [{ ttlMs: 90_500 }, 'Path=/; Max-Age=90; HttpOnly; SameSite=Lax'],
    [
      { path: '/shop', domain: 'example.org', httpOnly: false, sameSite: 'strict', secure: true },
      'Path=/shop; Domain=example.org; SameSite=Strict; Secure',
    ],
    [{ sameSite: 'none' }, 'Path=/; HttpOnly; SameSite=None; Secure'],
  ])('of %j are %s', (options, expected) => {
    const { issued, a } = sticking(options);
    const [, ...attributes] = String(issued(a)).split('; ');
    expect(attributes.join('; ')).toBe(expected);
  });

  it('have the cookie go over TLS alone where the client came by TLS', () => {
    const { sticky, a } = sticking();
    const { req, res } = anExchange();
    Object.assign(req.socket, { encrypted: true });
    exchangeOf(req, res).upstream = a;
    const response = new UpstreamResponse();
    void sticky.edit(response, req, res);
    expect(response.headers.get('set-cookie')).toMatch(/; Secure$/);
  });

  it('carry the name that was given', () => {
    const { sticky, issued, a } = sticking({ name: '__Host-up' });
    const cookie = sentBack(issued(a));
    expect(cookie).toMatch(/^__Host-up=/);
    expect(sticky.upstreamOf(cookie)).toBe(a);
  });
});

describe('options of sticky sessions', () => {
  it.each<[string, unknown, string]>([
    ['secret', undefined, 'must be a string of at least 16 characters'],
    ['secret', 'too short', 'must be a string of at least 16 characters'],
    ['name', 'a b', 'cannot stand in a cookie, received "a b"'],
    ['name', '', 'cannot stand in a cookie, received ""'],
    ['path', 'x', 'cannot stand in a cookie, received "x"'],
    ['path', '/;', 'cannot stand in a cookie, received "/;"'],
    ['domain', 'a\r\nb', 'cannot stand in a cookie, received "a\\r\\nb"'],
    ['ttlMs', 999, 'must be a whole number of at least 1000, received 999'],
    ['secure', 'yes', 'must be true or false, received "yes"'],
    ['httpOnly', 0, 'must be true or false, received 0'],
    [
      'sameSite',
      'Lax',
      'must be one of "strict", "lax", "none", received "Lax", did you mean "lax"?',
    ],
  ])('refuse %s: %p', (name, value, message) => {
    const sticky = { secret: SECRET, [name]: value } as StickyOptions;
    expect(() => loadBalancer({ upstreams: ['http://a'], sticky })).toThrow(
      `loadBalancer: sticky.${name} ${message}`,
    );
  });

  it('never show the secret', () => {
    const sticky = { secret: 'too short' };
    expect(() => loadBalancer({ upstreams: [], sticky })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('too short') }),
    );
  });

  it('refuse SameSite=None without Secure, which no browser takes', () => {
    const sticky = { secret: SECRET, sameSite: 'none', secure: false } as const;
    expect(() => loadBalancer({ upstreams: [], sticky })).toThrow(
      "loadBalancer: sticky.sameSite 'none' needs Secure, which secure: false rules out",
    );
  });

  it('refuse what they do not know', () => {
    const sticky = { secret: SECRET, ttl: 5 } as StickyOptions;
    expect(() => loadBalancer({ upstreams: [], sticky })).toThrow(
      'loadBalancer: sticky: unknown option "ttl"',
    );
  });
});

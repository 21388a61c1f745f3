import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { HeaderOverlay } from '../../src/exchange/header-overlay.js';
import { get, received, receiver } from '../helpers/inbound.js';

/** The overlay over a request with these header lines, and the live header under it. */
async function overlaid(...lines: string[]) {
  const { req } = await received(...lines);
  return { overlay: new HeaderOverlay(req), headers: req.headers, req };
}

describe('HeaderOverlay', () => {
  it('sends what the client sent, in its order and spelling', async () => {
    const { overlay } = await overlaid('X-b: 1', 'aCCept: text/html', 'X-B: 2');
    expect([...overlay]).toEqual([
      ['X-b', '1, 2'],
      ['aCCept', 'text/html'],
    ]);
  });

  it('leaves Host, Content-Length, Expect and pseudo fields to the transport', async () => {
    const { overlay, headers } = await overlaid('Content-Length: 0', 'Expect: 100-continue');
    headers[':path'] = '/';
    expect([...overlay]).toEqual([]);
  });

  it('sets, appends and deletes in any case', async () => {
    const { overlay } = await overlaid('X-A: client', 'X-B: client', 'X-C: client');
    overlay.set('x-a', 'ours').append('X-b', 'ours').delete('x-C').append('X-New', 'ours');
    expect(overlay.toJSON()).toEqual({ 'x-a': 'ours', 'x-b': 'client, ours', 'x-new': 'ours' });
    expect([overlay.get('X-A'), overlay.has('X-C'), overlay.get('x-c')]).toEqual([
      'ours',
      false,
      undefined,
    ]);
  });

  it('says how a field is set to what assigns one, as to req.headers', async () => {
    const { overlay } = await overlaid('X-A: client');
    expect(() => Object.assign(overlay, { 'x-user': 'ada' })).toThrow(
      new TypeError('headers["x-user"] = … sets no field, use headers.set("x-user", …)'),
    );
    expect(overlay.toJSON()).toEqual({ 'x-a': 'client' });
  });

  it('sends all of TE where it is kept, and that trailers are welcome where it is not', async () => {
    const { overlay } = await overlaid('TE: trailers, deflate;q=0.5');
    overlay.strip();
    expect([...overlay]).toEqual([['TE', 'trailers']]);
    overlay.strip(['te']);
    expect([...overlay]).toEqual([['TE', 'trailers, deflate;q=0.5']]);
  });

  it('joins cookies as Node does', async () => {
    const { overlay } = await overlaid('Cookie: a=1', 'X-A: 1');
    overlay.append('cookie', 'b=2').append('x-a', '2');
    expect([overlay.get('cookie'), overlay.get('x-a')]).toEqual(['a=1; b=2', '1, 2']);
    overlay.set('Cookie', ['c=3', 'd=4']);
    expect([overlay.get('cookie'), overlay.toJSON().cookie]).toEqual(['c=3; d=4', 'c=3; d=4']);
  });

  it('takes no name of a prototype for a field', async () => {
    const { overlay } = await overlaid('X-A: 1');
    overlay.append('toString', 'ours');
    expect([overlay.get('constructor'), overlay.has('valueOf')]).toEqual([undefined, false]);
    expect(overlay.get('tostring')).toBe('ours');
  });

  it('never changes req.headers', async () => {
    const { overlay, headers } = await overlaid('X-A: client', 'Connection: X-A', 'TE: gzip');
    const before = structuredClone(headers);
    overlay.strip([], ['x-a']);
    overlay.set('X-A', 'ours').append('X-A', 'more').delete('TE').write('via', 'Via', '1.1 us');
    overlay.flatten();
    expect(headers).toEqual(before);
  });

  it('honours edits of req.headers made after its own, unless it has edited the field', async () => {
    const { overlay, headers } = await overlaid('X-A: client', 'X-B: client');
    overlay.set('X-A', 'overlay');
    headers['x-a'] = 'live';
    headers['x-b'] = 'live';
    headers['x-c'] = 'live';
    expect(overlay.toJSON()).toEqual({ 'x-a': 'overlay', 'x-b': 'live', 'x-c': 'live' });
    delete headers['x-b'];
    headers['x-c'] = undefined;
    expect(overlay.toJSON()).toEqual({ 'x-a': 'overlay' });
  });

  it('writes an array as lines of their own, and appends to it as one more', async () => {
    const { overlay } = await overlaid();
    overlay.set('X-List', ['a', 'b']).append('x-list', 'c');
    expect([...overlay]).toEqual([
      ['x-list', 'a'],
      ['x-list', 'b'],
      ['x-list', 'c'],
    ]);
    expect(overlay.get('X-List')).toBe('a, b, c');
    expect(overlay.toJSON()).toEqual({ 'x-list': 'a, b, c' });
  });

  it('appends to a deleted or empty field as if it had not been there', async () => {
    const { overlay } = await overlaid('X-A: client', 'X-Empty:');
    overlay.delete('X-A').append('X-A', 'ours').append('X-Empty', 'ours');
    expect(overlay.toJSON()).toEqual({ 'x-a': 'ours', 'x-empty': 'ours' });
  });

  it('writes numbers as text', async () => {
    const { overlay } = await overlaid();
    expect(overlay.set('X-Count', 0).get('x-count')).toBe('0');
  });

  it('refuses what cannot be sent, and says so', async () => {
    const { overlay } = await overlaid();
    expect(() => overlay.set('bad name', 'x')).toThrow(/valid HTTP token/);
    expect(() => overlay.set('X-A', 'two\r\nX-B: lines')).toThrow(/Invalid character/);
    expect(() => overlay.set('X-A', ['fine', 'nul\0'])).toThrow(/Invalid character/);
    expect(() => overlay.append('X-A', '\n')).toThrow(/Invalid character/);
    expect([...overlay]).toEqual([]);
  });

  it.each(['Connection', 'keep-alive', 'Transfer-Encoding', 'Upgrade', 'Expect', 'CONTENT-LENGTH'])(
    'leaves writing %s to the transport',
    async (name) => {
      const { overlay } = await overlaid();
      const words = `exchange.headers.set: "${name}" is written by the transport itself`;
      expect(() => overlay.set(name, '1')).toThrow(new TypeError(words));
      expect(() => overlay.append(name, '1')).toThrow(TypeError);
    },
  );

  it('hands an edit of Host to the transport apart from the others', async () => {
    const { overlay } = await overlaid();
    expect(overlay.host).toBeUndefined();
    overlay.set('Host', 'other.example');
    expect(overlay.host).toBe('other.example');
    expect([...overlay]).toEqual([]);
  });

  it('prints whatever names a client finds', async () => {
    const { overlay } = await overlaid('__proto__: x', 'constructor: y');
    overlay.set('__proto__', 'ours');
    expect(JSON.parse(JSON.stringify(overlay))).toHaveProperty('constructor', 'y');
    expect([...overlay]).toContainEqual(['__proto__', 'ours']);
  });
});

describe('hop-by-hop fields', () => {
  const HOP = ['Keep-Alive: 5', 'Proxy-Authorization: Basic eA==', 'Trailer: x', 'Upgrade: h2c'];

  it('never cross, with or without stripHopHeaders()', async () => {
    const { overlay } = await overlaid('Connection: X-Hop, close', 'X-Hop: 1', ...HOP, 'X-A: 1');
    expect(overlay.toJSON()).toEqual({ 'x-a': '1' });
    overlay.strip();
    expect(overlay.toJSON()).toEqual({ 'x-a': '1' });
  });

  it('are no longer seen once strip() was called', async () => {
    const { overlay } = await overlaid('Connection: X-Hop', 'X-Hop: 1', ...HOP, 'X-A: 1');
    expect(overlay.get('X-Hop')).toBe('1');
    expect(overlay.get('Keep-Alive')).toBe('5');
    overlay.strip();
    expect(overlay.get('X-Hop')).toBeUndefined();
    expect(overlay.has('Keep-Alive')).toBe(false);
    expect(overlay.get('Connection')).toBeUndefined();
    expect(overlay.get('X-A')).toBe('1');
  });

  it('pass when strip() keeps them', async () => {
    const { overlay } = await overlaid(...HOP);
    overlay.strip(['proxy-authorization']);
    expect(overlay.toJSON()).toEqual({ 'proxy-authorization': 'Basic eA==' });
    expect(overlay.get('Proxy-Authorization')).toBe('Basic eA==');
  });

  it('are joined by those that strip() names, as far as the client sent them', async () => {
    const { overlay, headers } = await overlaid('X-A: client', 'X-B: client', 'TE: trailers');
    overlay.strip([], ['x-a', 'x-b', 'x-c', 'te']);
    headers['x-b'] = 'app';
    overlay.set('X-C', 'piece');
    expect(overlay.toJSON()).toEqual({ 'x-b': 'app', 'x-c': 'piece' });
  });

  it('that the app sets are its own affair', async () => {
    const { overlay } = await overlaid('Proxy-Authorization: client', 'TE: gzip');
    overlay.set('Proxy-Authorization', 'app').set('TE', 'trailers');
    expect(overlay.toJSON()).toEqual({ 'proxy-authorization': 'app', te: 'trailers' });
  });

  it.each(['trailers', 'gzip;q=0.5, Trailers', 'trailers;q=1, gzip'])(
    'TE: %s survives as exactly TE: trailers',
    async (te) => {
      const { overlay } = await overlaid(`TE: ${te}`, 'Connection: TE');
      expect([...overlay]).toEqual([['TE', 'trailers']]);
      overlay.strip();
      expect([...overlay]).toEqual([['TE', 'trailers']]);
      expect(overlay.get('te')).toBe('trailers');
    },
  );

  it.each(['gzip', 'deflate, gzip;q=0.5', 'notrailers'])('TE: %s vanishes', async (te) => {
    const { overlay } = await overlaid(`TE: ${te}`);
    overlay.strip();
    expect([...overlay]).toEqual([]);
    expect(overlay.get('te')).toBeUndefined();
  });

  it('A field called Trailers is an ordinary one', async () => {
    const { overlay } = await overlaid('Trailers: x');
    expect([...overlay]).toEqual([['Trailers', 'x']]);
  });
});

describe('Connection: X-Forwarded-For, X-User from the client (CVE-2026-33805)', () => {
  const CLIENT = [
    'Connection: X-Forwarded-For, X-User',
    'X-User: client',
    'X-Forwarded-For: 6.6.6.6',
  ];

  it('removes only what the client sent', async () => {
    const { overlay } = await overlaid(...CLIENT);
    expect([...overlay]).toEqual([]);
  });

  it('leaves what a piece has set, before or after', async () => {
    const { overlay } = await overlaid(...CLIENT);
    overlay.set('X-Forwarded-For', '127.0.0.1');
    overlay.strip();
    overlay.set('X-User', 'app');
    expect(overlay.toJSON()).toEqual({ 'x-forwarded-for': '127.0.0.1', 'x-user': 'app' });
  });

  it('leaves what the app has set in req.headers', async () => {
    const { overlay, headers } = await overlaid(...CLIENT, 'X-New: client', 'Connection: X-New');
    headers['x-user'] = 'app';
    delete headers['x-new'];
    expect(overlay.toJSON()).toEqual({ 'x-user': 'app' });
  });

  it('removes what was sent in several lines, joined as Node joins them', async () => {
    const { overlay } = await overlaid(
      'Connection: X-User, Cookie, Authorization, Set-Cookie',
      'X-User: a',
      'X-User: b',
      'Cookie: a=1',
      'Cookie: b=2',
      'Authorization: first',
      'Authorization: second',
      'Set-Cookie: a',
      'Set-Cookie: b',
    );
    expect([...overlay]).toEqual([]);
  });
});

describe('spellings that a CGI-style upstream takes for another field', () => {
  it.each([
    'X_Forwarded_For',
    'X-Forwarded_Host',
    'x.real.ip',
    'Content_Length',
    'Transfer_Encoding',
    'Proxy_Authorization',
    'true!client~ip',
  ])('drops %s from the client’s side', async (name) => {
    const { overlay } = await overlaid(`${name}: x`);
    expect([...overlay]).toEqual([]);
  });

  it('drops those of fields that a piece has edited', async () => {
    const { overlay } = await overlaid('X_User: client', 'x.role: client', 'X_Other: client');
    overlay.set('X-User', 'app').delete('X-Role');
    expect(overlay.toJSON()).toEqual({ x_other: 'client', 'x-user': 'app' });
  });

  it('drops those of fields that the app has set in req.headers', async () => {
    const { overlay, headers } = await overlaid('X_User: client', 'X_Role: client', 'X-Role: r');
    headers['x-user'] = 'app';
    expect(overlay.toJSON()).toEqual({ x_role: 'client', 'x-role': 'r', 'x-user': 'app' });
  });

  it('lets the app set any of them', async () => {
    const { overlay } = await overlaid('X_Forwarded_For: client');
    overlay.set('X_Forwarded_For', 'app');
    expect(overlay.toJSON()).toEqual({ x_forwarded_for: 'app' });
  });
});

describe('any sequence of edits', () => {
  const name = fc.constantFrom('x-a', 'X-A', 'x-b', 'X-B', 'x-c');
  const value = fc.constantFrom('1', '2', '');
  const line = fc.record({ name, value });
  const step = fc.record({
    what: fc.constantFrom('set', 'append', 'delete', 'live', 'unlive', 'strip'),
    name,
    value,
  });

  it('sends what a plain map of the rules would send, and shows it', async () => {
    const receive = await receiver();
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 5 }),
        fc.uniqueArray(fc.constantFrom('X-A', 'x-b', 'keep-alive', 'close'), { maxLength: 3 }),
        fc.array(step, { maxLength: 8 }),
        async (lines, connection, steps) => {
          const raw = lines.map(({ name, value }) => `${name}: ${value}`);
          const { req } = await receive(get(...raw, `Connection: ${connection.join()}`));
          const overlay = new HeaderOverlay(req);

          const client = new Map<string, string>();
          for (const { name, value } of lines) {
            const before = client.get(name.toLowerCase());
            client.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`);
          }
          const taken = connection.map((token) => token.toLowerCase());
          const live = new Map(client);
          const edits = new Map<string, string | null>();
          let stripped = false;
          const crossing = (lower: string) =>
            taken.includes(lower) && live.get(lower) === client.get(lower)
              ? undefined
              : live.get(lower);

          for (const { what, name, value } of steps) {
            const lower = name.toLowerCase();
            const edit = edits.get(lower);
            const seen = edit !== undefined ? edit : stripped ? crossing(lower) : live.get(lower);
            if (what === 'set') {
              overlay.set(name, value);
              edits.set(lower, value);
            } else if (what === 'append') {
              overlay.append(name, value);
              edits.set(lower, seen ? `${seen}, ${value}` : value);
            } else if (what === 'delete') {
              overlay.delete(name);
              edits.set(lower, null);
            } else if (what === 'live') {
              req.headers[lower] = 'app';
              live.set(lower, 'app');
            } else if (what === 'unlive') {
              delete req.headers[lower];
              live.delete(lower);
            } else {
              overlay.strip();
              stripped = true;
            }
          }

          const expected: Record<string, string> = {};
          for (const lower of ['x-a', 'x-b', 'x-c']) {
            const sent = edits.has(lower) ? edits.get(lower) : crossing(lower);
            if (typeof sent === 'string') expected[lower] = sent;
          }
          expect({ ...overlay.toJSON() }).toEqual(expected);
          overlay.strip();
          for (const lower of ['x-a', 'x-b', 'x-c'])
            expect(overlay.get(lower)).toBe(expected[lower]);
        },
      ),
      { numRuns: 200 },
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  ALIASED,
  acceptsTrailers,
  fieldInfo,
  fieldNamed,
  HOP_BY_HOP,
  HOP_BY_HOP_FIELDS,
  isAllowedTrailer,
  isForwardingField,
  isReservedAlias,
  LIST,
  nominated,
  OWNED,
  PLAIN,
  PSEUDO,
} from '../../src/exchange/fields.js';

describe('the hop-by-hop list', () => {
  it('is the one of the design', () => {
    expect(HOP_BY_HOP_FIELDS).toEqual([
      'connection',
      'proxy-connection',
      'keep-alive',
      'proxy-authenticate',
      'proxy-authorization',
      'te',
      'trailer',
      'transfer-encoding',
      'upgrade',
      'http2-settings',
    ]);
  });
});

describe('fieldNamed', () => {
  const bytesOf = (name: string) => Buffer.from(name, 'latin1');

  it('knows of bytes what is known of the name that they spell', () => {
    const names = fc.oneof(
      fc.constantFrom('Content-Type', 'content-type', 'Te', 'X_Forwarded_For', ':status', ''),
      // Few letters and lengths, so that many names share a place.
      fc.string({ unit: fc.constantFrom('a', 'B', '-', '\xe4'), maxLength: 5 }),
      fc.string({ unit: fc.constantFrom('x', '_'), minLength: 60, maxLength: 70 }),
    );
    fc.assert(
      fc.property(fc.array(names, { minLength: 1, maxLength: 30 }), (spellings) => {
        for (const spelling of spellings) {
          expect(fieldNamed(bytesOf(spelling))).toEqual(fieldInfo(spelling));
          expect(fieldNamed(bytesOf(spelling)).spelling).toBe(spelling);
        }
      }),
    );
  });

  it('tells names apart that differ in a byte that does not decide their place', () => {
    expect(fieldNamed(bytesOf('x-abcdef')).lower).toBe('x-abcdef');
    expect(fieldNamed(bytesOf('x-ebcdaf')).lower).toBe('x-ebcdaf');
    expect(fieldNamed(bytesOf('x-abcdef')).lower).toBe('x-abcdef');
  });

  it('does not keep the bytes, which undici reads over', () => {
    const bytes = bytesOf('Set-Cookie');
    const info = fieldNamed(bytes);
    bytes.fill(0);
    expect(fieldNamed(bytesOf('Set-Cookie'))).toBe(info);
    expect(info.spelling).toBe('Set-Cookie');
  });
});

describe('fieldInfo', () => {
  it.each([
    ['Accept', 'accept', PLAIN],
    ['Keep-Alive', 'keep-alive', HOP_BY_HOP],
    ['HOST', 'host', OWNED],
    ['Content-Length', 'content-length', OWNED],
    ['Expect', 'expect', OWNED],
    [':authority', ':authority', PSEUDO],
    ['X_User', 'x_user', ALIASED],
    ['Set-Cookie', 'set-cookie', LIST],
    ['Vary', 'vary', LIST],
    ['Link', 'link', LIST],
    ['WWW-Authenticate', 'www-authenticate', LIST],
    ['Server-Timing', 'server-timing', LIST],
    ['Via', 'via', LIST],
    ['RateLimit', 'ratelimit', LIST],
    ['RateLimit-Policy', 'ratelimit-policy', LIST],
    ['Server', 'server', PLAIN],
    ['Trailers', 'trailers', PLAIN],
  ])('knows %s', (spelling, lower, flags) => {
    expect(fieldInfo(spelling)).toMatchObject({ lower, flags });
  });

  it('gives the same answer for every spelling', () => {
    const name = fc.constantFrom(...HOP_BY_HOP_FIELDS, 'host', 'vary', 'x_a', 'accept');
    fc.assert(
      fc.property(name, fc.infiniteStream(fc.boolean()), (lower, upper) => {
        const spelling = [...lower].map((c) => (upper.next().value ? c.toUpperCase() : c)).join('');
        expect(fieldInfo(spelling)).toEqual({
          ...fieldInfo(lower),
          spelling,
          opening: `\r\n${spelling}: `,
        });
      }),
    );
  });

  it('reads odd characters as a CGI-style upstream would', () => {
    expect(fieldInfo('X_Forwarded.For').alias).toBe('x-forwarded-for');
    expect(fieldInfo('Content_Length').alias).toBe('content-length');
    expect(fieldInfo('X-Plain').alias).toBe('x-plain');
    expect(fieldInfo(':path').alias).toBe(':path');
  });

  it('answers the same after clients have sent more names than it remembers', () => {
    for (let i = 0; i < 5_000; i++) fieldInfo(`x-flood-${i}`);
    expect(fieldInfo('x-fresh')).toEqual({
      spelling: 'x-fresh',
      lower: 'x-fresh',
      flags: PLAIN,
      alias: 'x-fresh',
      opening: '\r\nx-fresh: ',
    });
    expect(fieldInfo('uPgRaDe').flags).toBe(HOP_BY_HOP);
  });
});

describe('nominated', () => {
  it.each([
    [undefined],
    ['keep-alive'],
    ['close'],
    ['Keep-Alive, Close'],
    [''],
    [', ,'],
    ['Upgrade, HTTP2-Settings'],
  ])('is nothing for %p', (connection) => {
    expect(nominated(connection)).toBeUndefined();
  });

  it('lists what goes beyond the fixed list, in lower case', () => {
    expect(nominated('close, X-User,,  x-other\t,TE')).toEqual(['x-user', 'x-other']);
  });
});

describe('acceptsTrailers', () => {
  it.each(['trailers', 'Trailers', 'gzip, trailers', 'trailers, gzip;q=0.5', 'a,trailers ;q=1'])(
    'finds it in %p',
    (te) => {
      expect(acceptsTrailers(te)).toBe(true);
    },
  );

  it.each(['', 'gzip', 'no-trailers', 'trailersx', 'trailers2, gzip', 'x trailers'])(
    'does not find it in %p',
    (te) => {
      expect(acceptsTrailers(te)).toBe(false);
    },
  );
});

describe('names that tell who the client is', () => {
  it.each([
    'forwarded',
    'x-forwarded-for',
    'x-forwarded-anything',
    'x-real-ip',
    'x-client-ip',
    'true-client-ip',
    'client-cert',
    'client-cert-chain',
  ])('counts %s among them', (name) => {
    expect(isForwardingField(name)).toBe(true);
    expect(isReservedAlias(name)).toBe(true);
    expect(isAllowedTrailer(name)).toBe(false);
  });

  it.each(['x-forwarded', 'x-user', 'via'])('does not count %s', (name) => {
    expect(isForwardingField(name)).toBe(false);
  });

  it('reserves the names that frame and route, too', () => {
    for (const name of ['content-length', 'transfer-encoding', 'host', 'connection'])
      expect(isReservedAlias(name)).toBe(true);
    expect(isReservedAlias('x-user')).toBe(false);
  });
});

describe('isAllowedTrailer', () => {
  it.each(['x-checksum', 'server-timing', 'grpc-status', 'etag'])('lets %s pass', (name) => {
    expect(isAllowedTrailer(name)).toBe(true);
  });

  it.each([
    ...HOP_BY_HOP_FIELDS,
    'host',
    'content-length',
    'expect',
    'age',
    'authorization',
    'cache-control',
    'content-encoding',
    'content-range',
    'content-type',
    'cookie',
    'date',
    'location',
    'max-forwards',
    'range',
    'retry-after',
    'set-cookie',
    'vary',
    'www-authenticate',
  ])('holds %s back', (name) => {
    expect(isAllowedTrailer(name)).toBe(false);
  });
});

import { describe, expect, it } from '@jest/globals';
import {
  interimLines,
  objectionTo,
  type ResponseHead,
  rawFields,
  responseHead,
  trailerPairs,
} from '../../src/transport/response-head.js';

const PASS_ALL: { keep: string[]; also: string[] } = { keep: [], also: [] };

/** Raw fields as undici hands them over from HTTP/1: flat, as bytes. */
function bytes(...lines: string[]): Buffer[] {
  return lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 2)].map((text) => Buffer.from(text, 'latin1'));
  });
}

/** The head made of these lines. */
function head(lines: string[], policy = PASS_ALL, maxFields = 256): ResponseHead | string {
  return responseHead(bytes(...lines), policy, maxFields);
}

describe('responseHead', () => {
  it('keeps every line, in order, case and latin-1 bytes', () => {
    expect(head(['X-B: 1', 'set-cookie: a', 'Set-Cookie: b', 'x: caf\xe9'])).toEqual({
      lines: ['X-B', '1', 'set-cookie', 'a', 'Set-Cookie', 'b', 'x', 'caf\xe9'],
      chunked: false,
      length: undefined,
    });
  });

  it('takes hop-by-hop fields out, and what Connection names', () => {
    const lines = [
      'Connection: X-Hop',
      'connection: close, x-other',
      'X-Hop: 1',
      'X-OTHER: 2',
      'Keep-Alive: timeout=5',
      'Proxy-Authenticate: Basic',
      'Upgrade: h2c',
      'Trailer: x',
      'Trailers: y',
    ];
    expect(head(lines)).toMatchObject({ lines: ['Trailers', 'y'] });
  });

  it('takes out what stripHopHeaders({ also }) names, and leaves what { keep } does', () => {
    const lines = ['Server: x', 'Proxy-Authenticate: Basic', 'Keep-Alive: timeout=5'];
    const policy = { keep: ['proxy-authenticate'], also: ['server'] };
    expect(head(lines, policy)).toMatchObject({ lines: ['Proxy-Authenticate', 'Basic'] });
  });

  it('writes a length as everybody reads it', () => {
    const { lines, length } = head(['Content-Length: 0005']) as ResponseHead;
    expect({ lines, length }).toEqual({ lines: ['Content-Length', '5'], length: 5 });
  });

  it('leaves out the blanks behind a value, which are no part of it', () => {
    const lines = [
      'Content-Length: 5 ',
      'Connection: X-Hop \t',
      'X-Hop: 1',
      'X-A:  ',
      'X-B: b \t c\t',
    ];
    expect(head(lines)).toMatchObject({
      lines: ['Content-Length', '5', 'X-A', '', 'X-B', 'b \t c'],
      length: 5,
    });
    expect(head(['Transfer-Encoding: chunked '])).toMatchObject({ chunked: true });
    // To undici's parser, this is no chunked body.
    expect(head(['Transfer-Encoding: chunked\t'])).toBe('unknown transfer coding');
  });

  it('says how the body is delimited', () => {
    expect(head(['Transfer-Encoding: Chunked'])).toMatchObject({
      chunked: true,
      length: undefined,
    });
    expect(head(['Content-Length: 12'])).toMatchObject({
      lines: ['Content-Length', '12'],
      chunked: false,
      length: 12,
    });
  });

  it.each([
    [['Transfer-Encoding: xchunked'], 'unknown transfer coding'],
    [['Transfer-Encoding: identity'], 'unknown transfer coding'],
    [['Transfer-Encoding: chunked, gzip'], 'unknown transfer coding'],
    [['Transfer-Encoding: chunked', 'transfer-encoding: chunked'], 'unknown transfer coding'],
    [['Content-Length: 1', 'Transfer-Encoding: chunked'], 'two framings'],
    [['Content-Length: 9007199254740993'], 'unknown length'],
    [['Content-Length: '], 'unknown length'],
    [['Content-Length: -5'], 'unknown length'],
    [['Content-Length: 5.0'], 'unknown length'],
    [['Content-Length: 0x5'], 'unknown length'],
    [['Content-Length: 5, 5'], 'unknown length'],
    [['a: 1', 'b: 2', 'c: 3', 'd: 4'], 'too many fields'],
  ])('finds %j unfit: %s', (lines, reason) => {
    expect(head(lines, PASS_ALL, 3)).toBe(reason);
  });

  it('takes as many fields as are allowed', () => {
    expect(head(['a: 1', 'b: 2', 'c: 3'], PASS_ALL, 3)).toMatchObject({
      lines: ['a', '1', 'b', '2', 'c', '3'],
    });
  });

  it('joins several values of one name, as HTTP/2 has them', () => {
    const raw = ['x-list', ['a', Buffer.from('b')], 'x', 'y'];
    expect(responseHead(raw, PASS_ALL, 256)).toMatchObject({
      lines: ['x-list', 'a, b', 'x', 'y'],
    });
  });
});

describe('rawFields', () => {
  it('takes them as a list, as an object without pseudo fields, and none at all', () => {
    const list = bytes('a: 1');
    expect(rawFields(list)).toBe(list);
    expect(rawFields({ ':status': '200', a: '1' })).toEqual(['a', '1']);
    expect(rawFields(undefined)).toEqual([]);
    expect(rawFields(null)).toEqual([]);
  });
});

describe('objectionTo', () => {
  const plain = { lines: [], chunked: false, length: undefined };
  const chunked = { ...plain, chunked: true };

  it.each([
    [200, plain, 1, undefined],
    [599, plain, 0, undefined],
    [600, plain, 1, 'status 600'],
    [999, plain, 1, 'status 999'],
    [200, chunked, 1, undefined],
    [200, chunked, 0, 'chunked HTTP/1.0'],
    [101, plain, 1, undefined],
    [101, plain, 0, '101 of HTTP/1.0'],
    [200, plain, 2, 'not HTTP/1'],
  ])('to status %i, %j of HTTP/1.%i is %p', (status, response, minor, objection) => {
    expect(objectionTo(status, response, { minorVersion: minor })).toBe(objection);
  });
});

describe('interimLines', () => {
  it('takes hop-by-hop fields and framing out of 1xx', () => {
    const raw = bytes(
      'Link: </a>',
      'Connection: X-Hop',
      'X-Hop: 1',
      'Content-Length: 3',
      'link: </b>',
    );
    expect(interimLines(raw, PASS_ALL)).toEqual(['Link', '</a>', 'link', '</b>']);
  });

  it('takes out what stripHopHeaders({ also }) names', () => {
    const raw = bytes('Link: </a>', 'Server: x');
    expect(interimLines(raw, { keep: [], also: ['server'] })).toEqual(['Link', '</a>']);
  });

  it('passes nothing of one that is framed two ways', () => {
    const raw = bytes('Link: </a>', 'Content-Length: 3', 'Transfer-Encoding: chunked');
    expect(interimLines(raw, PASS_ALL)).toEqual([]);
  });
});

describe('trailerPairs', () => {
  it('gives those that may go on', () => {
    const raw = bytes('X-Checksum: 1', 'Content-Length: 5', 'X-Forwarded-For: 6.6.6.6', 'x-b: 2');
    expect(trailerPairs(raw, undefined)).toEqual([
      ['X-Checksum', '1'],
      ['x-b', '2'],
    ]);
  });

  it('leaves out what was taken out of the head', () => {
    const policy = { keep: [], also: ['x-internal'] };
    const { taken } = head(['Connection: X-Hop'], policy) as ResponseHead;
    const raw = bytes('X-Internal: 1', 'x-hop: 2', 'X-Stays: 3');
    expect(trailerPairs(raw, taken)).toEqual([['X-Stays', '3']]);
  });

  it('gives nothing where there are none, or none that may', () => {
    expect(trailerPairs([], undefined)).toBeUndefined();
    expect(
      trailerPairs(bytes('Transfer-Encoding: chunked', 'Set-Cookie: a'), undefined),
    ).toBeUndefined();
  });
});

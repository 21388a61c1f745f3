import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ProxyError } from 'headrace';
import {
  climbs,
  guardRequest,
  outgoingPath,
  targetAuthority,
} from '../../src/transport/request-guard.js';
import { cpuMilliseconds } from '../helpers/cpu-time.js';
import { receiver } from '../helpers/inbound.js';

/** The status that a request is refused with; `undefined` when it may pass. */
function refusal(run: () => unknown): number | undefined {
  try {
    run();
  } catch (error) {
    const { code, status, headers } = error as ProxyError;
    expect(code).toBe('ERR_PROXY_BAD_REQUEST');
    expect(headers).toEqual({ connection: 'close' });
    return status;
  }
  return undefined;
}

/** The same for a request of these lines, as Node's parser hands it over. */
async function judged(requestLine: string, ...lines: string[]): Promise<number | undefined> {
  const receive = await receiver();
  const { req } = await receive([requestLine, ...lines, '', ''].join('\r\n'));
  return refusal(() => guardRequest(req, false));
}

describe('guardRequest', () => {
  it.each([
    ['a plain request', 'GET / HTTP/1.1', 'Host: app.example:8080'],
    ['HTTP/1.0 without Host', 'GET / HTTP/1.0'],
    ['an IPv6 host', 'GET / HTTP/1.1', 'Host: [::1]:80'],
    ['an empty host', 'GET / HTTP/1.1', 'Host:'],
    ['an absolute target', 'GET http://app.example/x HTTP/1.1', 'Host: other'],
    ['a chunked body', 'POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: Chunked'],
    ['an expectation', 'POST / HTTP/1.1', 'Host: a', 'Expect: 100-Continue', 'Content-Length: 0'],
    ['a nomination', 'GET / HTTP/1.1', 'Host: a', 'Connection: close, X-User'],
  ])('lets %s pass', async (_, requestLine, ...lines) => {
    expect(await judged(requestLine, ...lines)).toBeUndefined();
  });

  it.each<[number, string, string, ...string[]]>([
    [400, 'two Host fields', 'GET / HTTP/1.1', 'Host: a', 'Host: a'],
    [400, 'Host: a b', 'GET / HTTP/1.1', 'Host: a b'],
    [400, 'Host: u@a', 'GET / HTTP/1.1', 'Host: u@a'],
    [400, 'Host: a/b', 'GET / HTTP/1.1', 'Host: a/b'],
    [400, 'Host: a,b', 'GET / HTTP/1.1', 'Host: a,b'],
    [400, 'Host: [::1', 'GET / HTTP/1.1', 'Host: [::1'],
    [400, 'Host: a:port', 'GET / HTTP/1.1', 'Host: a:port'],
    [400, 'a target that is no path', 'GET * HTTP/1.1', 'Host: a'],
    [400, 'an absolute target with userinfo', 'GET http://u@a/ HTTP/1.1', 'Host: a'],
    [400, 'TE in HTTP/1.0', 'POST / HTTP/1.0', 'Transfer-Encoding: chunked'],
    [501, 'gzip, chunked', 'POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: gzip, chunked'],
    [
      501,
      'cow and chunked',
      'POST / HTTP/1.1',
      'Host: a',
      'Transfer-Encoding: cow',
      'Transfer-Encoding: chunked',
    ],
    [505, 'HTTP/2.0 in a line of HTTP/1', 'GET / HTTP/2.0', 'Host: a'],
    [405, 'TRACE', 'TRACE / HTTP/1.1', 'Host: a'],
    [400, 'a nominated Host', 'GET / HTTP/1.1', 'Host: a', 'Connection: X-A, HOST'],
    [400, 'a nominated Content-Length', 'GET / HTTP/1.1', 'Host: a', 'Connection: content-length'],
    [400, 'a nominated Content-Type', 'GET / HTTP/1.1', 'Host: a', 'Connection: Content-Type'],
  ])('answers %i to %s', async (status, _, requestLine, ...lines) => {
    expect(await judged(requestLine, ...lines)).toBe(status);
  });

  it('answers 431 to more than a thousand fields, of which Node 20 shows a thousand', () => {
    const rawHeaders = Array.from({ length: 1_001 }, (_, i) => [`x-${i}`, '']).flat();
    const req = Object.assign(fake({ host: 'a' }), { rawHeaders });
    expect(refusal(() => guardRequest(req, false))).toBe(431);
    rawHeaders.length -= 2;
    expect(refusal(() => guardRequest(req, false))).toBeUndefined();
  });

  it('answers 417 to an expectation that cannot be met', () => {
    for (const expectation of ['200-ok', 'y 100-continue', '100-continue, 100-continue', '']) {
      const req = fake({ host: 'a', expect: expectation });
      expect(refusal(() => guardRequest(req, false))).toBe(417);
    }
  });

  it('lets TRACE pass where it is allowed', () => {
    const req = Object.assign(fake({ host: 'a' }), { method: 'TRACE' });
    expect(refusal(() => guardRequest(req, true))).toBeUndefined();
  });

  it.each(['-1', '+1', '1x', '0x1', ' 1', '', '9007199254740992', '1e3'])(
    'takes a Content-Length of %j for none',
    (length) => {
      expect(refusal(() => guardRequest(fake({ 'content-length': length }), false))).toBe(400);
    },
  );

  it.each(['0', '010', '9007199254740991'])('takes a Content-Length of %j', (length) => {
    const req = fake({ 'content-length': length });
    expect(refusal(() => guardRequest(req, false))).toBeUndefined();
  });

  it('judges what the client sent as Host, and what middleware has made of it', () => {
    const changed = Object.assign(fake({ host: 'fine' }), { rawHeaders: ['Host', 'u@a'] });
    expect(refusal(() => guardRequest(changed, false))).toBe(400);
    const spoiled = Object.assign(fake({ host: 'u@a' }), { rawHeaders: ['Host', 'fine'] });
    expect(refusal(() => guardRequest(spoiled, false))).toBe(400);
  });

  it('knows that HTTP/2 has no Connection field', () => {
    const http2 = (headers: Record<string, string>) =>
      Object.assign(fake(headers), { stream: {}, httpVersion: '2.0', httpVersionMajor: 2 });
    expect(refusal(() => guardRequest(http2({ ':authority': 'a' }), false))).toBeUndefined();
    expect(refusal(() => guardRequest(http2({ connection: 'close' }), false))).toBe(400);
  });

  /** A request of fields that Node's parser would not let through, or not on every version. */
  function fake(headers: Record<string, string>): IncomingMessage {
    const req = {
      method: 'GET',
      url: '/',
      httpVersion: '1.1',
      httpVersionMajor: 1,
      headers,
      rawHeaders: Object.entries(headers).flat(),
    };
    return req as unknown as IncomingMessage;
  }
});

describe('targetAuthority', () => {
  it.each([
    ['/path', undefined],
    ['//host/path', undefined],
    ['http://app.example', 'app.example'],
    ['HTTPS://app.example:8443/x?y', 'app.example:8443'],
    ['http://[::1]?x', '[::1]'],
    ['http://a#x', 'a'],
  ])('of %j is %j', (target, authority) => {
    expect(targetAuthority(target)).toBe(authority);
  });

  it.each([
    '',
    '*',
    'a:443',
    'ftp://a/',
    'http://',
    'http:///path',
    'http://u@a/',
    'http://u:p@a/',
    'http://a,b/',
    'http://a\\@b/',
    'https:evil',
    '@evil',
    ':80@evil',
    '\\evil',
  ])('refuses %j', (target) => {
    expect(refusal(() => targetAuthority(target))).toBe(400);
  });
});

describe('outgoingPath', () => {
  it.each([
    '/',
    '//10.0.0.1/x',
    '/a%2Fb/%2e%2e/./..//c',
    '/%zz',
    '/caf\xe9',
    '/"<>^`{|}~',
    '/a?b=c?d&//e\\f',
    '/a?\\',
  ])('gives %j as it is', (path) => {
    expect(outgoingPath(path)).toBe(path);
  });

  it.each([
    ['/a#b', '/a'],
    ['/a?b#c?d', '/a?b'],
    ['/a#\\', '/a'],
    ['/#', '/'],
    ['/a# \u010d', '/a'],
  ])('never sends the fragment of %j', (path, sent) => {
    expect(outgoingPath(path)).toBe(sent);
  });

  it.each(['', 'a', '@evil', 'http://a/', '*', '/\\evil', '/a\\b?c', '\\/'])(
    'refuses %j',
    (path) => {
      expect(refusal(() => outgoingPath(path))).toBe(400);
    },
  );

  it.each([' ', '\t', '\r', '\n', '\0', '\x7f', '\u010d\u010a', '\u012e\u012e\u012f', '\u{1f600}'])(
    'refuses %j, which no target can have, whether in the path or in the query',
    (text) => {
      for (const path of [`/a${text}b`, `/a?${text}`, `/${text}#b`]) {
        expect(refusal(() => outgoingPath(path))).toBe(400);
      }
    },
  );
});

describe('climbs', () => {
  it.each([
    '/..',
    '/../x',
    '/a/..',
    '/a/../b',
    '/%2e%2e/',
    '/.%2E/x',
    '/%2e./x',
    '/..;x/y',
    '/..\\x',
    '/a%2f..%2fb',
    '/a%5C..%5Cb',
    '/..?x',
  ])('finds the way out in %j', (path) => {
    expect(climbs(path)).toBe(true);
  });

  it.each([
    '/',
    '/a.b/..c/d..',
    '/...',
    '/.',
    '/a/.hidden/./b',
    '/a?x=/../',
    '/%2e',
    '/%252e%252e/',
    '/a..b/c',
  ])('finds none in %j', (path) => {
    expect(climbs(path)).toBe(false);
  });

  it('finds every path that a server which decodes it would resolve upwards', () => {
    const dot = fc.constantFrom('.', '%2e', '%2E');
    const separator = fc.constantFrom('/', '%2f', '%2F', '%5c', '%5C', '\\');
    const segment = fc.oneof(
      fc.constantFrom('', 'a', 'b.c', '..d', 'e..', '%2e'),
      fc.array(dot, { minLength: 1, maxLength: 3 }).map((dots) => dots.join('')),
    );
    const rest = fc.array(fc.tuple(separator, segment), { maxLength: 5 });
    fc.assert(
      fc.property(segment, rest, (first, rest) => {
        const path = `/${first}${rest.flat().join('')}`;
        const segments = decodeURIComponent(path).split(/[/\\]/);
        expect(climbs(path)).toBe(segments.includes('..'));
      }),
      { numRuns: 500 },
    );
  });

  it('takes no time over long paths', () => {
    const parts = ['../', '%2e%2', '..;', '.', '/.', '%2f.'];
    const took = cpuMilliseconds(() => {
      for (const part of parts) climbs(`/${part.repeat(16_384 / part.length)}x`);
    });
    expect(took).toBeLessThan(500);
  });
});

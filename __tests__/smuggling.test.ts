import { createServer, type OutgoingHttpHeaders } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  attach,
  exchangeOf,
  forwardedFor,
  proxyErrors,
  proxyPass,
  reverseProxy,
  rewriteRedirects,
  rewriteUrl,
} from 'headrace';
import { parseResponses, rawClient, rawRequest } from './helpers/client.js';
import {
  appOf,
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  type Middleware,
  openForAll,
  type RawUpstream,
  serve,
} from './helpers/servers.js';
import { eventually } from './helpers/settled.js';
import { echoUpstream, innocentRequest, judge } from './helpers/verdict.js';
import { canonicalRequests } from './helpers/wire.js';

// Whatever reaches uncaughtException or unhandledRejection fails the running test: Jest listens there.

const HOST = 'Host: gateway.test';
const CHUNKED = 'Transfer-Encoding: chunked';
const ABC = '3\r\nabc\r\n0\r\n\r\n';

/** The bytes of a request, its line as given. */
function message(line: string, fields: readonly string[] = [], body = ''): string {
  return [line, ...fields, '', body].join('\r\n');
}

const get = (...fields: string[]) => message('GET /x HTTP/1.1', [HOST, ...fields]);
const to = (target: string) => message(`GET ${target} HTTP/1.1`, [HOST]);
const hosted = (...values: string[]) =>
  message(
    'GET /x HTTP/1.1',
    values.map((value) => `Host: ${value}`),
  );
const post = (fields: readonly string[], body = '') =>
  message('POST /x HTTP/1.1', [HOST, ...fields], body);
const coded = (...codings: string[]) =>
  post(
    codings.map((coding) => `Transfer-Encoding: ${coding}`),
    ABC,
  );
const sized = (...lengths: string[]) =>
  post(
    lengths.map((length) => `Content-Length: ${length}`),
    'abcde',
  );
const chunks = (body: string) => post([CHUNKED], body);
const INNER = 'GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n';
const fields = (count: number) => get(...Array.from({ length: count - 1 }, (_, i) => `a${i}: b`));

/** A gateway before an upstream that records raw bytes. */
interface Ground {
  readonly port: number;
  readonly upstream: RawUpstream;
}

async function groundWith(
  framework: Framework,
  pieces: (url: string) => Middleware[],
): Promise<Ground> {
  const upstream = await echoUpstream();
  const app = appOf(framework, ...pieces(upstream.url));
  const { server, port } = await serve(app);
  attach(server, app);
  return { upstream, port };
}

/** Refused: 4xx, 501 or 505, the connection closed, nothing of it upstream. */
const refused: Record<string, Record<string, string>> = {
  'a Host that is not one host': {
    'two Host lines that agree': hosted('gateway.test', 'gateway.test'),
    'two Host lines that differ': hosted('gateway.test', 'other.test'),
    'a space in it': hosted('a b'),
    'a tab in it': hosted('a\tb'),
    'userinfo in it': hosted('u@a'),
    'a path in it': hosted('a/b'),
    'a query in it': hosted('a?b'),
    'a fragment in it': hosted('a#b'),
    'a backslash in it': hosted('a\\b'),
    'a list of hosts': hosted('a,b'),
    'an IPv6 literal that does not end': hosted('[::1'),
    'a port that is none': hosted('a:b'),
    'a port that is too long': hosted('a:999999'),
    'non-ASCII bytes': hosted('\xe4'),
    'quotes in it': hosted('"a"'),
    'markup in it': hosted('<script>'),
    'no Host at all': message('GET /x HTTP/1.1'),
    'no Host on an upgrade': message('GET /x HTTP/1.1', [
      'Connection: Upgrade',
      'Upgrade: websocket',
    ]),
  },
  'a transfer coding that is not one plain chunked': {
    xchunked: coded('xchunked'),
    gzip: coded('gzip'),
    identity: coded('identity'),
    'chunked in quotes': coded('"chunked"'),
    'gzip, chunked': coded('gzip, chunked'),
    'identity, chunked': coded('identity, chunked'),
    'cow and chunked on two lines': coded('cow', 'chunked'),
    'chunked and cow on two lines': coded('chunked', 'cow'),
    'chunked twice': coded('chunked, chunked'),
    'chunked on two lines': coded('chunked', 'chunked'),
    'chunked, gzip': coded('chunked, gzip'),
    'chunked, identity': coded('chunked, identity'),
    'chunked with a parameter': coded('chunked;q=1'),
    'an empty element before it': coded(', chunked'),
    'an empty element behind it': coded('chunked,'),
    'no coding at all': coded(''),
    'a vertical tab before it': coded('\x0bchunked'),
    'a vertical tab behind it': coded('chunked\x0b'),
    'a form feed before it': coded('\fchunked'),
    'NUL in it': coded('ch\0unked'),
    'a byte beyond ASCII in it': coded('chunk\xe9d'),
    'a space before the colon': post(['Transfer-Encoding : chunked'], ABC),
    'a tab before the colon': post(['Transfer-Encoding\t: chunked'], ABC),
    'the value on the next line': post(['Transfer-Encoding:', ' chunked'], ABC),
    'more of the value on the next line': post([CHUNKED, ' , identity'], ABC),
    'the whole field folded': post([` ${CHUNKED}`], ABC),
    'behind a bare LF': post([`X: a\n${CHUNKED}`, 'Content-Length: 3'], 'abc'),
    'behind a bare CR': post([`X: a\r${CHUNKED}`, 'Content-Length: 3'], 'abc'),
    'xchunked beside a length': post(['Content-Length: 3', 'Transfer-Encoding: xchunked'], 'abc'),
    'chunked before a length': post([CHUNKED, 'Content-Length: 3'], ABC),
    'chunked behind a length': post(['Content-Length: 3', CHUNKED], ABC),
    'chunked on HTTP/1.0': message('POST /x HTTP/1.0', [HOST, CHUNKED], ABC),
    'chunked on a persistent HTTP/1.0': message(
      'POST /x HTTP/1.0',
      [HOST, 'Connection: keep-alive', CHUNKED],
      ABC,
    ),
    'gzip, chunked on what calls itself HTTP/2.0': message(
      'POST /x HTTP/2.0',
      [HOST, 'Transfer-Encoding: gzip, chunked'],
      ABC,
    ),
  },
  'a Content-Length that is not one number': {
    'a plus': sized('+5'),
    'a minus': sized('-5'),
    'a list': sized('5, 5'),
    'a list without spaces': sized('5,5'),
    'two lines that agree': sized('5', '5'),
    'two lines that differ': sized('5', '3'),
    'a semicolon': sized('5;'),
    'a hexadecimal number': sized('0x5'),
    'two numbers': sized('5 5'),
    'an exponent': sized('1e0'),
    'a fraction': sized('5.0'),
    'an underscore': sized('5_0'),
    quotes: sized('"5"'),
    nothing: sized(''),
    'a vertical tab before it': sized('\x0b5'),
    'a vertical tab behind it': sized('5\x0b'),
    'a space before the colon': post(['Content-Length : 5'], 'abcde'),
    'more digits on the next line': post(['Content-Length: 5', ' 0'], 'abcde'),
    'more than 64 bits': sized('18446744073709551621'),
    'far more than 64 bits': sized('99999999999999999999999'),
  },
  'lines that are not lines': {
    'LF at the end of every line': 'GET /x HTTP/1.1\nHost: gateway.test\n\n',
    'LF at the end of the last field': 'GET /x HTTP/1.1\r\nHost: gateway.test\n\r\n',
    'LF at the end of the request line': 'GET /x HTTP/1.1\nHost: gateway.test\r\n\r\n',
    'a folded field': post(['X: a', ' b', 'Content-Length: 3'], 'abc'),
    'a length folded into another field': post(['X: a', ' Content-Length: 3', 'Content-Length: 0']),
    'NUL in a value': get('X: a\0b'),
    'a control character in a value': get('X: a\x01b'),
    'DEL in a value': get('X: a\x7fb'),
    'NUL in a name': get('X\0Y: a'),
    'a space in a name': get('X Y: a'),
    'quotes in a name': get('"X": a'),
    'a parenthesis in a name': get('X(: a'),
    'no name': get(': a'),
    'no colon': get('abc'),
    'a pseudo field': get(':authority: x'),
  },
  'too much of it': {
    'more than a thousand fields': fields(1_001),
    'more than two thousand fields': message('GET /x HTTP/1.1', [
      HOST,
      ...Array.from({ length: 2_001 }, () => 'a:'),
    ]),
    'more than 16 KiB of fields': get(`a: ${'b'.repeat(17_000)}`),
    'more than 16 KiB of target': to(`/${'b'.repeat(17_000)}`),
    'more than 16 KiB of chunk extension': chunks(`3;a=${'b'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`),
  },
  'a version that is not HTTP/1.0 or 1.1': Object.fromEntries(
    ['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'HTTP/3.0', 'HTTP/11.1', 'HTTP/1', 'http/1.1', 'ICE/1.0']
      .map((version) => [version, message(`GET /x ${version}`, [HOST])])
      .concat([
        ['HTTP/0.9 without a version', 'GET /x\r\n\r\n'],
        ['a space behind it', message('GET /x HTTP/1.1 ', [HOST])],
        ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ]),
  ),
  'a request line with other separators': {
    'a tab behind the method': message('GET\t/x HTTP/1.1', [HOST]),
    'a tab before the version': message('GET /x\tHTTP/1.1', [HOST]),
    'a space before the method': message(' GET /x HTTP/1.1', [HOST]),
    'a space in the target': to('/a b'),
    'a tab in the target': to('/a\tb'),
    'a method in lower case': message('get /x HTTP/1.1', [HOST]),
    'a colon behind the method': message('GET: /x HTTP/1.1', [HOST]),
  },
  'a target that is neither a path nor an http(s) URL': Object.fromEntries(
    [
      'x',
      '?x',
      '#f',
      '@evil/',
      '@evil:80/x',
      ':80@evil',
      'h:80',
      '\\evil',
      '/\\evil',
      '/x\\y',
      'ftp://h/x',
      'ws://h/x',
      'urn:x:y',
      'http:x',
      'http:/x',
      'http:///x',
      'http://u@h/x',
      'http://u:p@h/x',
      'http://h,x/y',
      'http://h h/x',
      'http://h\\x/y',
      '/\x7f',
      '/\xe9',
    ].map((target) => [JSON.stringify(target), to(target)]),
  ),
  'a method that shows what the proxy added': { TRACE: message('TRACE /x HTTP/1.1', [HOST]) },
  'an expectation that cannot be met': {
    'an unknown one': post(['Expect: x', 'Content-Length: 3'], 'abc'),
    'y 100-continue': post(['Expect: y 100-continue', 'Content-Length: 3'], 'abc'),
    'two Expect lines': post(
      ['Expect: 100-continue', 'Expect: 100-continue', 'Content-Length: 3'],
      'abc',
    ),
  },
  'a Connection that nominates what the message is read by': {
    'Content-Length': post(['Connection: close, content-length', 'Content-Length: 3'], 'abc'),
    'Content-Length on a line behind an empty one': post(
      ['Connection: ', 'Connection: ,,Content-Length', 'Content-Length: 3'],
      'abc',
    ),
    Host: get('Connection: Host'),
    'Content-Type': get('Connection: content-TYPE'),
  },
  'a chunk size that is not plain hexadecimal': {
    '0x before it': chunks('0x3\r\nabc\r\n0\r\n\r\n'),
    'a plus before it': chunks('+3\r\nabc\r\n0\r\n\r\n'),
    'a minus before it': chunks('-3\r\nabc\r\n0\r\n\r\n'),
    'a space before it': chunks(' 3\r\nabc\r\n0\r\n\r\n'),
    'LF behind it': chunks('3\nabc\n0\n\n'),
    'LF behind its extension': chunks('3;a\nabc\r\n0\r\n\r\n'),
    'CR behind its extension': chunks('3;a\rabc\r\n0\r\n\r\n'),
    'more than 64 bits': chunks('10000000000000003\r\nabc\r\n0\r\n\r\n'),
    'far more than 64 bits': chunks('FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n'),
  },
};

/** Passed on as one message that has one meaning: its target and body as the upstream gets them. */
const normalized: Record<string, Record<string, readonly [bytes: string, seen: object]>> = {
  'a Host that is one': {
    'none on HTTP/1.0': [message('GET /x HTTP/1.0'), { target: '/x' }],
    'an IPv6 literal with a port': [hosted('[::1]:80'), { target: '/x' }],
    'an empty one': [hosted(''), { target: '/x' }],
  },
  'an absolute http(s) target: the upstream sees its path': Object.fromEntries(
    [
      ['http://h/x', '/x'],
      ['https://h/x', '/x'],
      ['HTTP://h/x', '/x'],
      ['http://h:99/x', '/x'],
      ['http://h', '/'],
      ['http://h?x', '/?x'],
      ['http://h//evil/x', '//evil/x'],
      ['http://h/x#f', '/x'],
    ].map(([from = '', target]) => [from, [to(from), { target }]]),
  ),
  'a path that names no host, as it came': Object.fromEntries(
    ['//evil/x', '/@evil', '/:80@evil', '/x/../y', '/%2e%2e/x', '/..;/x', '/%zz', '/%00', '/%0d%0a']
      .concat(['/x?\\y', '/x?a=b?c', '/x?//evil', '/<script>', '/"', '/{}', '/|^`', '/a%2fb'])
      .map((target) => [target, [to(target), { target }]]),
  ),
  'a fragment, which stays behind': {
    '/x#f': [to('/x#f'), { target: '/x' }],
    '/#//evil/x': [to('/#//evil/x'), { target: '/' }],
  },
  'framing, in its canonical form': {
    'chunked in capitals': [coded('CHUNKED'), { body: 'abc' }],
    'chunked behind a tab': [coded('\tchunked'), { body: 'abc' }],
    'a length with a zero before it': [sized('05'), { body: 'abcde' }],
    'a length with many zeros before it': [sized(`${'0'.repeat(30)}5`), { body: 'abcde' }],
    'a length of zero on a GET': [get('Content-Length: 0'), { body: '' }],
    'a length on a GET': [`${get('Content-Length: 5')}abcde`, { body: 'abcde' }],
    'a chunk extension': [chunks('3;a=b\r\nabc\r\n0\r\n\r\n'), { body: 'abc' }],
    'a chunk extension in quotes': [chunks('3;a="b;c"\r\nabc\r\n0\r\n\r\n'), { body: 'abc' }],
    '8 KiB of chunk extension': [
      chunks(`3;a=${'b'.repeat(8_192)}\r\nabc\r\n0\r\n\r\n`),
      { body: 'abc' },
    ],
    'a chunk size with zeros before it': [chunks('00003\r\nabc\r\n000\r\n\r\n'), { body: 'abc' }],
    'chunked that Connection nominates': [
      post(['Connection: transfer-encoding', CHUNKED], ABC),
      { body: 'abc' },
    ],
    'a body that looks like a request': [
      post([`Content-Length: ${INNER.length}`], INNER),
      { target: '/x', body: INNER },
    ],
    'a chunk that looks like a request': [
      chunks(`${INNER.length.toString(16)}\r\n${INNER}\r\n0\r\n\r\n`),
      { target: '/x', body: INNER },
    ],
  },
  'fields for this connection, which end here': {
    'those of an upgrade without its token in Connection': [
      get('Upgrade: websocket', 'Connection: X-Upgrade'),
      { target: '/x' },
    ],
    'those of an upgrade to h2c': [
      get('Upgrade: h2c', 'HTTP2-Settings: x', 'Connection: Upgrade, HTTP2-Settings'),
      { target: '/x' },
    ],
    'TE and Keep-Alive': [get('TE: gzip, chunked', 'Keep-Alive: timeout=5'), { target: '/x' }],
    'Proxy-Connection': [get('Proxy-Connection: keep-alive'), { target: '/x' }],
    'Proxy-Authorization': [get('Proxy-Authorization: Basic eA=='), { target: '/x' }],
    'Expect: 100-continue': [
      post(['Expect: 100-Continue', 'Content-Length: 3'], 'abc'),
      { body: 'abc' },
    ],
    'a Connection of nothing': [get('Connection: ,, ,'), { target: '/x' }],
  },
  'empty lines before the request line': {
    CRLF: [`\r\n${get()}`, { target: '/x' }],
    LF: [`\n${get()}`, { target: '/x' }],
  },
  'names that objects have already': {
    '__proto__, constructor and hasOwnProperty': [
      get('__proto__: x', 'constructor: y', 'hasOwnProperty: z'),
      { target: '/x' },
    ],
  },
  'a thousand fields': { 'and no more': [fields(1_000), { target: '/x' }] },
};

/** Found out in the middle of the body, when its beginning may be on its way upstream. */
const spoiled: Record<string, string> = {
  'a chunk that is longer than its size': chunks('3\r\nabcd\r\n0\r\n\r\n'),
  'a chunk without an end': chunks('3\r\nabc0\r\n\r\n'),
  'a bare CR behind a chunk': chunks('3\r\nabc\rX0\r\n\r\n'),
  'a second chunk whose size is no number': chunks('3\r\nabc\r\nzz\r\n'),
  'a folded trailer': chunks('3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n'),
  'a trailer that ends with LF': chunks('3\r\nabc\r\n0\r\nX: a\nY: b\r\n\r\n'),
  'a trailer without a name': chunks('3\r\nabc\r\n0\r\n: a\r\n\r\n'),
  'more than 16 KiB of trailers': chunks(`3\r\nabc\r\n0\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`),
};

/** What parsers of different ages read differently: any of the three will do, but one of them. */
const odd: Record<string, string> = {
  'a tab behind the coding': coded('chunked\t'),
  'a space behind the coding': coded('chunked '),
  'a tab before the length': sized('\t5'),
  'a tab behind the length': sized('5\t'),
  'a space behind the chunk size': chunks('3 \r\nabc\r\n0\r\n\r\n'),
  'a tab behind the chunk size': chunks('3\t\r\nabc\r\n0\r\n\r\n'),
  'two spaces behind the method': message('GET  /x HTTP/1.1', [HOST]),
  'two spaces before the version': message('GET /x  HTTP/1.1', [HOST]),
  'RTSP/1.0 as the version': message('GET /x RTSP/1.0', [HOST]),
  'a host with an encoded byte': hosted('a%20b'),
  'an absolute target with a port beyond 65535': to('http://h:70000/x'),
  'a framing field as a trailer': chunks('3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n'),
  'a coding as a trailer': chunks(`3\r\nabc\r\n0\r\n${CHUNKED}\r\n\r\n`),
  'an unknown method': message('FOO /x HTTP/1.1', [HOST]),
};

/** Some frameworks have no route for these and answer 404 themselves. */
const unroutable: Record<string, string> = {
  '*': to('*'),
  'OPTIONS *': message('OPTIONS * HTTP/1.1', [HOST]),
  'POST *': message('POST * HTTP/1.1', [HOST]),
  'an absolute target without a host': to('http://'),
};

describe.each(frameworks)('under %s', (framework) => {
  // Parser and guard are the same under each; what differs is the way that an error takes to the client.
  const sample = <T>(cases: Record<string, T>): [string, T][] =>
    Object.entries(cases).slice(0, framework === 'express 5' || framework === 'node:http' ? 99 : 2);
  let ground: Ground;
  beforeAll(async () => {
    ground = await openForAll(() => groundWith(framework, (url) => [reverseProxy(url)]));
  });

  describe.each(Object.entries(refused))('%s', (_, cases) => {
    it.each(sample(cases))('is refused: %s', async (_, bytes) => {
      const { verdict, received } = await judge(ground, ground.upstream, bytes);

      expect(verdict).toBe('REJ');
      expect(received).not.toContain('100 Continue');
    });
  });

  // Without a Host, Node answers by itself, and tells nobody. It is clear where such a request ends.
  const ours = Object.entries(refused).flatMap(([, cases]) => sample(cases));
  it.each(ours.filter(([name]) => name !== 'no Host at all'))(
    'keeps what follows from an upstream that is waiting for it: %s',
    async (_, bytes) => {
      const behind = 'DELETE /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n';
      await rawRequest(ground.port, 'GET /warm HTTP/1.1\r\nHost: gateway.test\r\n\r\n');

      const before = ground.upstream.received().length;
      const client = await rawClient(ground.port, bytes + behind);
      await client.closed();

      expect(ground.upstream.received().slice(before)).toBe('');
    },
  );

  describe.each(Object.entries(normalized))('%s', (_, cases) => {
    it.each(sample(cases))('reaches the upstream as one message: %s', async (_, given) => {
      const [bytes, seen] = given;

      const { verdict, request } = await judge(ground, ground.upstream, bytes);

      expect(verdict).toBe('NORM');
      expect(request).toMatchObject(seen);
    });
  });

  it.each(Object.entries(spoiled))('is never a whole message upstream: %s', async (_, bytes) => {
    expect(['REJ', 'CLOSE']).toContain((await judge(ground, ground.upstream, bytes)).verdict);
  });

  it.each(Object.entries(odd))('gets one of the three verdicts: %s', async (_, bytes) => {
    await expect(judge(ground, ground.upstream, bytes)).resolves.toHaveProperty('verdict');
  });

  it.each(Object.entries(unroutable))('never reaches the upstream: %s', async (_, bytes) => {
    const before = ground.upstream.received();

    const { status } = await rawRequest(ground.port, bytes);

    expect([400, 404]).toContain(status);
    expect(ground.upstream.received()).toBe(before);
  });
});

const climbs = [
  '/..',
  '/../x',
  '/x/..',
  '/x/../../y',
  '/%2e%2e/x',
  '/%2E%2e',
  '/.%2e/x',
  '/%2e./x',
  '/..;/x',
  '/..;a=b/x',
  '/%2e%2e;/x',
  '/..%2fx',
  '/..%2F..%2Fx',
  '/%2e%2e%2fx',
  '/..%5cx',
  '/x%2f..%2fy',
  '/x%5c..%5cy',
  '//..',
  '/./../x',
  '/..\\x',
  '/\\..\\x',
];

/** Dot segments that no server undoes, or that stay where they are. */
const stays = [
  '/%252e%252e/x',
  '/...',
  '/..x/y',
  '/x../y',
  '/.x',
  '/?/../x',
  '/x?a=/..',
  '/x;../y',
];

const based: Record<string, (url: string) => Middleware[]> = {
  'a base path': (url) => [proxyPass(`${url}/base`)],
  'a prefix that is exchanged': (url) => [rewriteUrl([['/api', '/base']]), proxyPass(url)],
  'a pattern that is replaced': (url) => [rewriteUrl({ '^/api': '/base' }), proxyPass(url)],
  'a function': (url) => [rewriteUrl((path) => path.replace('/api', '/base')), proxyPass(url)],
};

describe.each(['express 5', 'node:http'] as const)('paths under %s', (framework) => {
  describe.each(Object.entries(based))('put under a base by %s', (name, pieces) => {
    const prefix = name === 'a base path' ? '' : '/api';
    let ground: Ground;
    beforeAll(async () => {
      ground = await openForAll(() => groundWith(framework, pieces));
    });

    it.each(climbs)('are refused where they could climb out of it: %p', async (path) => {
      const { verdict, status } = await judge(ground, ground.upstream, to(prefix + path));

      expect([verdict, status]).toEqual(['REJ', 400]);
    });

    it.each(stays)('stay as they are under it: %p', async (path) => {
      const { request } = await judge(ground, ground.upstream, to(prefix + path));

      expect(request?.target).toBe(`/base${path}`);
    });
  });

  it.each(['/%zz', '/%', '/%e4', '/%c0%ae%c0%ae/x', '/%u002e'])(
    'whose encoding is broken are no 500: %p',
    async (path) => {
      const upstream = await echoUpstream();
      const pieces = [
        rewriteUrl({ '^/a(.*)$': '/$1' }),
        rewriteRedirects(),
        proxyPass(upstream.url),
      ];
      const gate = await gateway(framework, ...pieces);

      const { verdict, request } = await judge(gate, upstream, to(path));

      expect([verdict, request?.target]).toEqual(['NORM', path]);
    },
  );
});

/** Request trailers that would change what a request is, or who it is from, if they were merged. */
const trailers = [
  'Host: evil.test',
  'Expect: 100-continue',
  'Connection: close',
  'Upgrade: evil',
  'TE: evil',
  'Trailer: X-Evil',
  'Authorization: Basic evil',
  'Proxy-Authorization: Basic evil',
  'Cookie: evil=1',
  'Content-Type: text/evil',
  'Content-Encoding: evil',
  'Forwarded: for=evil',
  'X-Forwarded-For: evil',
  'X-Forwarded-Host: evil',
  'X-Real-IP: evil',
  'True-Client-IP: evil',
  'X_Forwarded_For: evil',
  'X-User: evil',
];

describe.each(frameworks)('the end of a request under %s', (framework) => {
  let ground: Ground;
  beforeAll(async () => {
    const app: Middleware = (req, res, next) => {
      exchangeOf(req, res).headers.set('X-User', 'alice');
      next();
    };
    ground = await openForAll(() =>
      groundWith(framework, (url) => [app, forwardedFor(), proxyPass(url)]),
    );
  });

  it.each(trailers)('has no trailer that is merged or forwarded: %s', async (trailer) => {
    const bytes = chunks(`3\r\nabc\r\n0\r\n${trailer}\r\n\r\n`);
    const { verdict, request } = await judge(ground, ground.upstream, bytes);

    expect([verdict, request?.body]).toEqual(['NORM', 'abc']);
    expect(ground.upstream.received()).not.toMatch(/evil|expect|trailer/i);
  });

  it('is where the next request begins, when the answer came before it', async () => {
    const upstream = await echoUpstream();
    const pass = proxyPass(upstream.url, { maxBodyBytes: 10 });
    const { port } = await gateway(framework, pass, proxyErrors());

    const refusable = post([`Content-Length: ${INNER.length}`], INNER);
    const client = await rawClient(port, refusable + innocentRequest('/next'));
    await client.untilOrClosed((text) => parseResponses(text).length === 2);

    const [refusal, ...others] = parseResponses(client.received());
    expect(refusal?.status).toBe(413);
    expect(others.map(({ body }) => body)).toEqual(['GET /next HTTP/1.1']);
    expect(upstream.received()).not.toContain('/evil');
  });

  it('need not come: a length beyond 2^53 is refused, and the connection closed', async () => {
    const upstream = await echoUpstream();
    const gate = await gateway(framework, proxyPass(upstream.url), proxyErrors());

    const { verdict, status } = await judge(gate, upstream, sized('9007199254740993'));

    expect([verdict, status]).toEqual(['REJ', 400]);
  });
});

describe('an upload that goes on after its answer', () => {
  const refusal = async () => {
    const pass = proxyPass('http://127.0.0.1:1', { maxBodyBytes: 10 });
    const { port } = await gateway('express 5', pass, proxyErrors());
    const client = await rawClient(port, post(['Content-Length: 1000000000'], 'x'));
    await client.until((text) => parseResponses(text).length === 1);
    expect(parseResponses(client.received())[0]?.status).toBe(413);
    return client;
  };

  it('is cut off after a mebibyte', async () => {
    const client = await refusal();
    const step = Buffer.alloc(65_536);
    let sent = 0;
    const pour = () => {
      while (!client.hasEnded() && client.socket.write(step)) sent += step.length;
    };
    client.socket.on('drain', pour);
    pour();

    await client.closed();

    // What the kernel holds on both sides of the connection comes on top.
    expect(sent).toBeLessThan(16 * 1_048_576);
  });

  it('is cut off after two seconds', async () => {
    const client = await refusal();
    const before = performance.now();

    await client.closed();

    expect(performance.now() - before).toBeLessThan(4_000);
  });
});

describe('a body that goes wrong when its beginning has reached the upstream', () => {
  it.each([
    ['a chunk size that is none', [CHUNKED], '3\r\nabc\r\n', 'zz\r\n'],
    ['a chunk without an end', [CHUNKED], '3\r\nabc', 'x0\r\n\r\n'],
    ['a trailer that folds', [CHUNKED], '3\r\nabc\r\n', '0\r\nX: a\r\n b\r\n\r\n'],
    ['an end of the connection', ['Content-Length: 10'], 'abc', undefined],
    ['an end of the connection between chunks', [CHUNKED], '3\r\nabc\r\n', undefined],
  ])(
    'is no whole request there, and its connection is gone: %s',
    async (_, fields, begin, rest) => {
      const upstream = await echoUpstream();
      const { port } = await groundWith('express 5', () => [proxyPass(upstream.url)]);
      const client = await rawClient(port, post(fields, begin));
      await eventually('the beginning of the body', () => upstream.received().includes('abc'));

      if (rest === undefined) client.socket.end();
      else client.write(rest);
      await client.closed();

      const [socket] = upstream.sockets;
      await eventually('the end upstream', () => socket?.closed === true);
      expect(canonicalRequests(upstream.received()).requests).toEqual([]);
      expect((await rawRequest(port, innocentRequest('/next'))).body).toBe('GET /next HTTP/1.1');
    },
  );
});

describe('over HTTP/2', () => {
  /** Sends a request over HTTP/2; gives the status, or `reset`, and what the upstream got. */
  async function h2(headers: OutgoingHttpHeaders, body?: string) {
    const upstream = await echoUpstream();
    const handler = appOf('node:http', reverseProxy(upstream.url));
    const server = createHttp2Server((req, res) => handler(req as never, res as never));
    server.on('sessionError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closeAfter(() => server.close());
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    session.on('error', () => {});
    closeAfter(() => session.destroy());
    const stream = session.request(headers, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    stream.resume();
    const status = await new Promise<number | 'reset'>((resolve) => {
      stream.on('response', (head) => resolve(Number(head[':status'])));
      stream.on('error', () => resolve('reset'));
      stream.on('close', () => resolve('reset'));
    });
    const { requests, rest } = canonicalRequests(upstream.received());
    return { status, requests, rest };
  }

  it.each<[string, OutgoingHttpHeaders]>([
    ['an authority that is none', { ':authority': 'a b' }],
    ['an authority with userinfo', { ':authority': 'u@a' }],
    ['an authority with a path', { ':authority': 'a/b' }],
    ['an authority and another Host', { ':authority': 'a.test', host: 'b.test' }],
    ['a target that is no path', { ':path': 'evil' }],
    ['a target with a backslash', { ':path': '/\\evil' }],
    ['a target of another scheme', { ':path': 'ftp://evil/' }],
    ['a star for a target', { ':path': '*' }],
    ['TRACE', { ':method': 'TRACE' }],
  ])('%s is refused, and nothing goes out', async (_, headers) => {
    const { status, requests, rest } = await h2({ ':path': '/x', ...headers });

    expect([400, 405, 'reset']).toContain(status);
    expect([requests, rest]).toEqual([[], '']);
  });

  it('a body that is longer than its length is no whole request upstream', async () => {
    const { requests } = await h2(
      { ':method': 'POST', ':path': '/x', 'content-length': 3 },
      `abc${INNER}`,
    );

    expect(requests).toEqual([]);
  });

  it.each(['//evil.test/x', '/x?a=b', '/%2e%2e/x'])('a path arrives as it is: %p', async (path) => {
    const { status, requests } = await h2({ ':path': path });

    expect([status, requests.map(({ target }) => target)]).toEqual([200, [path]]);
  });

  it('a body without a length arrives as one request', async () => {
    const { requests } = await h2({ ':method': 'POST', ':path': '/x' }, INNER);

    expect(requests.map(({ target, body }) => [target, body])).toEqual([['/x', INNER]]);
  });
});

describe('a server with insecureHTTPParser', () => {
  it('is refused by attach()', () => {
    const app = appOf('express 5');
    expect(() => attach(createServer({ insecureHTTPParser: true }, app), app)).toThrow(
      /^attach: server has insecureHTTPParser/,
    );
    expect(() => attach(createServer({ insecureHTTPParser: false }, app), app)).not.toThrow();
  });
});

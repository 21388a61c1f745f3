import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, isIP, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { modifyResponse, proxyErrors, proxyPass, reverseProxy } from 'headrace';
import { blackHole } from './helpers/black-hole.js';
import { parseResponses, type RawResponse, rawClient, rawRequest } from './helpers/client.js';
import {
  appOf,
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  listen,
  openForAll,
  type RawUpstream,
  rawUpstream,
  serve,
} from './helpers/servers.js';
import { eventually } from './helpers/settled.js';
import { innocentRequest } from './helpers/verdict.js';
import { canonicalHead, canonicalRequests } from './helpers/wire.js';

// Whatever reaches uncaughtException or unhandledRejection fails the running test: Jest listens there.

const REQUEST = 'GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n';
const FIVE = 'Content-Length: 5';
const CHUNKED = 'Transfer-Encoding: chunked';
const EVIL = '4\r\nevil\r\n0\r\n\r\n';

/** How a connection ends behind the bytes of an answer; it stays open by default. */
type End = 'end' | 'resetAndDestroy' | undefined;

/** An upstream that answers innocent requests, and everything else as the running test wants it. */
interface Ground {
  readonly port: number;
  readonly upstream: RawUpstream;
  /** Has the next request answered with these bytes. */
  answer(bytes: string, end?: End): void;
}

async function groundFor(framework: Framework): Promise<Ground> {
  let next: { bytes: string; end: End } = { bytes: '', end: undefined };
  const upstream = await rawUpstream((request, socket) => {
    const line = request.slice(0, request.indexOf('\r\n'));
    if (line.includes('innocent'))
      return `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${line}`;
    const { bytes, end } = next;
    socket.write(Buffer.from(bytes, 'latin1'), () => end && socket[end]());
    return undefined;
  });
  const pipeline = reverseProxy(upstream.url);
  closeAfter(() => pipeline.close());
  const { port } = await serve(appOf(framework, pipeline));
  return {
    port,
    upstream,
    answer: (bytes, end) => {
      next = { bytes, end };
    },
  };
}

/** What a client made of a hostile answer. */
interface Heard {
  /** The final response, when it came whole. */
  readonly response: RawResponse | undefined;
  readonly received: string;
  readonly ended: boolean;
}

let innocents = 0;

/**
 * Asks, and listens until there is a whole response or the connection is over. Behind it goes an
 * innocent request, on the same connection where it still is one: it must get its own answer.
 */
async function hear({ port }: Ground, request = REQUEST): Promise<Heard> {
  const client = await rawClient(port, request);
  await client.untilOrClosed((text) => parseResponses(text, false, false).length > 0);
  const received = client.received();
  const ended = client.hasEnded();
  const [response] = parseResponses(received, false, false);

  const innocent = `/innocent-${++innocents}`;
  if (!ended) {
    client.write(innocentRequest(innocent));
    await client.untilOrClosed((text) => text.includes(`GET ${innocent} `));
  }
  if (!client.received().includes(innocent)) {
    const { body } = await rawRequest(port, innocentRequest(innocent));
    expect(body).toBe(`GET ${innocent} HTTP/1.1`);
  }
  return { response, received, ended };
}

function answer(line: string, fields: readonly string[], body = 'evil!'): string {
  return [line, ...fields, '', body].join('\r\n');
}

const ok = (fields: readonly string[], body?: string) => answer('HTTP/1.1 200 OK', fields, body);
const line = (text: string) => answer(text, [FIVE]);
const field = (text: string) => ok([text, FIVE]);
const coded = (...codings: string[]) =>
  ok(
    codings.map((coding) => `Transfer-Encoding: ${coding}`),
    EVIL,
  );
const sized = (...lengths: string[]) => ok(lengths.map((length) => `Content-Length: ${length}`));
const hints = (count: number) => 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(count);
const fields = (count: number) => ok([...Array.from({ length: count - 1 }, () => 'a: b'), FIVE]);

/** 502, the connection to the upstream gone, nothing of the answer at the client. */
const unfit: Record<string, Record<string, string>> = {
  'a transfer coding that is not one plain chunked': {
    xchunked: coded('xchunked'),
    identity: coded('identity'),
    gzip: coded('gzip'),
    'gzip, chunked': coded('gzip, chunked'),
    'chunked, gzip': coded('chunked, gzip'),
    'chunked, chunked': coded('chunked, chunked'),
    'chunked twice': coded('chunked', 'chunked'),
    'identity and chunked on two lines': coded('identity', 'chunked'),
    'chunked in quotes': coded('"chunked"'),
    'chunked with a parameter': coded('chunked;a=b'),
    'chunked behind a comma': coded(',chunked'),
    'chunked before a comma': coded('chunked,'),
    'chunked behind a vertical tab': coded('\x0bchunked'),
    'chunked on the next line': coded('\r\n chunked'),
    'no coding': coded(''),
    'a space before the colon': ok(['Transfer-Encoding : chunked'], EVIL),
    'chunked on HTTP/1.0': answer('HTTP/1.0 200 OK', [CHUNKED], EVIL),
    'chunked on HTTP/1.0, behind a 103': hints(1) + answer('HTTP/1.0 200 OK', [CHUNKED], EVIL),
    'chunked on HTTP/1.0, behind an empty line': `\r\n${answer('HTTP/1.0 200 OK', [CHUNKED], EVIL)}`,
    'chunked before a length': ok([CHUNKED, FIVE], EVIL),
    'chunked behind a length': ok([FIVE, CHUNKED], EVIL),
  },
  'a Content-Length that is not one number': {
    'a plus': sized('+5'),
    'a minus': sized('-5'),
    'a list': sized('5, 5'),
    'a list without spaces': sized('5,5'),
    'two lines that agree': sized('5', '5'),
    'two lines that differ': sized('5', '3'),
    'a hexadecimal number': sized('0x5'),
    'two numbers': sized('5 5'),
    'an exponent': sized('1e0'),
    'an underscore': sized('5_0'),
    quotes: sized('"5"'),
    nothing: sized(''),
    'a number on the next line': sized('\r\n 5'),
    'more than 2^53': sized('9007199254740993'),
    'more than 64 bits': sized('99999999999999999999999'),
  },
  'a field that could split the response': {
    'a bare CR': field('X: a\rSet-Cookie: evil=1'),
    'a bare LF': field('X: a\nSet-Cookie: evil=1'),
    'a folded line': field('X: a\r\n evil'),
    'NUL in a value': field('X: evil\0'),
    'a control character in a value': field('X: evil\x01'),
    'a terminal escape in a value': field('X: \x1b[31mevil'),
    'DEL in a value': field('X: evil\x7f'),
    'a space in a name': field('X evil: a'),
    'no name': field(': evil'),
    'no colon': field('evil'),
  },
  'a status that is none': Object.fromEntries(
    ['000', '099', '1000', '99', '20', '600', '999', 'abc', '2 0', '-20', '200OK', ' 200'].map(
      (status) => [JSON.stringify(status), line(`HTTP/1.1 ${status} OK`)],
    ),
  ),
  'a version that is not HTTP/1': Object.fromEntries(
    ['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'http/1.1', 'RTSP/1.0', 'ICE/1.0', 'ICY', ' HTTP/1.1']
      .map((version) => [version, line(`${version} 200 OK`)])
      .concat([['an empty line before it', `\r\n${line('HTTP/1.1 200 OK')}`]]),
  ),
  'what is not HTTP': {
    'a greeting of SSH': 'SSH-2.0-OpenSSH_9.6\r\n\r\n',
    'an alert of TLS': '\x15\x03\x01\x00\x02\x02\x46\r\n\r\n',
    'a page without a head': '<html>evil</html>\r\n\r\n',
    'a frame of HTTP/2': '\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n',
    NUL: '\0'.repeat(64),
    'a reason phrase with a bare CR': line('HTTP/1.1 200 O\rK'),
    'a reason phrase with a bare LF': line('HTTP/1.1 200 O\nSet-Cookie: evil=1'),
  },
  'a switch of protocols that nobody asked for': {
    'with its fields': answer(
      'HTTP/1.1 101 Switching Protocols',
      ['Connection: Upgrade', 'Upgrade: websocket'],
      'evil!',
    ),
    'without them': line('HTTP/1.1 101 Switching Protocols'),
  },
  'too much of it': {
    '257 fields': fields(257),
    'more than 16 KiB of fields': field(`a: ${'b'.repeat(16_384)}`),
    '101 interim responses': hints(101) + ok([FIVE]),
    'a thousand interim responses': hints(1_000) + ok([FIVE]),
    'a thousand 100 Continue': 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(1_000) + ok([FIVE]),
  },
};

/** Answers that pass, with what the client gets. */
const fit: Record<string, readonly [bytes: string, seen: object]> = {
  'chunked in capitals': [ok(['Transfer-Encoding: CHUNKED'], EVIL), { status: 200, body: 'evil' }],
  'a length with zeros before it': [sized('0005'), { body: 'evil!' }],
  'a chunk extension': [ok([CHUNKED], '4;a="b;c"\r\nevil\r\n0\r\n\r\n'), { body: 'evil' }],
  'an unknown status': [line('HTTP/1.1 299 Odd'), { status: 299, reason: 'Odd' }],
  'no reason phrase': [line('HTTP/1.1 200 '), { status: 200 }],
  'not even a space for a reason phrase': [line('HTTP/1.1 200'), { status: 200 }],
  'a reason phrase with control characters': [line('HTTP/1.1 200 \x01\x1b[31m'), { reason: 'OK' }],
  'a reason phrase with NUL': [line('HTTP/1.1 404 \0'), { reason: 'Not Found' }],
  'a reason phrase beyond ASCII': [line('HTTP/1.1 200 \xe9t\xe9'), { reason: 'OK' }],
  'a reason phrase of 64 KiB': [line(`HTTP/1.1 200 ${'x'.repeat(65_536)}`), { status: 200 }],
  'a value beyond ASCII': [field('X: \xe9'), { status: 200, body: 'evil!' }],
  'names that objects have already': [
    ok(['__proto__: a', 'constructor: b', 'hasOwnProperty: c', 'toString: d', FIVE]),
    { status: 200, body: 'evil!' },
  ],
  'trailers with names that objects have already': [
    ok([CHUNKED], '4\r\nevil\r\n0\r\n__proto__: a\r\nconstructor: b\r\n\r\n'),
    { status: 200, body: 'evil' },
  ],
  '256 fields': [fields(256), { status: 200, body: 'evil!' }],
  '100 interim responses': [hints(100) + ok([FIVE]), { status: 200, body: 'evil!' }],
  '100 Continue that nobody asked for': [
    `HTTP/1.1 100 Continue\r\n\r\n${ok([FIVE])}`,
    { status: 200, body: 'evil!' },
  ],
  'eight of them, with fields, among others': [
    `${'HTTP/1.1 100 Continue\r\nA: b\r\n\r\n'.repeat(4)}${hints(1)}`.repeat(2) + ok([FIVE]),
    { status: 200, body: 'evil!' },
  ],
  'a 304 with a length': [
    answer('HTTP/1.1 304 Not Modified', [FIVE, 'ETag: "a"'], ''),
    { status: 304, body: '' },
  ],
  'a 304 with a body all the same': [line('HTTP/1.1 304 Not Modified'), { status: 304, body: '' }],
  'a 204 with a body all the same': [line('HTTP/1.1 204 No Content'), { status: 204, body: '' }],
  'a 204 with chunks all the same': [
    answer('HTTP/1.1 204 No Content', [CHUNKED], EVIL),
    { status: 204, body: '' },
  ],
  'two responses to one request': [
    ok(['Content-Length: 4'], 'good') + line('HTTP/1.1 200 OK'),
    { status: 200, body: 'good' },
  ],
  'more body than the length says': [
    ok(['Content-Length: 4'], 'goodevil'),
    { status: 200, body: 'good' },
  ],
};

/** Answers that go wrong behind their head: 502 while it is not out, a broken connection then. */
const broken: Record<string, readonly [bytes: string, end?: End]> = {
  'a chunk size that is none': [ok([CHUNKED], '4\r\nevil\r\nzz\r\n')],
  'a chunk size beyond 64 bits': [ok([CHUNKED], 'FFFFFFFFFFFFFFFFF\r\nevil\r\n0\r\n\r\n')],
  'a chunk size with a sign': [ok([CHUNKED], '+4\r\nevil\r\n0\r\n\r\n')],
  'a chunk that is longer than its size': [ok([CHUNKED], '3\r\nevil\r\n0\r\n\r\n')],
  'a chunk without an end': [ok([CHUNKED], '4\r\nevil0\r\n\r\n')],
  'chunks that end with LF': [ok([CHUNKED], '4\nevil\n0\n\n')],
  'a trailer with a control character': [ok([CHUNKED], `${EVIL.slice(0, -2)}X: \x01\r\n\r\n`)],
  'a trailer that folds': [ok([CHUNKED], `${EVIL.slice(0, -2)}X: a\r\n b\r\n\r\n`)],
  'a length as a trailer': [ok([CHUNKED], `${EVIL.slice(0, -2)}Content-Length: 3\r\n\r\n`)],
  'trailers without an end': [
    ok([CHUNKED], `${EVIL.slice(0, -2)}X: ${'y'.repeat(65_536)}\r\n\r\n`),
  ],
  'an end before the length': [ok(['Content-Length: 50']), 'end'],
  'an end before the last chunk': [ok([CHUNKED], '4\r\nevil\r\n'), 'end'],
  'a reset before the length': [ok(['Content-Length: 50']), 'resetAndDestroy'],
};

/** No answer at all, or the beginning of a head. */
const missing: Record<string, readonly [bytes: string, end: End]> = {
  'an end before the head': ['', 'end'],
  'a reset before the head': ['', 'resetAndDestroy'],
  'an end within the status line': ['HTTP/1.1 2', 'end'],
  'an end within the head': ['HTTP/1.1 200 OK\r\nX: evil', 'end'],
  'a reset within the head': ['HTTP/1.1 200 OK\r\nX: evil', 'resetAndDestroy'],
  'an end behind an interim response': [hints(1), 'end'],
  'an end within an interim response': ['HTTP/1.1 103 Early Hints\r\nX: evil', 'end'],
};

describe.each(frameworks)('an upstream behind %s that answers with', (framework) => {
  // What reads the answers is the same under each; what differs is the way of errors to the client.
  const sample = <T>(cases: Record<string, T>): [string, T][] =>
    Object.entries(cases).slice(0, framework === 'express 5' || framework === 'node:http' ? 99 : 2);

  let ground: Ground;
  beforeAll(async () => {
    ground = await openForAll(() => groundFor(framework));
  });

  describe.each(Object.entries(unfit))('%s', (_, cases) => {
    it.each(sample(cases))('is 502, and its connection gone: %s', async (_, bytes) => {
      ground.answer(bytes);

      const { response, received } = await hear(ground);

      expect(response?.status).toBe(502);
      expect(received).not.toContain('evil');
      expect(received.split('103 Early Hints').length).toBeLessThanOrEqual(101);
      await gone(ground.upstream, '/x');
    });
  });

  it.each(sample(missing))('%s is 502', async (_, [bytes, end]) => {
    ground.answer(bytes, end);

    const { response, received } = await hear(ground);

    expect(response?.status).toBe(502);
    expect(received).not.toContain('evil');
  });

  it.each(sample(fit))('%s passes', async (_, [bytes, seen]) => {
    ground.answer(bytes);

    const { response, received, ended } = await hear(ground);

    expect(response).toMatchObject(seen);
    expect(ended).toBe(false);
    expect(received).not.toContain('100 Continue');
    canonicalHead(received.slice(received.lastIndexOf('HTTP/1.1 ')));
  });

  it.each(sample(broken))('%s is never whole', async (_, [bytes, end]) => {
    ground.answer(bytes, end);

    const { response, ended } = await hear(ground);

    expect(response === undefined ? ended : response.status).toBe(response ? 502 : true);
  });
});

/** Resolves when the connections that carried a request for `path` are closed. */
async function gone(upstream: RawUpstream, path: string): Promise<void> {
  const carriers = () => {
    const bytes = upstream.connections();
    return upstream.sockets.filter((_, i) => bytes[i]?.includes(` ${path} HTTP/1.1`));
  };
  await eventually('the request', () => carriers().length > 0);
  await Promise.all(carriers().map(closed));
}

/** Resolves when a socket is closed, in whichever way. */
function closed(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => {
    if (socket.closed) resolve(undefined);
    else socket.once('close', resolve);
  });
}

describe('an answer of which each byte is a packet of its own', () => {
  /** Answers with one byte in each turn of the event loop. */
  const dripping = (bytes: string) =>
    rawUpstream((_, socket) => {
      socket.setNoDelay();
      const drip = (at: number) => {
        if (at < bytes.length) socket.write(bytes.charAt(at), () => setImmediate(drip, at + 1));
      };
      drip(0);
      return undefined;
    });

  it.each([
    ['interim responses, with a 100 Continue among them', 200, 'HTTP/1.1 200 OK'],
    ['chunks on HTTP/1.0 behind them', 502, `HTTP/1.0 200 OK\r\n${CHUNKED}`],
    ['another protocol behind them', 502, 'RTSP/1.0 200 OK'],
  ])('is judged as any other: %s', async (_, expected, last) => {
    const skipped = 'HTTP/1.1 100 Continue\r\nA: b\r\n\r\n';
    const body = last.includes(CHUNKED) ? `\r\n${EVIL}` : `${FIVE}\r\n\r\nevil!`;
    const upstream = await dripping(`${skipped}${hints(1)}${skipped}${last}\r\n${body}`);
    const { port } = await gateway('node:http', proxyPass(upstream.url));
    const client = await rawClient(port, REQUEST);

    const text = await client.until((text) => parseResponses(text).length > 0);

    expect(parseResponses(text)[0]?.status).toBe(expected);
    expect(text.match(/HTTP\/1\.1 1\d\d/g)).toEqual(['HTTP/1.1 103']);
  });
});

describe('a second response that comes later', () => {
  it('reaches nobody, and its connection is gone', async () => {
    const ground = await groundFor('express 5');
    ground.answer(ok([FIVE], 'good!'));
    const first = await rawRequest(ground.port, REQUEST);

    ground.upstream.sockets[0]?.write(ok([FIVE]));
    await gone(ground.upstream, '/x');
    const { response } = await hear(ground, innocentRequest('/innocent'));

    expect([first.body, response?.body]).toEqual(['good!', 'GET /innocent HTTP/1.1']);
  });
});

describe('a connection that the upstream closes as a request is sent', () => {
  /** Sends a request over a connection that was used before and closes when the request comes. */
  async function race(request: string): Promise<{ status: number; tries: number }> {
    const upstream = await rawUpstream((bytes, socket) => {
      if (bytes.includes(' /raced ') && socket === upstream.sockets[0]) socket.end();
      else return bytes.startsWith('HEAD ') ? ok([FIVE], '') : ok([FIVE]);
      return undefined;
    });
    const pass = proxyPass(upstream.url, { allowTrace: true });
    closeAfter(() => pass.close());
    const { port } = await gateway('express 5', pass);
    await rawRequest(port, innocentRequest('/first'));
    const { status } = await rawRequest(port, request);
    const raced = upstream.connections().map((bytes) => bytes.split(' /raced ').length - 1);
    expect(raced[0]).toBe(1);
    return { status, tries: raced.reduce((all, one) => all + one, 0) };
  }

  const raced = (method: string, ...rest: string[]) =>
    [`${method} /raced HTTP/1.1`, 'Host: gateway.test', ...rest].join('\r\n');

  it.each(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])(
    'does no harm to %s without a body: it is sent once more, on a fresh one',
    async (method) => {
      expect(await race(raced(method, '', ''))).toEqual({ status: 200, tries: 2 });
    },
  );

  it.each([
    ['POST without a body', raced('POST', 'Content-Length: 0', '', '')],
    ['POST', raced('POST', 'Content-Length: 1', '', 'a')],
    ['PATCH without a body', raced('PATCH', '', '')],
    ['PATCH', raced('PATCH', 'Content-Length: 1', '', 'a')],
    ['PUT with a body', raced('PUT', 'Content-Length: 1', '', 'a')],
    ['DELETE with a body', raced('DELETE', CHUNKED, '', '1\r\na\r\n0\r\n\r\n')],
  ])('is 502 for %s, which is never sent twice', async (_, request) => {
    expect(await race(request)).toEqual({ status: 502, tries: 1 });
  });

  it('is no reason to try for ever: a fresh one that closes as well is 502', async () => {
    const upstream = await rawUpstream((bytes, socket) => {
      if (bytes.includes(' /first ')) return ok([FIVE]);
      socket.end();
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    await rawRequest(port, innocentRequest('/first'));

    const { status } = await rawRequest(port, innocentRequest('/raced'));

    expect(status).toBe(502);
    expect(upstream.received().split(' /raced ')).toHaveLength(3);
  });
});

describe('whoever is silent', () => {
  it('is waited for as long as connectTimeoutMs says, when connecting', async () => {
    const pass = proxyPass((await blackHole()).url, { connectTimeoutMs: 100 });
    const { port } = await gateway('express 5', pass);

    expect(await timed(() => rawRequest(port, REQUEST))).toMatchObject({ status: 504 });
  });

  it('is waited for as long as headersTimeoutMs says, though its head drips', async () => {
    const upstream = await rawUpstream((_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write('X'), 10);
      socket.on('close', () => clearInterval(drip));
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url, { headersTimeoutMs: 150 }));

    expect(await timed(() => rawRequest(port, REQUEST))).toMatchObject({ status: 504 });
    await gone(upstream, '/x');
  });

  it('is waited for as long as headersTimeoutMs says, when it does not read an upload', async () => {
    const silent = await notReading();
    const pass = proxyPass(`http://127.0.0.1:${silent.port}`, { headersTimeoutMs: 150 });
    const { port } = await gateway('express 5', pass, proxyErrors());
    const client = await rawClient(
      port,
      `POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 100000000\r\n\r\n`,
    );
    client.write(Buffer.alloc(16 * 1_048_576));

    await timed(() => client.until((text) => parseResponses(text).length > 0));

    expect(parseResponses(client.received())[0]?.status).toBe(504);
    await silent.gone();
  });

  it('is waited for as long as bodyTimeoutMs says, in the middle of a response', async () => {
    const upstream = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
    const { port } = await gateway('express 5', proxyPass(upstream.url, { bodyTimeoutMs: 100 }));
    const client = await rawClient(port, REQUEST);

    const text = await timed(() => client.closed());

    expect(text).toMatch(/half$/);
    await gone(upstream, '/x');
  });

  it('is waited for as long as bodyTimeoutMs says, in the middle of an upload', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url, { bodyTimeoutMs: 100 });
    const { port } = await gateway('express 5', pass, proxyErrors());
    const client = await rawClient(
      port,
      'POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10\r\n\r\nhalf',
    );

    const text = await timed(() => client.closed());

    const [response] = parseResponses(text);
    expect([response?.status, response?.header('connection')]).toEqual([408, 'close']);
    await gone(upstream, '/x');
    expect(canonicalRequests(upstream.received()).requests).toEqual([]);
  });

  it('is waited for as long as bodyTimeoutMs says, when it does not read its answer', async () => {
    const flood = Buffer.alloc(65_536, 'x');
    const upstream = await rawUpstream((_, socket) => {
      const pour = () => {
        while (!socket.destroyed && socket.write(flood));
      };
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 40}\r\n\r\n`);
      socket.on('drain', pour);
      pour();
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url, { bodyTimeoutMs: 100 }));
    const client = await rawClient(port);
    client.socket.pause();
    client.write(REQUEST);

    await timed(() => gone(upstream, '/x'));
  });
});

/** Runs something that must not take longer than the tiny timeouts of these tests ask for. */
async function timed<T>(run: () => Promise<T>): Promise<T> {
  const before = performance.now();
  const result = await run();
  expect(performance.now() - before).toBeLessThan(3_000);
  return result;
}

/** A server that takes connections and does not read from them until it waits for their end. */
async function notReading(): Promise<{ port: number; gone: () => Promise<unknown> }> {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket.on('error', () => {}));
  });
  const port = await listen(server);
  closeAfter(() => {
    for (const socket of sockets) socket.destroy();
  });
  return {
    port,
    gone: () => Promise.all(sockets.map((socket) => closed(socket.resume()))),
  };
}

describe('a bound', () => {
  const HEAD = 'Content-Length: 0';

  it.each([
    ['maxHeaderBytes', 1_000, 200],
    ['maxHeaderBytes', 1_001, 502],
  ])('of %s holds to the byte: %d', async (_, size, expected) => {
    // Names and values count, what stands between them does not.
    const padding = 'b'.repeat(size - HEAD.length + ': '.length - 1);
    const upstream = await rawUpstream(ok([HEAD, `a: ${padding}`], ''));
    const { port } = await gateway('express 5', proxyPass(upstream.url, { maxHeaderBytes: 1_000 }));

    expect((await rawRequest(port, REQUEST)).status).toBe(expected);
  });

  it.each([
    [10, 200],
    [11, 502],
  ])('of maxHeaderFields holds to the field: %d', async (count, expected) => {
    const upstream = await rawUpstream(fields(count));
    const { port } = await gateway('express 5', proxyPass(upstream.url, { maxHeaderFields: 10 }));

    expect((await rawRequest(port, REQUEST)).status).toBe(expected);
  });

  const edited = async (body: Buffer, codings: string, maxBodyBytes: number) => {
    const head = ok([`Content-Encoding: ${codings}`, `Content-Length: ${body.length}`], '');
    const upstream = await rawUpstream(Buffer.concat([Buffer.from(head), body]));
    const edit = modifyResponse(
      async (response) => {
        response.body = String((await response.buffer()).length);
      },
      { maxBodyBytes },
    );
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const { status, body: text } = await rawRequest(port, REQUEST);
    return [status, status === 200 ? text : undefined];
  };

  it.each([
    ['that is read', 'identity', (body: Buffer) => body],
    ['that is decoded', 'gzip', (body: Buffer) => gzipSync(body)],
  ])('of maxBodyBytes holds to the byte of a body %s', async (_, coding, encode) => {
    const bytes = (size: number) => encode(Buffer.alloc(size, 'x'));
    expect(await edited(bytes(5_000), coding, 5_000)).toEqual([200, '5000']);
    expect(await edited(bytes(5_001), coding, 5_000)).toEqual([502, undefined]);
  });

  it('of five layers of content coding holds', async () => {
    const layered = (layers: number) => {
      let body = Buffer.from('plain');
      for (let i = 0; i < layers; i++) body = gzipSync(body);
      return edited(body, Array.from({ length: layers }, () => 'gzip').join(', '), 5_000);
    };
    expect(await layered(5)).toEqual([200, '5']);
    expect(await layered(6)).toEqual([502, undefined]);
  });
});

describe('an https upstream', () => {
  it('is asked for by its own name, whatever Host the client sends, over one connection', async () => {
    const { key, cert } = await certificate('localhost');
    const names: (string | undefined)[] = [];
    const hosts: (string | undefined)[] = [];
    let connections = 0;
    const context = createSecureContext({ key, cert });
    const server = createHttpsServer(
      {
        key,
        cert,
        SNICallback: (name, done) => {
          names.push(name);
          done(null, context);
        },
      },
      (req, res) => {
        hosts.push(req.headers.host);
        res.end();
      },
    );
    server.on('secureConnection', () => connections++);
    const port = await listen(server);
    const pass = proxyPass(`https://localhost:${port}`, { host: 'client', tls: { ca: cert } });
    closeAfter(() => pass.close());
    const gate = await gateway('express 5', pass);

    for (const host of ['evil.test', 'other.test:99', '[::1]', '10.0.0.1']) {
      const { status } = await rawRequest(gate.port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect(status).toBe(200);
    }

    expect(hosts).toEqual(['evil.test', 'other.test:99', '[::1]', '10.0.0.1']);
    expect([names, connections]).toEqual([['localhost'], 1]);
  });

  it('is asked for by no name when it is an address, and verified by the address', async () => {
    const { key, cert } = await certificate('127.0.0.1');
    const names: (string | undefined)[] = [];
    const server = createHttpsServer({ key, cert }, (_req, res) => void res.end());
    server.on('secureConnection', (socket: TLSSocket) =>
      names.push(socket.servername || undefined),
    );
    const port = await listen(server);
    const pass = proxyPass(`https://127.0.0.1:${port}`, { host: 'client', tls: { ca: cert } });
    closeAfter(() => pass.close());
    const gate = await gateway('express 5', pass);

    const { status } = await rawRequest(gate.port, REQUEST);

    expect([status, names]).toEqual([200, [undefined]]);
  });

  it.each([
    ['chunks on HTTP/1.0', answer('HTTP/1.0 200 OK', [CHUNKED], EVIL), 502],
    ['a 100 Continue that nobody asked for', `HTTP/1.1 100 Continue\r\n\r\n${ok([FIVE])}`, 200],
    ['another protocol', line('RTSP/1.0 200 OK'), 502],
  ])('is judged as any other: %s', async (_, bytes, expected) => {
    const { key, cert } = await certificate('localhost');
    const server = createTlsServer({ key, cert }, (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write(bytes));
      closeAfter(() => socket.destroy());
    });
    const pass = proxyPass(`https://localhost:${await listen(server)}`, { tls: { ca: cert } });
    closeAfter(() => pass.close());
    const { port } = await gateway('express 5', pass);

    expect((await rawRequest(port, REQUEST)).status).toBe(expected);
  });
});

/** A certificate that signs itself. */
async function certificate(name: string): Promise<{ key: string; cert: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'headrace-'));
  closeAfter(() => rm(directory, { recursive: true }));
  const files = { key: join(directory, 'key.pem'), cert: join(directory, 'cert.pem') };
  const alternative = `subjectAltName=${isIP(name) ? 'IP' : 'DNS'}:${name}`;
  const subject = ['-subj', `/CN=${name}`, '-addext', alternative];
  const out = ['-keyout', files.key, '-out', files.cert];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    '-days',
    '2',
    ...curve,
    ...subject,
    ...out,
  ]);
  return { key: await readFile(files.key, 'utf8'), cert: await readFile(files.cert, 'utf8') };
}

import { setImmediate as tick } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { attach, exchangeOf, forwardedFor, proxyPass, stripHopHeaders } from 'headrace';
import { parseResponses, type RawClient, rawClient, rawRequest } from './helpers/client.js';
import {
  appOf,
  closeAfter,
  type Framework,
  type Middleware,
  openForAll,
  type RawUpstream,
  rawUpstream,
  serve,
} from './helpers/servers.js';
import { echoUpstream, innocentRequest, judge } from './helpers/verdict.js';
import { canonicalHead, canonicalRequests } from './helpers/wire.js';

// Whatever reaches uncaughtException or unhandledRejection fails the running test: Jest listens there.

/** Long enough for an answer on this machine; what has none by then waits for more bytes. */
const PATIENCE_MS = 60;

interface Ground {
  readonly port: number;
  readonly upstream: RawUpstream;
}

async function pipelineUnder(framework: Framework, upstream: RawUpstream): Promise<Ground> {
  const authenticate: Middleware = (req, res, next) => {
    exchangeOf(req, res).headers.set('X-User', 'alice');
    next();
  };
  const pass = proxyPass(upstream.url, { headersTimeoutMs: 2_000, bodyTimeoutMs: 2_000 });
  closeAfter(() => pass.close());
  const pieces = [stripHopHeaders(), authenticate, forwardedFor(), pass];
  const app = appOf(framework, ...pieces);
  const { server, port } = await serve(app);
  attach(server, app);
  return { port, upstream };
}

const TOKEN = [..."!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];
const VISIBLE = Array.from({ length: 0x7e - 0x20 }, (_, i) => String.fromCharCode(0x21 + i));

const name = fc.oneof(
  fc.string({ unit: fc.constantFrom(...TOKEN), minLength: 1, maxLength: 12 }),
  fc.constantFrom(
    ...['X-User', 'x_user', 'X-Forwarded-For', 'X_Forwarded_For', 'X-Forwarded-Host', 'Forwarded'],
    ...['X-Real-IP', 'Via', 'Cookie', 'Authorization', 'Accept', 'X-A', 'x-a', 'X_A', '__proto__'],
    ...['Keep-Alive', 'TE', 'Upgrade', 'Trailer', 'Trailers', 'Proxy-Connection', 'HTTP2-Settings'],
    ...['Transfer-Encoding', 'Content-Length', 'Content_Length', 'Expect', 'Host', 'Connection'],
  ),
);
const value = fc.oneof(
  fc.string({ unit: fc.constantFrom(...VISIBLE, ' ', '\t', '\x80', '\xff'), maxLength: 20 }),
  fc.constantFrom('chunked', 'gzip', '0', '3', 'close', 'keep-alive', 'trailers', 'gateway.test'),
);
const connection = fc
  .array(fc.oneof(name, fc.constantFrom('close', 'keep-alive', '', ' ')), { maxLength: 5 })
  .map((tokens): [string, string] => ['Connection', tokens.join(', ')]);
/** Without what a body would be waited for. */
const field = fc
  .tuple(name, value)
  .filter(([key, text]) => key !== 'Content-Length' || !/^\s*\d*[1-9]/.test(text))
  .filter(([key, text]) => key !== 'Transfer-Encoding' || text !== 'chunked');
const fields = fc.array(fc.oneof({ weight: 4, arbitrary: field }, connection), { maxLength: 12 });

describe('whatever the client sends', () => {
  let ground: Ground;
  let express: Ground;
  beforeAll(async () => {
    await openForAll(async () => {
      ground = await pipelineUnder('node:http', await echoUpstream());
      express = await pipelineUnder('express 5', await echoUpstream());
    });
  });

  it('in its header, it cannot undo what the proxy sets, nor say what only the proxy may', async () => {
    await fc.assert(
      fc.asyncProperty(fields, async (lines) => {
        const head = lines.map(([key, text]) => `${key}: ${text}`);
        const bytes = ['GET /x HTTP/1.1', 'Host: gateway.test', ...head, '', ''].join('\r\n');

        const { verdict, request } = await judge(
          ground,
          ground.upstream,
          Buffer.from(bytes, 'latin1'),
        );

        if (request === undefined) return expect(verdict).not.toBe('NORM');
        const seen = (lower: string) =>
          request.headers.filter(([key]) => key.toLowerCase() === lower).map(([, text]) => text);
        expect(seen('x-user')).toEqual(['alice']);
        expect(seen('x-forwarded-for')).toEqual(['127.0.0.1']);
        expect(seen('x-forwarded-host')).toEqual(['gateway.test']);
        expect(seen('forwarded')).toEqual([]);
        expect(seen('via').join().endsWith('1.1 headrace')).toBe(true);
        for (const [key] of request.headers) {
          expect(key).not.toMatch(/^(?:x[^a-z0-9-](?:user|forwarded)|x-real-ip|true-client)/i);
        }
        for (const nominee of nominees(lines)) {
          if (!OURS.has(nominee)) expect(seen(nominee)).toEqual([]);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('as its path, it arrives as it is, or is refused', async () => {
    // No client sends a fragment, and what has one is too odd a URL for Express to route.
    const unit = fc.constantFrom(...VISIBLE.filter((one) => one !== '#'), '%2e', '..', '//');
    const path = fc.string({ unit, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(path, fc.constantFrom(ground, express), async (text, { port, upstream }) => {
        const bytes = innocentRequest(`/${text}`);

        const { verdict, request } = await judge({ port }, upstream, bytes);

        if (verdict === 'NORM') expect(request?.target).toBe(`/${text}`);
        else
          expect([verdict, text.replace(/\?.*/, '')]).toEqual(['REJ', expect.stringMatching(/\\/)]);
      }),
      { numRuns: 100 },
    );
  });

  it('as its target, the upstream is never another, nor the target more than a path', async () => {
    const beginning = fc.constantFrom(
      '',
      'http:',
      'http://',
      'https://a',
      '//',
      '/',
      '@',
      ':',
      '*',
    );
    const text = fc.string({ unit: fc.constantFrom(...VISIBLE), maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(beginning, text, async (scheme, rest) => {
        await judge(ground, ground.upstream, innocentRequest(scheme + rest));
      }),
      { numRuns: 80 },
    );
  });

  it('as its body, cut into chunks and packets anywhere, it arrives intact', async () => {
    const body = fc.string({ unit: fc.constantFrom('a', '\r', '\n', '0', '\xff'), maxLength: 200 });
    const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 });
    const size = fc.constantFrom<(length: number) => string>(
      (length) => length.toString(16),
      (length) => `000${length.toString(16).toUpperCase()}`,
      (length) => `${length.toString(16)};name="va;lue"`,
    );
    await fc.assert(
      fc.asyncProperty(body, cuts, cuts, size, async (text, chunks, packets, sizeOf) => {
        const before = ground.upstream.connections();
        const framed = cut(text, chunks).map((chunk) => `${sizeOf(chunk.length)}\r\n${chunk}\r\n`);
        const head = 'POST /x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n';
        const client = await rawClient(ground.port);
        client.socket.setNoDelay();
        for (const packet of cut(`${head}${framed.join('')}0\r\n\r\n`, packets)) {
          client.write(packet);
          await tick();
        }
        await client.untilOrClosed((answer) => parseResponses(answer).length > 0);

        expect(parseResponses(client.received())[0]?.status).toBe(200);
        expect(since(ground.upstream, before).map((request) => request.body)).toEqual([text]);
        client.socket.destroy();
      }),
      { numRuns: 60 },
    );
  });

  it('with bytes changed anywhere, each request upstream has its answer, and the next its own', async () => {
    const templates = fc.constantFrom(
      'GET /x?y HTTP/1.1\r\nHost: gateway.test\r\nConnection: keep-alive, X-A\r\nX-A: b\r\n\r\n',
      'POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 11\r\n\r\nhello world',
      'POST /x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-T: a\r\n\r\n',
      `${innocentRequest('/1')}${innocentRequest('/2')}`,
    );
    await fc.assert(
      fc.asyncProperty(templates, mutations, async (text, edits) => {
        const { port, upstream } = ground;
        const before = upstream.connections();
        const client = await rawClient(port, Buffer.from(mutate(text, edits), 'latin1'));
        await patiently(client, () => parseResponses(client.received()).length > 0);
        await answersToStrangers(port);
        client.socket.destroy();

        const answers = parseResponses(client.received(), false, client.hasEnded());
        const passed = answers.filter(({ status }) => status === 200);
        const sent = since(upstream, before).filter(
          ({ target }) => !target.startsWith('/innocent'),
        );
        const echoes = sent.map(({ method, target }) =>
          method === 'HEAD' ? '' : `${method} ${target} HTTP/1.1`,
        );
        const bodies = passed.map(({ body }) => body);
        // Requests behind one another go up side by side; the last answers may still be on their way.
        expect(echoes.sort()).toEqual(expect.arrayContaining([...bodies].sort()));
        expect(bodies.length).toBeLessThanOrEqual(echoes.length);
        const [one, two] = ['/1', '/2'].map((path) => bodies.indexOf(`GET ${path} HTTP/1.1`));
        if (two !== -1) expect(one).toBeLessThan(two as number);
      }),
      { numRuns: 200 },
    );
  });
});

describe('whatever the upstream sends', () => {
  it('with bytes changed anywhere, the client gets an answer or an end, and the next its own', async () => {
    let reply = '';
    const upstream = await rawUpstream((request, socket) => {
      const line = request.slice(0, request.indexOf('\r\n'));
      if (line.includes('innocent'))
        return `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${line}`;
      socket.write(Buffer.from(reply, 'latin1'), () => socket.end());
      return undefined;
    });
    const { port } = await pipelineUnder('node:http', upstream);
    const templates = fc.constantFrom(
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n' +
        '5;a=b\r\nhello\r\n0\r\nX-T: a\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 05\r\nETag: "a"\r\n\r\n',
      'HTTP/1.0 200 OK\r\nConnection: close, X-A\r\nX-A: b\r\n\r\nuntil the end',
    );

    await fc.assert(
      fc.asyncProperty(templates, mutations, async (text, edits) => {
        reply = mutate(text, edits);
        const client = await rawClient(port, 'GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n');
        await client.untilOrClosed((answer) => parseResponses(answer).length > 0);
        await answersToStrangers(port);

        let head = client.received();
        if (head === '') expect(client.hasEnded()).toBe(true);
        for (let interims = 0; /^HTTP\/1\.1 1/.test(head); interims++) {
          canonicalHead(head);
          head = head.slice(head.indexOf('\r\n\r\n') + 4);
          expect(interims).toBeLessThan(5);
        }
        if (head !== '') canonicalHead(head);
        client.socket.destroy();
      }),
      { numRuns: 200 },
    );
  });
});

/** What pieces of the pipeline set themselves, and the transport for an upgrade. */
const OURS = new Set([
  ...['x-user', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'via'],
  'upgrade',
]);

/** The names in all `Connection` lines, but for those of the connection itself. */
function nominees(lines: readonly [string, string][]): string[] {
  return lines
    .filter(([key]) => key.toLowerCase() === 'connection')
    .flatMap(([, text]) => text.split(','))
    .map((token) => token.trim().toLowerCase())
    .filter((token) => !['', 'close', 'keep-alive', 'te', 'connection', 'host'].includes(token))
    .filter((token) => !['transfer-encoding', 'content-length'].includes(token));
}

/** The whole requests that an upstream got since. */
function since({ connections }: RawUpstream, before: readonly string[]) {
  return connections().flatMap((bytes, i) => {
    const { requests } = canonicalRequests(bytes.slice(before[i]?.length ?? 0));
    return requests;
  });
}

/** A text in pieces of the given lengths, which begin again behind the last. */
function cut(text: string, lengths: readonly number[]): string[] {
  const pieces: string[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    const length = lengths[i % lengths.length] ?? text.length;
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  return pieces;
}

async function patiently(client: RawClient, condition: () => boolean): Promise<void> {
  await client.untilOrClosed(condition, PATIENCE_MS).catch(() => {});
}

let strangers = 0;

async function answersToStrangers(port: number): Promise<void> {
  const path = `/innocent-${++strangers}`;
  const { body } = await rawRequest(port, innocentRequest(path));
  expect(body).toBe(`GET ${path} HTTP/1.1`);
}

/** One change of a text: where, how many characters go, and what comes in their place. */
type Mutation = readonly [at: number, gone: number, instead: string];

const mutations = fc.array(
  fc.tuple(
    fc.nat(200),
    fc.integer({ min: 0, max: 3 }),
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 2 }).map((text) => text.replace(/[^\0-\xff]/g, '')),
      fc.constantFrom(
        '\r\n',
        '\n',
        '\r',
        '\r\n\r\n',
        ' ',
        '\t',
        '\0',
        ':',
        ',',
        '0',
        '1',
        'HTTP/1.0',
      ),
      fc.constantFrom(
        'Content-Length: 3\r\n',
        'Transfer-Encoding: chunked\r\n',
        ' chunked',
        '-',
        '+',
      ),
    ),
  ),
  { minLength: 1, maxLength: 4 },
);

function mutate(text: string, edits: readonly Mutation[]): string {
  return edits.reduce((bytes, [at, gone, instead]) => {
    const start = at % (bytes.length + 1);
    return bytes.slice(0, start) + instead + bytes.slice(start + gone);
  }, text);
}

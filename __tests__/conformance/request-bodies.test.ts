import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  attach,
  BadRequestError,
  exchangeOf,
  forwardedFor,
  type Handler,
  loadBalancer,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { parseResponses, type RawClient, rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { chunkedUpload, onlyRequest, request, requestsOf, upload } from '../helpers/requests.js';
import {
  appOf,
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  listen,
  type Middleware,
  OK,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const MIB = 1_048_576;

describe.each(frameworks)('framing under %s', (framework) => {
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n';

  it.each(['DELETE', 'OPTIONS', 'GET', 'POST', 'SEARCH', 'PROPFIND'])(
    'sends a chunked %s whose body looks like a request as one request (CVE-2026-29057)',
    async (method) => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, proxyPass(upstream.url));

      const first = await rawRequest(port, chunkedUpload(`${method} /x`, [], smuggled));
      const second = await rawRequest(port, request('GET /innocent'));

      expect([first.status, second.status]).toEqual([200, 200]);
      const seen = requestsOf(upstream).map(({ method, target, body }) => [method, target, body]);
      expect(seen).toEqual([
        [method, '/x', smuggled],
        ['GET', '/innocent', ''],
      ]);
    },
  );

  it('sends one whose chunks are cut anywhere as one request', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const bytes = chunkedUpload('DELETE /x', [], 'GET /', 'smuggled HTTP/1.1\r\n', '\r\n');

    const client = await rawClient(port);
    for (const byte of bytes) client.write(byte);
    await client.until((text) => parseResponses(text).length === 1);

    const { method, body } = onlyRequest(upstream);
    expect([method, body]).toEqual(['DELETE', 'GET /smuggled HTTP/1.1\r\n\r\n']);
  });

  it('keeps the length of a body whose length was given, for every kind of method', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    for (const method of ['DELETE', 'OPTIONS', 'GET', 'POST']) {
      await rawRequest(port, upload(`${method} /${method}`, [], smuggled));
    }

    const seen = requestsOf(upstream);
    expect(seen.map(({ method }) => method)).toEqual(['DELETE', 'OPTIONS', 'GET', 'POST']);
    for (const { lines, body } of seen) {
      expect(lines('content-length')).toEqual([String(smuggled.length)]);
      expect(lines('transfer-encoding')).toEqual([]);
      expect(body).toBe(smuggled);
    }
  });

  it('sends an empty chunked body framed', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, chunkedUpload('POST /', []));
    await rawRequest(port, request('GET /innocent'));

    expect(requestsOf(upstream).map(({ method, body }) => [method, body])).toEqual([
      ['POST', ''],
      ['GET', ''],
    ]);
  });

  it('sends bytes of every value on as they are', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const bytes = Buffer.from(Array.from({ length: 1_024 }, (_, i) => i % 256)).toString('latin1');

    await rawRequest(port, upload('POST /declared', [], bytes));
    await rawRequest(port, chunkedUpload('POST /chunked', [], bytes, bytes));

    expect(requestsOf(upstream).map(({ body }) => body)).toEqual([bytes, bytes + bytes]);
  });
});

/** How a body goes out: its header field, and the framing of a chunk of it and of its end. */
interface Framing {
  readonly field: (length: number) => string;
  readonly chunk: (bytes: Buffer) => Buffer;
  readonly end: string;
}

const framings: Record<string, Framing> = {
  'with a length': {
    field: (length) => `Content-Length: ${length}`,
    chunk: (bytes) => bytes,
    end: '',
  },
  'in chunks': {
    field: () => 'Transfer-Encoding: chunked',
    chunk: (bytes) =>
      Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]),
    end: '0\r\n\r\n',
  },
};

const CHUNK = Buffer.alloc(65_536, 'headrace');

/** Uploads `length` bytes as fast as the connection takes them; gives up when it is over. */
async function pour(client: RawClient, length: number, framing: Framing): Promise<void> {
  const { socket } = client;
  client.write(request('POST /upload', [framing.field(length)]));
  const framed = framing.chunk(CHUNK);
  for (let left = length; left > 0 && socket.writable; left -= CHUNK.length) {
    if (!socket.write(framed)) await writableAgain(socket);
  }
  if (socket.writable && framing.end !== '') socket.write(framing.end);
}

async function writableAgain(socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
    if (socket.destroyed) done();
  });
}

/** Bytes of buffers that are still in use. */
function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

describe.each(Object.entries(framings))('an upload of 64 MiB %s', (_, framing) => {
  const total = 64 * MIB;

  it('is slowed down by a slow upstream, and memory stays flat', async () => {
    let limit = 0;
    let read = 0;
    let release: () => void = () => {};
    const hash = createHash('sha1');
    const upstream = await serve(async (req, res) => {
      for await (const chunk of req) {
        hash.update(chunk);
        read += chunk.length;
        while (read > limit)
          await new Promise<void>((resolve) => {
            release = resolve;
          });
      }
      res.end('ok');
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    const client = await rawClient(port);
    const before = heldBytes();

    const poured = pour(client, total, framing);
    // What the client gets rid of is in the kernel's buffers, and those grow once there is reading.
    expect(await settled(() => client.socket.bytesWritten)).toBeLessThan(total / 2);
    // Buffers are swept in the background, a little after the collection.
    await eventually('flat memory', () => heldBytes() - before < 4 * MIB);
    limit = total / 4;
    release();
    await settled(() => read);
    await eventually('flat memory', () => heldBytes() - before < 4 * MIB);
    limit = total;
    release();
    await poured;
    const text = await client.until((text) => parseResponses(text).length === 1);

    expect(parseResponses(text)[0]).toMatchObject({ status: 200, body: 'ok' });
    const expected = createHash('sha1');
    for (let i = 0; i < total; i += CHUNK.length) expected.update(CHUNK);
    expect([read, hash.digest('hex')]).toEqual([total, expected.digest('hex')]);
  });
});

describe.each(frameworks)('maxBodyBytes under %s', (framework) => {
  it('answers 413 to a longer declared body, and the upstream hears nothing', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url, { maxBodyBytes: 10 }));

    const { status } = await rawRequest(port, upload('POST /', [], 'x'.repeat(11)));

    expect(status).toBe(413);
    expect(upstream.sockets).toEqual([]);
  });

  it('answers 413 with proxyErrors() before any of a longer declared body has come', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url, { maxBodyBytes: 10 });
    const { port } = await gateway(framework, pass, proxyErrors());

    const { status } = await rawRequest(port, request('POST /', ['Content-Length: 11']));

    expect(status).toBe(413);
    expect(upstream.sockets).toEqual([]);
  });

  it('answers 413 to a longer chunked body, and the upstream gets no whole request', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url, { maxBodyBytes: 10 }));

    const bytes = chunkedUpload('POST /', [], 'x'.repeat(6), 'x'.repeat(5), 'x'.repeat(90));
    const { status } = await rawRequest(port, bytes);
    const next = await rawRequest(port, request('GET /innocent'));

    expect([status, next.status]).toEqual([413, 200]);
    const [first = ''] = upstream.connections().filter((bytes) => bytes.startsWith('POST'));
    expect(first).not.toMatch(/x{11}|\r\n0\r\n\r\n$/);
  });

  it('lets bodies of exactly that length pass', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url, { maxBodyBytes: 10 }));

    await rawRequest(port, upload('POST /', [], '0123456789'));
    await rawRequest(port, chunkedUpload('POST /', [], '01234', '56789'));

    expect(requestsOf(upstream).map(({ body }) => body)).toEqual(['0123456789', '0123456789']);
  });
});

/** How an upstream can answer before it has the body. */
const refusals: Record<string, (socket: Socket, answer: string) => void> = {
  'and reads on': (socket, answer) => {
    socket.write(answer);
    socket.resume();
  },
  'and stops reading': (socket, answer) => {
    socket.write(answer);
  },
  'and ends its side': (socket, answer) => {
    socket.end(answer);
    socket.resume();
  },
  'and closes': (socket, answer) => {
    socket.end(answer, () => socket.destroy());
  },
  'and resets': (socket, answer) => {
    socket.write(answer, () => socket.resetAndDestroy());
  },
};

/** An upstream that answers uploads at their head, and counts what comes regardless. */
async function refusingUpstream(answer: string, refuse: (socket: Socket, answer: string) => void) {
  const seen = { bytes: 0, url: '' };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      seen.bytes += chunk.length;
    });
    socket.once('data', (head) => {
      socket.pause();
      if (head.toString('latin1').startsWith('GET')) socket.write(OK);
      else refuse(socket, answer);
    });
  });
  seen.url = `http://127.0.0.1:${await listen(server)}`;
  closeAfter(() => {
    for (const socket of sockets) socket.destroy();
  });
  return seen;
}

function refusal(status: string, connection = 'keep-alive'): string {
  return `HTTP/1.1 ${status}\r\nConnection: ${connection}\r\nContent-Length: 7\r\n\r\nrefused`;
}

describe.each(Object.entries(refusals))('an upstream that answers early %s', (_, refuse) => {
  it.each(Object.entries(framings))(
    'has its answer reach every client, the upload being sent %s',
    async (_, framing) => {
      const upstream = await refusingUpstream(refusal('413 Content Too Large', 'close'), refuse);
      const { port } = await gateway('express 5', proxyPass(upstream.url));

      // It is a race between the answer and what breaks when we write on: hence the many tries.
      for (let round = 0; round < 2; round++) {
        const answers = await Promise.all(
          Array.from({ length: 10 }, async () => {
            const client = await rawClient(port);
            const poured = pour(client, MIB, framing);
            await client.until((text) => parseResponses(text).length > 0);
            client.socket.destroy();
            await poured;
            return parseResponses(client.received())[0];
          }),
        );
        expect(answers.map((answer) => [answer?.status, answer?.body])).toEqual(
          Array(10).fill([413, 'refused']),
        );
      }
      expect((await rawRequest(port, request('GET /innocent'))).status).toBe(200);
    },
  );
});

describe.each(frameworks)('an early answer under %s', (framework) => {
  it('reaches the client, and the rest of the upload is not sent on', async () => {
    const upstream = await refusingUpstream(
      refusal('401 Unauthorized'),
      refusals['and reads on'] as (socket: Socket, answer: string) => void,
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port);

    await pour(client, 64 * MIB, framings['with a length'] as Framing);
    const [answer] = parseResponses(await client.closed());

    expect([answer?.status, answer?.body]).toEqual([401, 'refused']);
    expect(upstream.bytes).toBeLessThan(16 * MIB);
    expect((await rawRequest(port, request('GET /innocent'))).status).toBe(200);
  });

  it.each(Object.entries(refusals))(
    'reaches clients of Node that pipe an upload, from an upstream that answers %s',
    async (_, refuse) => {
      const upstream = await refusingUpstream(refusal('413 Content Too Large'), refuse);
      const { port } = await gateway(framework, proxyPass(upstream.url));

      for (let round = 0; round < 5; round++) {
        const post = httpRequest({ port, method: 'POST', agent: false });
        // The connection is closed on the rest of the upload.
        post.on('error', () => {});
        Readable.from(Array(256).fill(CHUNK)).pipe(post);
        const [response] = (await once(post, 'response')) as [IncomingMessage];
        expect([response.statusCode, await textOf(response)]).toEqual([413, 'refused']);
        post.destroy();
      }
    },
  );

  it('says that it is the last one where more is to come than is read', async () => {
    const upstream = await refusingUpstream(
      refusal('401 Unauthorized'),
      refusals['and reads on'] as (socket: Socket, answer: string) => void,
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    for (const [length, said] of [
      [5_000_000, 'close'],
      [500_000, 'keep-alive'],
    ] as const) {
      const client = await rawClient(port, request('POST /', [`Content-Length: ${length}`], 'x'));
      await client.until((text) => parseResponses(text).length === 1);
      const [answer] = parseResponses(client.received());
      expect([answer?.status, answer?.header('connection') ?? 'keep-alive']).toEqual([401, said]);
      client.socket.destroy();
    }
  });

  it('reaches clients that finish a small upload, and the connection goes on', async () => {
    const upstream = await refusingUpstream(
      refusal('401 Unauthorized'),
      refusals['and closes'] as (socket: Socket, answer: string) => void,
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, request('POST /', ['Content-Length: 300001'], 'x'));

    await client.until((text) => parseResponses(text).length === 1);
    client.write('x'.repeat(300_000) + request('GET /innocent'));
    const text = await client.until((text) => parseResponses(text).length === 2);

    expect(parseResponses(text).map(({ status }) => status)).toEqual([401, 200]);
  });
});

describe('an upload that other middleware listens to', () => {
  /** Whoever listens to `req` has it flow from the next turn on. */
  const taps: [string, (req: IncomingMessage) => void][] = [
    ['counts', (req) => void req.on('data', () => {})],
    ['pipes it elsewhere', (req) => void req.pipe(new PassThrough()).resume()],
  ];
  const tapping =
    (tap: (req: IncomingMessage) => void): Middleware =>
    (req, _res, next) => {
      tap(req);
      next();
    };

  it.each(taps)('and %s is sent as a whole', async (_what, tap) => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', tapping(tap), proxyPass(upstream.url));
    const text = 'some text, '.repeat(5_000);
    const halves = [text.slice(0, text.length / 2), text.slice(text.length / 2)] as const;
    const framed = (half: string) => `${half.length.toString(16)}\r\n${half}\r\n`;

    for (const round of ['cold', 'warm']) {
      await rawRequest(port, upload(`POST /whole-${round}`, [], text));
      await rawRequest(port, upload(`POST /short-${round}`, [], 'short'));
      await rawRequest(port, chunkedUpload(`POST /chunked-${round}`, [], text));
      const declared = await rawClient(
        port,
        upload('POST /halves', [], text).slice(0, -halves[1].length),
      );
      await delay(20);
      declared.write(halves[1]);
      await declared.until((answer) => parseResponses(answer).length === 1);
      const head = request('POST /halves-chunked', ['Transfer-Encoding: chunked']);
      const chunked = await rawClient(port, head + framed(halves[0]));
      await delay(20);
      chunked.write(`${framed(halves[1])}0\r\n\r\n`);
      await chunked.until((answer) => parseResponses(answer).length === 1);
    }
    const bodies = requestsOf(upstream).map(({ body }) => body);
    const each = [text, 'short', text, text, text];
    expect(bodies.map(({ length }) => length)).toEqual(
      [...each, ...each].map(({ length }) => length),
    );
    expect(bodies).toEqual([...each, ...each]);
  });

  it.each(taps)('and %s is sent as a whole, when it came in pieces before', async (_what, tap) => {
    const upstream = await rawUpstream();
    const whole: Middleware = (req, _res, next) => {
      const wait = () => (req.readableLength === 6 ? next() : setTimeout(wait, 5));
      wait();
    };
    const { port } = await gateway('express 5', whole, tapping(tap), proxyPass(upstream.url));
    const client = await rawClient(port, upload('POST /', [], 'abcdef').slice(0, -3));
    await delay(20);
    client.write('def');
    const [answer] = parseResponses(await client.until((text) => text.endsWith('ok')));
    expect(answer?.status).toBe(200);
    expect(onlyRequest(upstream).body).toBe('abcdef');
  });

  it('is refused where some of it is read by others after all', async () => {
    const upstream = await rawUpstream();
    const reads: Middleware = (req, _res, next) => {
      req.on('readable', () => req.read());
      next();
    };
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', reads, proxyPass(upstream.url), record);
    const client = await rawClient(port, request('POST /', ['Transfer-Encoding: chunked']));
    client.write('5\r\nhello\r\n');
    await delay(30);
    client.write('0\r\n\r\n');
    await client.until((text) => parseResponses(text).length === 1);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_BODY_CONSUMED']);
  });
});

describe('an upload of which nothing but the head has come', () => {
  const headOnly = request('POST /', ['Content-Length: 5']);

  it('takes no connection, from anybody', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', proxyPass(upstream.url, { connections: 1 }));
    const silent = await Promise.all([1, 2, 3].map(() => rawClient(port, headOnly)));
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    for (const client of silent) client.write('hello');
    for (const client of silent) await client.until((text) => parseResponses(text).length === 1);
    expect(requestsOf(upstream).map(({ body }) => body)).toEqual(['', 'hello', 'hello', 'hello']);
  });

  it('does not fail with an idle connection that the upstream closes meanwhile', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    await rawRequest(port, request('GET /'));
    const client = await rawClient(port, headOnly);
    await delay(20);
    upstream.sockets[0]?.end();
    await eventually('its end', () => upstream.sockets[0]?.closed === true);
    client.write('hello');
    const text = await client.until((answer) => parseResponses(answer).length === 1);
    expect(parseResponses(text)[0]?.status).toBe(200);
  });

  it('is 408 when nothing comes for as long as a body may stand still, and nobody else is blamed', async () => {
    const upstream = await rawUpstream();
    const balancer = loadBalancer({ upstreams: [upstream.url] });
    const pass = proxyPass({ bodyTimeoutMs: 50 });
    const { port } = await gateway('express 5', balancer, pass, proxyErrors());
    expect((await rawRequest(port, headOnly)).status).toBe(408);
    const [one] = balancer.upstreams.upstreams;
    expect([one?.failures.size, one?.requests, one?.inFlight, upstream.sockets.length]).toEqual([
      0, 0, 0, 0,
    ]);
  });

  it('is over when its client leaves, or somebody else answers', async () => {
    const upstream = await rawUpstream();
    const outcomes: unknown[] = [];
    const answering: Middleware = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome?.type));
      if (req.url === '/late') setTimeout(() => res.end('late'), 20);
      next();
    };
    const { port } = await gateway('express 5', answering, proxyPass(upstream.url));
    const leaving = await rawClient(port, headOnly);
    await delay(20);
    leaving.socket.destroy();
    await eventually('the outcome', () => outcomes.length === 1);
    const answered = await rawClient(port, request('POST /late', ['Content-Length: 5']));
    await answered.until((text) => text.endsWith('late'));
    answered.write(`hello${request('GET /')}`);
    await answered.until((text) => parseResponses(text).length === 2);
    expect(outcomes).toEqual(['client-closed', 'completed', 'completed']);
    expect(requestsOf(upstream).map(({ method }) => method)).toEqual(['GET']);
  });
});

describe('an early answer that is the last of its connection', () => {
  const length = 600_000;

  /** A client that begins to read when it has written all of its upload, and is not quick. */
  async function lateReader(port: number, head: string[], meanwhile: () => void): Promise<string> {
    const lines = [...head, `Content-Length: ${length}`];
    const client = await rawClient(port, request('POST /', lines));
    client.socket.pause();
    for (let sent = 0; sent < length && !client.socket.destroyed; sent += 20_000) {
      client.write('x'.repeat(20_000));
      if (sent === 100_000) meanwhile();
      await delay(4);
    }
    client.write(request('GET /behind'));
    client.socket.resume();
    return client.closed();
  }

  it.each([
    ['since the client asked for that', ['Connection: close'], false],
    ['since the server closes', [], true],
  ])('reaches a client that reads late, %s', async (_why, head, closes) => {
    const upstream = await rawUpstream();
    let tellUnderWay = () => {};
    const underWay = new Promise<void>((resolve) => {
      tellUnderWay = resolve;
    });
    const late: Middleware = (_req, _res, next) => void underWay.then(() => next());
    const pass = proxyPass(upstream.url, { maxBodyBytes: 1_000 });
    const app = appOf('connect', late, pass, proxyErrors());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    let closed: Promise<void> | undefined;

    const text = await lateReader(port, head, () => {
      if (closes) closed = attached.close();
      tellUnderWay();
    });

    expect(parseResponses(text).map(({ status }) => status)).toEqual([413]);
    expect(text).toContain('Connection: close');
    await closed;
    expect(upstream.received()).toBe('');
  });
});

/** A gateway whose server hands requests that wait for 100 Continue to the app. */
async function attachedGateway(framework: Framework, ...middleware: Middleware[]) {
  const app = appOf(framework, ...middleware);
  const { server, port } = await serve(app);
  attach(server, app);
  return { port };
}

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const expecting = request('POST /x', ['Expect: 100-continue', 'Content-Length: 3']);

describe.each(frameworks)('Expect: 100-continue under %s', (framework) => {
  it('is answered once, and the upstream never sees Expect', async () => {
    // The upstream's own 100 is one more that must not reach the client.
    const upstream = await rawUpstream(CONTINUE + OK);
    const { port } = await attachedGateway(framework, forwardedFor(), proxyPass(upstream.url));
    const client = await rawClient(port, expecting);

    await client.until((text) => text === CONTINUE);
    client.write('abc');
    const text = await client.until((text) => parseResponses(text).length === 1);

    expect(text.split('100 Continue')).toHaveLength(2);
    expect(parseResponses(text)[0]?.status).toBe(200);
    const { body, lines } = onlyRequest(upstream);
    expect([body, lines('expect')]).toEqual(['abc', []]);
  });

  it('is answered when the pipeline has let the request through, and not before', async () => {
    const upstream = await rawUpstream();
    let arrive: (letThrough: () => void) => void = () => {};
    const arrival = new Promise<() => void>((resolve) => {
      arrive = resolve;
    });
    const authenticate: Handler = (req, _res, next) =>
      req.method === 'POST' ? arrive(() => next?.()) : next?.();
    const { port } = await attachedGateway(framework, authenticate, proxyPass(upstream.url));
    const client = await rawClient(port, expecting);

    const letThrough = await arrival;
    // A whole exchange of another client's: time enough for a 100 that comes too early.
    await rawRequest(port, request('GET /innocent'));
    expect(client.received()).toBe('');

    letThrough();
    await client.until((text) => text === CONTINUE);
  });

  it('is answered when a body parser begins to read', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    const { port } = await attachedGateway(framework, express.json(), pass);
    const headers = ['Expect: 100-continue', 'Content-Type: application/json'];
    const client = await rawClient(port, request('POST /', [...headers, 'Content-Length: 7']));

    await client.until((text) => text === CONTINUE);
    client.write('{"a":1}');
    await client.until((text) => parseResponses(text).length === 1);

    expect(onlyRequest(upstream).body).toBe('{"a":1}');
  });

  const refuses: Record<string, Middleware[]> = {
    'by answering': [(_req, res) => res.writeHead(403).end()],
    'with an error': [
      (_req, _res, next) => next(new BadRequestError('no')),
      proxyPass('http://127.0.0.1:1'),
    ],
    'with an error that proxyErrors() answers': [
      (_req, _res, next) => next(new BadRequestError('no')),
      proxyErrors(),
    ],
    'in a body parser': [express.json({ limit: 2, type: () => true }), proxyErrors()],
    'for its length': [proxyPass('http://127.0.0.1:1', { maxBodyBytes: 2 })],
    'for a field that cannot be': [
      (req, _res, next) => {
        req.headers.host = 'a b';
        next();
      },
      proxyPass('http://127.0.0.1:1'),
    ],
  };

  it.each(Object.entries(refuses))(
    'gets a refusal and no 100 from a pipeline that refuses %s',
    async (_, middleware) => {
      const { port } = await attachedGateway(framework, ...middleware);

      const client = await rawClient(port, expecting);
      const text = await client.until((text) => parseResponses(text).length === 1);

      expect(text).not.toContain('100 Continue');
      expect(String(parseResponses(text)[0]?.status)).toMatch(/^4\d\d$/);
    },
  );

  it('never reaches the upstream from a server without attach() either', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, `${expecting}abc`);

    expect(onlyRequest(upstream).lines('expect')).toEqual([]);
  });

  it('does no harm to clients that do not wait', async () => {
    const upstream = await rawUpstream();
    const { port } = await attachedGateway(framework, proxyPass(upstream.url));

    const { status } = await rawRequest(port, `${expecting}abc`);

    expect(status).toBe(200);
    expect(onlyRequest(upstream).body).toBe('abc');
  });
});

describe('a method whose requests have bodies by its definition', () => {
  it.each([
    ...['POST', 'PUT', 'PATCH', 'PROPFIND', 'PROPPATCH', 'REPORT', 'SEARCH', 'LOCK', 'ACL'],
    ...['MKCOL', 'MKCALENDAR', 'MKACTIVITY', 'MERGE', 'CHECKOUT'],
  ])('leaves the connection to the upstream open: %s', async (method) => {
    const upstream = await rawUpstream();
    const { port } = await gateway('node:http', proxyPass(upstream.url));
    for (let i = 0; i < 2; i++) {
      const request = `${method} /a HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody`;
      expect((await rawRequest(port, request)).status).toBe(200);
    }
    expect(upstream.sockets).toHaveLength(1);
    expect(upstream.received().match(/\r\n\r\nbody/g)).toHaveLength(2);
  });

  it('is none for DELETE: a server that overlooks the body would read it as a request', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('node:http', proxyPass(upstream.url));
    await rawRequest(port, 'DELETE /a HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody');
    expect(upstream.received()).toMatch(/^connection: close\r$/im);
  });
});

import { once } from 'node:events';
import { Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { modifyResponse, proxyPass, type ResponseEdit } from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { frameworks, gateway, type RawUpstream, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: gateway\r\n\r\n';
const MIB = 1_048_576;

/** Answers `/next` with two bytes, and everything else with this body. */
function upstreamWith(
  body: Buffer,
  { coding, chunked = false }: { coding?: string; chunked?: boolean } = {},
): Promise<RawUpstream> {
  const type = coding === undefined ? '' : `Content-Encoding: ${coding}\r\n`;
  const sized = Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\n${type}Content-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
  const framed = Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\n${type}Transfer-Encoding: chunked\r\n\r\n`),
    Buffer.from(`${body.length.toString(16)}\r\n`),
    body,
    Buffer.from('\r\n0\r\n\r\n'),
  ]);
  return rawUpstream((request) =>
    request.startsWith('GET /next')
      ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext'
      : chunked
        ? framed
        : sized,
  );
}

/** Runs the edit on everything but `/next`. */
function editing(edit: ResponseEdit): ResponseEdit {
  return (response, req, res) => (req.url === '/next' ? undefined : edit(response, req, res));
}

const readers: [name: string, edit: ResponseEdit][] = [
  ['text()', async (response) => void (await response.text())],
  ['json()', async (response) => void (await response.json())],
  ['buffer()', async (response) => void (await response.buffer())],
];

describe('a body past maxBodyBytes', () => {
  const limit = 1_000;

  it.each([
    ['with a length', {}],
    ['in chunks', { chunked: true }],
  ])('%s is 502, one of exactly as many bytes is not', async (_how, framing) => {
    for (const [bytes, status] of [
      [limit, 200],
      [limit + 1, 502],
    ] as const) {
      const upstream = await upstreamWith(Buffer.alloc(bytes, '1'), framing);
      const { errors, record } = recordErrors();
      const edit = modifyResponse(async (response) => void (await response.text()), {
        maxBodyBytes: limit,
      });
      const { port } = await gateway('express 5', edit, proxyPass(upstream.url), record);
      expect((await rawRequest(port, GET)).status).toBe(status);
      expect(errors.map(({ code }) => code)).toEqual(
        status === 200 ? [] : ['ERR_PROXY_MODIFY_RESPONSE'],
      );
    }
  });

  it.each(['gzip', 'deflate', 'br'] as const)(
    'decoded from %s is 502, one of exactly as many bytes is not',
    async (coding) => {
      const encode = {
        gzip: zlib.gzipSync,
        deflate: zlib.deflateSync,
        br: zlib.brotliCompressSync,
      };
      for (const [bytes, status] of [
        [limit, 200],
        [limit + 1, 502],
      ] as const) {
        const upstream = await upstreamWith(encode[coding](Buffer.alloc(bytes, '1')), { coding });
        const { errors, record } = recordErrors();
        const edit = modifyResponse(async (response) => void (await response.buffer()), {
          maxBodyBytes: limit,
        });
        const { port } = await gateway('express 5', edit, proxyPass(upstream.url), record);
        expect((await rawRequest(port, GET)).status).toBe(status);
        expect(errors.map(({ code }) => code)).toEqual(
          status === 200 ? [] : ['ERR_PROXY_MODIFY_RESPONSE'],
        );
      }
    },
  );

  it('of 10 MiB is one by default', async () => {
    for (const [bytes, status] of [
      [10 * MIB, 200],
      [10 * MIB + 1, 502],
    ] as const) {
      const upstream = await upstreamWith(Buffer.alloc(bytes));
      const edit = modifyResponse(async (response) => {
        response.body = String((await response.buffer()).length);
      });
      const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
      expect((await rawRequest(port, GET)).status).toBe(status);
    }
  });

  it.each(readers)(
    'is a bomb of 10 GiB zeros, and %s costs no more than the limit',
    async (_name, edit) => {
      // Members of a gzip file are put one after the other; being all alike, they shrink once more.
      const member = zlib.gzipSync(Buffer.alloc(10 * MIB), { level: 9 });
      const bomb = zlib.gzipSync(Buffer.concat(Array<Buffer>(1_024).fill(member)));
      expect(bomb.length).toBeLessThan(MIB);
      const upstream = await upstreamWith(bomb, { coding: 'gzip, gzip' });
      const { errors, record } = recordErrors();
      const { port } = await gateway(
        'express 5',
        modifyResponse(editing(edit), { maxBodyBytes: 12 * MIB }),
        proxyPass(upstream.url),
        record,
      );
      const { arrayBuffers } = process.memoryUsage();
      expect((await rawRequest(port, GET)).status).toBe(502);
      expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_MODIFY_RESPONSE']);
      expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(48 * MIB);
      expect((await rawRequest(port, NEXT)).body).toBe('next');
    },
  );

  it('ends the call to an upstream that never stops', async () => {
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('GET /next'))
        return 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext';
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const pour = (): void => void (socket.writable && socket.write(Buffer.alloc(65_536), pour));
      pour();
      return undefined;
    });
    const edit = modifyResponse(
      editing(async (response) => void (await response.buffer())),
      {
        maxBodyBytes: MIB,
      },
    );
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    expect((await rawRequest(port, GET)).status).toBe(502);
    await eventually('the end of the call', () => upstream.sockets[0]?.destroyed === true);
    expect((await rawRequest(port, NEXT)).body).toBe('next');
  });
});

describe('a body that cannot be decoded', () => {
  const six = ['gzip', 'gzip', 'gzip', 'gzip', 'gzip', 'gzip'].join(', ');
  const bodies: [what: string, coding: string, body: Buffer][] = [
    [
      'six layers of coding',
      six,
      [1, 2, 3, 4, 5, 6].reduce((body) => zlib.gzipSync(body), Buffer.from('x')),
    ],
    ['an unknown coding', 'sdch', Buffer.from('x')],
    ['a coding with the name of a property', 'constructor', Buffer.from('x')],
    ['garbage', 'gzip', Buffer.from('no gzip at all')],
    ['half of what it should be', 'gzip', zlib.gzipSync('x'.repeat(1_000)).subarray(0, 20)],
  ];

  it.each(bodies)('is 502 for an edit that reads it: %s', async (_what, coding, body) => {
    for (const [, edit] of readers) {
      const upstream = await upstreamWith(body, { coding });
      const { errors, record } = recordErrors();
      const { port } = await gateway(
        'express 5',
        modifyResponse(editing(edit)),
        proxyPass(upstream.url),
        record,
      );
      expect((await rawRequest(port, GET)).status).toBe(502);
      expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_MODIFY_RESPONSE']);
      expect((await rawRequest(port, NEXT)).body).toBe('next');
    }
  });

  it.each(bodies)('is no whole answer for one that pipes it: %s', async (_what, coding, body) => {
    const upstream = await upstreamWith(body, { coding });
    const edit = modifyResponse(
      editing((response) =>
        response.pipeThrough(new Transform({ transform: (chunk, _, done) => done(null, chunk) })),
      ),
    );
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    const refused = (text: string) => /^HTTP\/1\.1 502 /.test(text);
    await client.untilOrClosed(() => refused(client.received()));
    expect(client.received()).not.toMatch(/\r\n0\r\n\r\n$/);
    expect((await rawRequest(port, NEXT)).body).toBe('next');
  });

  it.each(bodies)('passes as it is where nobody reads it: %s', async (_what, coding, body) => {
    const upstream = await upstreamWith(body, { coding });
    const edit = modifyResponse((response) => void response.headers.set('X-Seen', 'yes'));
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect([res.status, res.header('content-encoding')]).toEqual([200, coding]);
    expect(Buffer.from(res.body, 'latin1')).toEqual(body);
  });
});

describe('an edit that fails', () => {
  const reason = new Error('the edit failed');
  const edits: [how: string, edit: ResponseEdit][] = [
    [
      'throws',
      () => {
        throw reason;
      },
    ],
    ['rejects', () => Promise.reject(reason)],
    [
      'rejects later',
      async () => {
        await new Promise(setImmediate);
        throw reason;
      },
    ],
    [
      'rejects after it read the body',
      async (response) => {
        await response.buffer();
        throw reason;
      },
    ],
    [
      'throws after it took the body',
      (response) => {
        response.stream();
        throw reason;
      },
    ],
    [
      'throws after it replaced the body',
      (response) => {
        response.body = 'new';
        throw reason;
      },
    ],
    [
      'throws after it put a transform there',
      (response) => {
        response.pipeThrough(new Transform({ transform: (chunk, _, done) => done(null, chunk) }));
        throw reason;
      },
    ],
    [
      'throws after it changed the head',
      (response) => {
        response.status = 201;
        response.headers.set('X-Edited', 'yes');
        throw reason;
      },
    ],
  ];

  it.each(edits)('goes to next(err) once and holds no connection: it %s', async (_how, edit) => {
    const upstream = await upstreamWith(Buffer.from('small'));
    for (const framework of frameworks) {
      const { errors, record } = recordErrors();
      const { port } = await gateway(
        framework,
        modifyResponse(editing(edit)),
        proxyPass(upstream.url, { connections: 1 }),
        record,
      );
      for (let i = 0; i < 3; i++) {
        const res = await rawRequest(port, GET);
        expect([res.status, res.body]).toEqual([502, 'ERR_PROXY_MODIFY_RESPONSE']);
        expect(res.header('x-edited')).toBeUndefined();
        expect((await rawRequest(port, NEXT)).body).toBe('next');
      }
      expect(errors.map(({ cause }) => cause)).toEqual([reason, reason, reason]);
    }
  });

  it.each(edits.filter(([how]) => !how.includes('read')))(
    'ends the call to an upstream that goes on and on: it %s',
    async (_how, edit) => {
      const upstream = await rawUpstream((request) =>
        request.startsWith('GET /next')
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext'
          : `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n`,
      );
      const { errors, record } = recordErrors();
      const { port } = await gateway(
        'express 5',
        modifyResponse(editing(edit)),
        proxyPass(upstream.url, { connections: 1 }),
        record,
      );
      const res = await rawRequest(port, GET);
      expect([res.status, errors.length]).toEqual([502, 1]);
      const [socket] = upstream.sockets;
      if (socket?.destroyed === false) await once(socket, 'close');
      expect((await rawRequest(port, NEXT)).body).toBe('next');
    },
  );

  it('with an error that is not one is told as it is', async () => {
    const upstream = await upstreamWith(Buffer.from('small'));
    for (const thrown of [undefined, null, 'text', 0, { status: 200 }]) {
      const { errors, record } = recordErrors();
      const edit = modifyResponse(() => Promise.reject(thrown));
      const { port } = await gateway('express 5', edit, proxyPass(upstream.url), record);
      expect((await rawRequest(port, GET)).status).toBe(502);
      expect(errors.map(({ code, cause }) => [code, cause])).toEqual([
        ['ERR_PROXY_MODIFY_RESPONSE', thrown],
      ]);
    }
  });

  it('because JSON is none is 502, and the client sees nothing of it', async () => {
    const upstream = await upstreamWith(Buffer.from('{"secret": tru'));
    const edit = modifyResponse(async (response) => void (await response.json()));
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(res.status).toBe(502);
    expect(res.body).not.toContain('secret');
  });

  it('as a transform does, in the middle of the body, breaks the connection', async () => {
    const upstream = await upstreamWith(Buffer.alloc(200_000, 'x'), { chunked: true });
    let seen = 0;
    const edit = modifyResponse((response) =>
      response.pipeThrough(
        new Transform({
          transform: (chunk, _, done) => {
            seen += chunk.length;
            if (seen > 100_000) done(reason);
            else done(null, chunk);
          },
        }),
      ),
    );
    const { errors, record } = recordErrors();
    const outcomes: unknown[] = [];
    const { port } = await gateway(
      'express 5',
      (_req, res, next) => {
        res.once('close', () => outcomes.push(res.locals.proxy.outcome));
        next();
      },
      edit,
      proxyPass(upstream.url),
      record,
    );
    const client = await rawClient(port, GET);
    const received = await client.closed();
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(received).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(errors).toEqual([]);
    expect(outcomes).toMatchObject([
      { type: 'failed', error: { code: 'ERR_PROXY_MODIFY_RESPONSE', cause: reason } },
    ]);
  });

  it('leaves a body that was taken and put nowhere: 502, and a sentence that says why', async () => {
    const upstream = await upstreamWith(Buffer.from('small'));
    const { errors, record } = recordErrors();
    const edit = modifyResponse((response) => void response.stream().resume());
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url), record);
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(String(errors[0]?.cause)).toMatch(/stream\(\)/);
  });
});

import type { RequestListener } from 'node:http';
import { PassThrough, Readable, Transform } from 'node:stream';
import { TransformStream } from 'node:stream/web';
import * as zlib from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import { exchangeOf, modifyResponse, proxyPass, type ResponseEdit } from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { fetchWhole, type WholeResponse } from '../helpers/http.js';
import { frameworks, gateway, type Middleware, rawUpstream, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const HEAD = 'HEAD / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const TEXT = 'Grüße, 世界! 👋 ';

/** Asks an upstream through these edits, and says how the exchange ended. */
async function through(
  upstream: RequestListener,
  ...edits: ResponseEdit[]
): Promise<WholeResponse> {
  const { url } = await serve(upstream);
  const pieces = edits.map((edit) => modifyResponse(edit));
  const { url: gatewayUrl } = await gateway('express 5', ...pieces, proxyPass(url));
  return fetchWhole(gatewayUrl);
}

/** An upstream that answers with these bytes. */
function answering(body: string | Buffer, headers: Record<string, string> = {}): RequestListener {
  return (_req, res) => {
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    res.end(body);
  };
}

/** `node:zlib` of Node 22.15 and later. */
const { zstdCompressSync } = zlib as { zstdCompressSync?: (body: Buffer) => Buffer };

describe.each(frameworks)('modifyResponse through %s', (framework) => {
  it.each([200, 201, 206, 301, 400, 404, 418, 500, 503, 599])(
    'sets and removes headers of a %i and changes its status',
    async (status) => {
      const upstream = await rawUpstream(
        `HTTP/1.1 ${status} Some Reason\r\nX-Old: 1\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nok`,
      );
      const edit = modifyResponse((response) => {
        response.headers.set('X-New', String(response.status)).delete('x-old');
        response.status = 299;
      });
      const { port } = await gateway(framework, edit, proxyPass(upstream.url));
      const res = await rawRequest(port, GET);
      expect(res.status).toBe(299);
      expect(res.reason).not.toBe('Some Reason');
      expect(res.header('x-new')).toBe(String(status));
      expect(res.header('x-old')).toBeUndefined();
      expect(res.header('x-kept')).toBe('2');
      expect(res.body).toBe('ok');
    },
  );

  it('gives a body to read and sends another one in its place', async () => {
    const { url } = await serve(answering(JSON.stringify({ user: TEXT })));
    const edit = modifyResponse(async (response) => {
      const { user } = (await response.json()) as { user: string };
      response.body = { user: user.repeat(2) };
    });
    const { url: gatewayUrl } = await gateway(framework, edit, proxyPass(url));
    const { headers, body } = await fetchWhole(gatewayUrl);
    expect(JSON.parse(String(body))).toEqual({ user: TEXT.repeat(2) });
    expect(headers['content-length']).toBe(String(body.length));
    expect(headers['content-type']).toMatch(/^application\/json/);
  });

  it('keeps a response streaming when only its head is edited', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      goOn = () => socket.write('3\r\ntwo\r\n0\r\n\r\n');
      return 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n';
    });
    let goOn = (): unknown => undefined;
    const later = modifyResponse(async (response) => {
      await new Promise(setImmediate);
      response.headers.set('X-Later', 'yes');
    });
    const now = modifyResponse((response) => {
      response.headers.set('X-Now', 'yes');
    });
    const { port } = await gateway(framework, now, later, now, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    const first = await client.until((text) => text.includes('one'));
    expect(first).toContain('\r\nX-Now: yes\r\nX-Later: yes\r\n');
    goOn();
    await client.until((text) => text.endsWith('two\r\n0\r\n\r\n'));
  });
});

describe('modifyResponse: reading', () => {
  const codings: [name: string, (body: Buffer) => Buffer][] = [
    ['gzip', zlib.gzipSync],
    ['x-gzip', zlib.gzipSync],
    ['GZip', zlib.gzipSync],
    ['deflate', zlib.deflateSync],
    // Not what RFC 9110 says, but what some servers send.
    ['deflate', zlib.deflateRawSync],
    ['br', zlib.brotliCompressSync],
    ['identity', (body) => body],
    ['deflate, gzip', (body) => zlib.gzipSync(zlib.deflateSync(body))],
    ['gzip,identity ,  br', (body) => zlib.brotliCompressSync(zlib.gzipSync(body))],
    [
      'gzip, gzip, gzip, gzip, gzip',
      (body) => [1, 2, 3, 4, 5].reduce((inner) => zlib.gzipSync(inner), body),
    ],
  ];
  if (zstdCompressSync !== undefined) {
    codings.push(['zstd', zstdCompressSync]);
    codings.push(['gzip, zstd', (body) => zstdCompressSync(zlib.gzipSync(body))]);
  }

  it.each(codings)('decodes %s, whatever it is asked for', async (coding, encode) => {
    const json = JSON.stringify({ text: TEXT.repeat(100) });
    const seen: unknown[] = [];
    const upstream = answering(encode(Buffer.from(json)), { 'Content-Encoding': coding });
    const { headers, body } = await through(upstream, async (response) => {
      seen.push(await response.text(), await response.json(), String(await response.buffer()));
    });
    expect(seen).toEqual([json, JSON.parse(json), json]);
    // What is read and not replaced goes out as it came.
    expect(headers['content-encoding']).toBe(coding);
    expect(body).toEqual(encode(Buffer.from(json)));
  });

  it.each(codings)('decodes %s as a stream', async (coding, encode) => {
    const text = TEXT.repeat(1_000);
    const upstream = answering(encode(Buffer.from(text)), { 'Content-Encoding': coding });
    const { headers, body } = await through(upstream, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response.stream()) chunks.push(chunk as Buffer);
      response.body = `${Buffer.concat(chunks)}!`;
    });
    expect(headers['content-encoding']).toBeUndefined();
    expect(String(body)).toBe(`${text}!`);
  });

  it('decodes codings that stand on several lines', async () => {
    const { body } = await through(
      (_req, res) => {
        res.setHeader('Content-Encoding', ['deflate', 'gzip']);
        res.end(zlib.gzipSync(zlib.deflateSync('stacked')));
      },
      async (response) => {
        response.body = `${await response.text()}!`;
      },
    );
    expect(String(body)).toBe('stacked!');
  });

  it('gives an empty body for an empty one, whatever its coding', async () => {
    const upstream = answering('', { 'Content-Encoding': 'gzip' });
    const { status, body } = await through(upstream, async (response) => {
      response.body = JSON.stringify(await response.text());
    });
    expect([status, String(body)]).toEqual([200, '""']);
  });

  it.each([
    ['text/plain', Buffer.from('é€')],
    ['text/plain; charset=utf-8', Buffer.from('é€')],
    ['text/plain;charset="UTF-8"', Buffer.from('é€')],
    ['text/plain; charset=iso-8859-15', Buffer.from([0xe9, 0xa4])],
    ['text/plain; charset=windows-1252', Buffer.from([0xe9, 0x80])],
    ['text/plain; charset=utf-16le', Buffer.from('é€', 'utf16le')],
    ['text/plain; charset=no-such-charset', Buffer.from('é€')],
  ])('reads text in its charset and sends it as UTF-8: %s', async (type, bytes) => {
    let text = '';
    const { headers, body } = await through(
      answering(bytes, { 'Content-Type': type }),
      async (response) => {
        text = await response.text();
        response.body = text;
      },
    );
    expect(text).toBe('é€');
    expect(String(body)).toBe('é€');
    expect(headers['content-type']).toMatch(/^text\/plain(; ?charset="?utf-8"?)?$/i);
  });

  it('reads JSON behind a byte order mark', async () => {
    let json: unknown;
    await through(answering('\ufeff{"a":1}'), async (response) => {
      json = await response.json();
    });
    expect(json).toEqual({ a: 1 });
  });
});

async function* pieces(...texts: string[]): AsyncGenerator<string> {
  for (const text of texts) yield text;
}

describe('modifyResponse: replacing', () => {
  const bodies: [what: string, make: () => string | object, sent: string][] = [
    ['a string', () => TEXT, TEXT],
    ['an empty string', () => '', ''],
    ['a Buffer', () => Buffer.from(TEXT), TEXT],
    ['a Uint8Array', () => new Uint8Array(Buffer.from(TEXT)), TEXT],
    ['a view of a larger buffer', () => new Uint8Array(Buffer.from(`..${TEXT}`)).subarray(2), TEXT],
    ['an ArrayBuffer', () => new Uint8Array(Buffer.from(TEXT)).buffer, TEXT],
    ['a DataView', () => new DataView(new Uint8Array(Buffer.from(TEXT)).buffer), TEXT],
    ['an asynchronous generator', () => pieces(TEXT, 'more'), `${TEXT}more`],
    ['an object', () => ({ text: TEXT }), JSON.stringify({ text: TEXT })],
    ['an array', () => [1, TEXT, null], JSON.stringify([1, TEXT, null])],
    ['a stream', () => Readable.from([Buffer.from(TEXT), 'more']), `${TEXT}more`],
    ['a web stream', () => new Blob([TEXT]).stream(), TEXT],
  ];

  const STALE = {
    'Content-Encoding': 'gzip',
    ETag: '"old"',
    'Content-MD5': 'b2xk',
    Digest: 'sha-256=b2xk',
    'Content-Digest': 'sha-256=:b2xk:',
    'Repr-Digest': 'sha-256=:b2xk:',
    'Accept-Ranges': 'bytes',
    Trailer: 'X-Sum',
  };

  it.each(bodies)(
    'sends %s with the right length and without stale fields',
    async (_what, make, sent) => {
      const { status, headers, body } = await through(
        answering(zlib.gzipSync('old'), { ...STALE, 'X-Kept': 'yes', 'Last-Modified': 'then' }),
        (response) => {
          response.body = make();
        },
      );
      expect(status).toBe(200);
      expect(String(body)).toBe(sent);
      for (const name of Object.keys(STALE)) expect(headers[name.toLowerCase()]).toBeUndefined();
      expect(headers['x-kept']).toBe('yes');
      if (headers['transfer-encoding'] === undefined) {
        expect(headers['content-length']).toBe(String(Buffer.byteLength(sent)));
      }
    },
  );

  it.each(bodies)('sends %s after the old body was read', async (_what, make, sent) => {
    const { body } = await through(answering('old'), async (response) => {
      await response.text();
      response.body = make();
    });
    expect(String(body)).toBe(sent);
  });

  it.each(bodies)('lets a second edit read %s', async (_what, make, sent) => {
    const { headers, body } = await through(
      answering(zlib.gzipSync('old'), { 'Content-Encoding': 'gzip', ETag: '"old"' }),
      (response) => {
        response.body = make();
      },
      async (response) => {
        response.body = `${await response.text()}!`;
      },
    );
    expect(String(body)).toBe(`${sent}!`);
    expect(headers['content-length']).toBe(String(body.length));
  });

  it('says that an object is JSON, unless it is said already', async () => {
    const types: (string | undefined)[] = [];
    for (const type of [
      'text/html',
      'application/problem+json',
      'application/json; charset=utf-8',
    ]) {
      const { headers } = await through(answering('old', { 'Content-Type': type }), (response) => {
        response.body = {};
      });
      types.push(headers['content-type']);
    }
    expect(types[0]).toMatch(/^application\/json/);
    expect(types.slice(1)).toEqual(['application/problem+json', 'application/json; charset=utf-8']);
  });

  it('keeps fields of the new body that are set after it', async () => {
    const { headers, body } = await through(answering('old'), (response) => {
      response.body = zlib.gzipSync('new');
      response.headers.set('Content-Encoding', 'gzip').set('ETag', '"new"');
    });
    expect([headers['content-encoding'], headers.etag]).toEqual(['gzip', '"new"']);
    expect(String(zlib.gunzipSync(body))).toBe('new');
  });

  it('does not believe a length that an edit has set', async () => {
    for (const length of ['1', '1000']) {
      const { body } = await through(
        (_req, res) => {
          res.write('wh');
          setImmediate(() => res.end('ole'));
        },
        (response) => {
          response.headers.set('Content-Length', length);
        },
      );
      expect(String(body)).toBe('whole');
    }
  });

  it('hands the upstream its connection back when its body is not read', async () => {
    const upstream = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold');
    const edit = modifyResponse((response) => {
      response.body = 'new';
    });
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url, { connections: 1 }));
    for (let i = 0; i < 3; i++) expect((await rawRequest(port, GET)).body).toBe('new');
    expect(upstream.sockets).toHaveLength(1);
  });

  it('is compressed again by compression()', async () => {
    const upstream = await serve(answering(zlib.gzipSync('old'), { 'Content-Encoding': 'gzip' }));
    const edit = modifyResponse(async (response) => {
      response.headers.set('Content-Type', 'text/plain');
      response.body = `${await response.text()}, new`;
    });
    const { url } = await gateway(
      'express 5',
      compression({ threshold: 0 }),
      edit,
      proxyPass(upstream.url),
    );
    const { headers, body } = await fetchWhole(url, { headers: { 'accept-encoding': 'gzip' } });
    expect(headers['content-encoding']).toBe('gzip');
    expect(String(zlib.gunzipSync(body))).toBe('old, new');
  });
});

describe('modifyResponse: pipeThrough', () => {
  /** A transform that writes in capitals. */
  const nodeTransform = () =>
    new Transform({
      transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase()),
    });
  const webTransform = () =>
    new TransformStream({
      transform: (chunk, controller) => {
        controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase()));
      },
    });

  it.each([
    ['a Transform', nodeTransform],
    ['a TransformStream', webTransform],
  ])('streams through %s: each chunk goes out before the next has come', async (_what, make) => {
    const upstream = await rawUpstream((_request, socket) => {
      write = (bytes) => socket.write(bytes);
      return 'HTTP/1.1 200 OK\r\nETag: "old"\r\nTransfer-Encoding: chunked\r\n\r\n';
    });
    let write = (_bytes: string): unknown => undefined;
    const edit = modifyResponse((response) => response.pipeThrough(make()));
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    const head = await client.until((text) => text.includes('\r\n\r\n'));
    expect(head).not.toMatch(/etag|content-length/i);
    write('3\r\none\r\n');
    await client.until((text) => text.includes('ONE'));
    write('3\r\ntwo\r\n0\r\n\r\n');
    await client.until((text) => text.endsWith('TWO\r\n0\r\n\r\n'));
  });

  it.each([
    ['a Transform', nodeTransform],
    ['a TransformStream', webTransform],
  ])(
    'feeds %s with the decoded body, and what is behind it with the new one',
    async (_what, make) => {
      const text = 'some text, '.repeat(100_000);
      const { headers, body } = await through(
        answering(zlib.gzipSync(text), { 'Content-Encoding': 'gzip', ETag: '"old"' }),
        (response) => response.pipeThrough(make()),
        (response) =>
          response.pipeThrough(
            new Transform({
              transform: (chunk, _encoding, done) => done(null, chunk),
              flush: (done) => done(null, 'The end.'),
            }),
          ),
      );
      expect(headers['content-encoding']).toBeUndefined();
      expect(headers.etag).toBeUndefined();
      expect(String(body)).toBe(`${text.toUpperCase()}The end.`);
    },
  );

  it('ends where a TransformStream ends it, and lets go of the rest', async () => {
    const upstream = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\nfirst');
    const transform = new TransformStream({
      transform: (chunk, controller) => {
        controller.enqueue(chunk);
        controller.terminate();
      },
    });
    const edit = modifyResponse((response) => response.pipeThrough(transform));
    const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
    const { body } = await rawRequest(port, GET);
    expect(body).toBe('first');
    await eventually('the end of the call', () => upstream.sockets[0]?.destroyed === true);
  });

  it('lets a second edit read what comes out', async () => {
    const { body, headers } = await through(
      answering('some text'),
      (response) => response.pipeThrough(nodeTransform()),
      async (response) => {
        response.body = `${await response.text()}!`;
      },
    );
    expect(String(body)).toBe('SOME TEXT!');
    expect(headers['content-length']).toBe('10');
  });
});

describe('modifyResponse: no body', () => {
  const edits: [what: string, edit: ResponseEdit][] = [
    ['text()', async (response) => void (await response.text())],
    ['json()', async (response) => void (await response.json())],
    ['buffer()', async (response) => void (await response.buffer())],
    ['stream()', async (response) => void response.stream().resume()],
    [
      'a new body',
      (response) => {
        response.body = 'new';
      },
    ],
    ['pipeThrough()', (response) => response.pipeThrough(new PassThrough())],
  ];
  const answers: [what: string, request: string, answer: string][] = [
    ['HEAD', HEAD, '200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234'],
    ['204', GET, '204 No Content'],
    ['304', GET, '304 Not Modified\r\nETag: "x"'],
  ];
  const cases = answers.flatMap(([what, request, answer]) =>
    edits.map(([name, edit]) => [what, name, request, answer, edit] as const),
  );

  it.each(cases)(
    'runs the head edits of a %s and skips the body: %s',
    async (_what, _name, request, answer, edit) => {
      const upstream = await rawUpstream((seen) =>
        seen.includes('/next')
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext'
          : `HTTP/1.1 ${answer}\r\n\r\n`,
      );
      const says = (name: string): Middleware =>
        modifyResponse((response) => {
          response.headers.set(name, String(response.hasBody));
        });
      const { port } = await gateway(
        'express 5',
        says('X-Before'),
        modifyResponse((response, req, res) =>
          req.url === '/next' ? undefined : edit(response, req, res),
        ),
        says('X-After'),
        proxyPass(upstream.url),
      );
      const client = await rawClient(port, request);
      const head = await client.until((text) => text.includes('\r\n\r\n'));
      expect(head).toMatch(/^HTTP\/1\.1 (200|204|304) /);
      expect(head).toMatch(/\r\nX-Before: false\r\n/);
      expect(head).toMatch(/\r\nX-After: false\r\n/);
      expect(head).toMatch(/\r\n\r\n$/);

      client.write('GET /next HTTP/1.1\r\nHost: gateway\r\n\r\n');
      const both = await client.until((text) => text.endsWith('\r\n\r\nnext'));
      expect(both.slice(head.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    },
  );

  it.each([204, 304] as const)(
    'leaves the body away when an edit makes it a %i',
    async (status) => {
      const upstream = await rawUpstream();
      const edit = modifyResponse((response) => {
        response.status = status;
      });
      const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
      const client = await rawClient(port, GET + GET);
      const received = await client.until((text) => text.split(`HTTP/1.1 ${status}`).length === 3);
      expect(received).not.toContain('ok');
    },
  );

  it('gives a body to what was a 204 or a 304', async () => {
    for (const [status, line] of [
      [200, '204 No Content'],
      [404, '304 Not Modified'],
    ] as const) {
      const upstream = await rawUpstream(`HTTP/1.1 ${line}\r\n\r\n`);
      const edit = modifyResponse((response) => {
        response.status = status;
        response.body = 'new';
      });
      const { port } = await gateway('express 5', edit, proxyPass(upstream.url));
      const res = await rawRequest(port, GET);
      expect([res.status, res.body, res.header('content-length')]).toEqual([status, 'new', '3']);
    }
  });
});

describe('modifyResponse: edits', () => {
  it('run in the order registered, and see request, res and exchange', async () => {
    const { url } = await serve(answering('ok'));
    const order: string[] = [];
    const edit = (name: string): Middleware =>
      modifyResponse(async (response, req, res) => {
        order.push(name);
        await new Promise(setImmediate);
        order.push(`${name} ${req.url} ${exchangeOf(req, res).upstream === response.upstream}`);
      });
    const { url: gatewayUrl } = await gateway('express 5', edit('a'), edit('b'), proxyPass(url));
    await fetchWhole(`${gatewayUrl}/path`);
    expect(order).toEqual(['a', 'a /path true', 'b', 'b /path true']);
  });

  it('of an earlier piece that replaces the body meet an edit that reads it', async () => {
    const { body } = await through(
      answering('{"a":1}'),
      async (response) => {
        response.body = { ...((await response.json()) as object), b: 2 };
      },
      async (response) => {
        response.body = { ...((await response.json()) as object), c: 3 };
      },
    );
    expect(JSON.parse(String(body))).toEqual({ a: 1, b: 2, c: 3 });
  });
});

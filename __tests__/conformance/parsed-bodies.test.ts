import type { IncomingMessage } from 'node:http';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import express4 from 'express4';
import { exchangeOf, isProxyError, type ProxyErrorCode, proxyErrors, proxyPass } from 'headrace';
import multer from 'multer';
import { rawClient, rawRequest } from '../helpers/client.js';
import { chunkedUpload, onlyRequest, request, requestsOf, upload } from '../helpers/requests.js';
import { frameworks, gateway, type Middleware, rawUpstream, serve } from '../helpers/servers.js';

const json = ['Content-Type: application/json'];
const form = ['Content-Type: application/x-www-form-urlencoded'];

/** Middleware of an app's own that does something to `req.body`. */
function edit(change: (req: IncomingMessage & { body: never }) => void): Middleware {
  return (req, _res, next) => {
    change(req);
    next();
  };
}

/** Latin-1 text of bytes, as the raw helpers take it. */
function latin1(bytes: Buffer | string, encoding: BufferEncoding = 'utf8'): string {
  return (typeof bytes === 'string' ? Buffer.from(bytes, encoding) : bytes).toString('latin1');
}

describe.each(frameworks)('a parsed body under %s', (framework) => {
  // Connect and bare servers use the parsers of either.
  const parsers = framework === 'express 4' ? express4 : express;

  /** Sends a request through parsers and edits, and gives what the upstream got of it. */
  async function forwarded(bytes: string, ...middleware: Middleware[]) {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, ...middleware, proxyPass(upstream.url));
    const { status } = await rawRequest(port, bytes);
    expect(status).toBe(200);
    const seen = onlyRequest(upstream);
    if (seen.body !== '') {
      expect(seen.lines('content-length')).toEqual([String(seen.body.length)]);
      expect(seen.lines('transfer-encoding')).toEqual([]);
    }
    return { ...seen, type: seen.lines('content-type') };
  }

  it.each(['{"a":[1,{"b":null}],"c":"ä€😀","":{}}', '[]', '{}', ' { "spaced" : 1 } '])(
    'arrives again from json(): %s',
    async (text) => {
      const { body, type } = await forwarded(upload('POST /', json, latin1(text)), parsers.json());

      expect(JSON.parse(Buffer.from(body, 'latin1').toString())).toEqual(JSON.parse(text));
      expect(type).toEqual(['application/json']);
    },
  );

  it.each(['null', '0', 'false', '""', '"text"', '"123"', '"{\\"a\\":1}"'])(
    'arrives again from json({ strict: false }): %s',
    async (text) => {
      const parser = parsers.json({ strict: false });

      const { body } = await forwarded(upload('POST /', json, text), parser);

      expect(body).toBe(text);
    },
  );

  it('arrives again from json() when it came in chunks', async () => {
    const bytes = chunkedUpload('DELETE /', json, '{"a"', ':1}');

    expect((await forwarded(bytes, parsers.json())).body).toBe('{"a":1}');
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ])('arrives plain from json() when it came as %s', async (coding, compress) => {
    const body = latin1(compress('{"a":"ä"}'));

    const seen = await forwarded(
      upload('POST /', [...json, `Content-Encoding: ${coding}`], body),
      parsers.json(),
    );

    expect(seen.body).toBe(latin1('{"a":"ä"}'));
    expect(seen.lines('content-encoding')).toEqual([]);
  });

  it('arrives as UTF-8, and says so, from json() when it came as UTF-16', async () => {
    const headers = ['Content-Type: application/json; charset=utf-16le'];
    const bytes = upload('POST /', headers, latin1('{"a":"ä"}', 'utf16le'));

    const { body, type } = await forwarded(bytes, parsers.json());

    expect(body).toBe(latin1('{"a":"ä"}'));
    expect(type.join()).toMatch(/^application\/json; *charset="?utf-8"?$/i);
  });

  it('keeps its content type to the letter where it is right', async () => {
    const type = 'Application/LD+JSON;  charset="UTF-8"; profile="a b"';
    const parser = parsers.json({ type: '*/*' });

    const seen = await forwarded(upload('POST /', [`content-TYPE: ${type}`], '{"a":1}'), parser);

    expect(seen.headers).toContainEqual(['content-TYPE', type]);
    expect(seen.body).toBe('{"a":1}');
  });

  it('arrives with the edits made to it', async () => {
    const change = edit((req: IncomingMessage & { body: { a?: number; b?: string } }) => {
      delete req.body.a;
      req.body.b = 'größer € 😀';
    });

    const { body } = await forwarded(upload('POST /', json, '{"a":1}'), parsers.json(), change);

    expect(body).toBe(latin1('{"b":"größer € 😀"}'));
  });

  it('arrives without what described the bytes as they came, unless the app has set it', async () => {
    const digests = ['Content-MD5: x', 'Digest: x', 'Content-Digest: x', 'Repr-Digest: x'];
    const set: Middleware = (req, res, next) => {
      exchangeOf(req, res).headers.set('Content-Digest', 'sha-256=:new:');
      next();
    };

    const seen = await forwarded(
      upload('PUT /', [...json, ...digests, 'Content-Range: bytes 0-6/9'], '{"a":1}'),
      parsers.json(),
      set,
    );

    for (const name of ['content-md5', 'digest', 'repr-digest'])
      expect([name, ...seen.lines(name)]).toEqual([name]);
    expect(seen.lines('content-digest')).toEqual(['sha-256=:new:']);
    // Without it, a part would be taken for the whole.
    expect(seen.lines('content-range')).toEqual(['bytes 0-6/9']);
  });

  it('arrives as what it was replaced with', async () => {
    const change = edit((req) => Object.assign(req, { body: [{ all: 'new' }] }));

    const { body } = await forwarded(upload('PUT /', json, '{"a":1}'), parsers.json(), change);

    expect(body).toBe('[{"all":"new"}]');
  });

  it('arrives in the content type that the app has set since', async () => {
    const change = edit((req) => {
      req.headers['content-type'] = 'application/x-www-form-urlencoded';
    });

    const { body, type } = await forwarded(
      upload('POST /', json, '{"a":"b c"}'),
      parsers.json(),
      change,
    );

    expect([body, type]).toEqual(['a=b+c', ['application/x-www-form-urlencoded']]);
  });

  const forms = [
    'a=1&b=two+words&c=%26%3D%25%2B',
    'a=1&a=2&a=3',
    'a=&=b&%C3%A4=%E2%82%AC',
    'a[b][c]=1&a[b][d]=2',
    'a[]=1',
    'a[0][b]=1&a[1][b]=2&a[1][c]=3',
  ];
  it.each(forms.flatMap((text) => [true, false].map((extended) => [text, extended] as const)))(
    'is read the same again from urlencoded(): %s, extended: %s',
    async (text, extended) => {
      const parser = parsers.urlencoded({ extended });
      const bodies: unknown[] = [];
      const keep = edit((req) => bodies.push(structuredClone({ ...(req.body as object) })));

      const { body, type } = await forwarded(upload('POST /', form, text), parser, keep);
      await forwarded(upload('POST /', form, body), parser, keep);

      expect(type).toEqual(['application/x-www-form-urlencoded']);
      expect(bodies[1]).toEqual(bodies[0]);
    },
  );

  it('arrives with the edits made to what urlencoded() left', async () => {
    const change = edit((req: IncomingMessage & { body: Record<string, unknown> }) => {
      req.body.b = 'x&y=z ä';
      req.body.c = ['1', '2'];
    });
    const parser = parsers.urlencoded({ extended: false });

    const { body } = await forwarded(upload('POST /', form, 'a=1'), parser, change);

    expect([...new URLSearchParams(body)]).toEqual([
      ['a', '1'],
      ['b', 'x&y=z ä'],
      ['c', '1'],
      ['c', '2'],
    ]);
  });

  it('arrives again from text(), in its charset', async () => {
    const headers = ['Content-Type: text/plain; charset=iso-8859-1'];

    const seen = await forwarded(upload('POST /', headers, 'caf\xe9'), parsers.text());

    expect(seen.body).toBe('caf\xe9');
    expect(seen.type).toEqual(['text/plain; charset=iso-8859-1']);
  });

  it('arrives from text() as UTF-8, and says so, when its charset cannot hold an edit', async () => {
    const headers = ['Content-Type: text/plain; charset=iso-8859-1'];
    const change = edit((req) => Object.assign(req, { body: 'caf\xe9 3 €' }));

    const seen = await forwarded(upload('POST /', headers, 'caf\xe9'), parsers.text(), change);

    expect(seen.body).toBe(latin1('caf\xe9 3 €'));
    expect(seen.type.join()).toMatch(/^text\/plain; *charset="?utf-8"?$/i);
  });

  it('arrives again from text({ type: "*/*" }), byte for byte', async () => {
    const parser = parsers.text({ type: '*/*' });

    const text = '{ "a" :  1 }';
    expect((await forwarded(upload('POST /', json, text), parser)).body).toBe(text);
  });

  it('arrives again from raw(), byte for byte', async () => {
    const bytes = latin1(Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256)));
    const headers = ['Content-Type: application/octet-stream'];

    const seen = await forwarded(upload('POST /', headers, bytes), parsers.raw());

    expect(seen.body).toBe(bytes);
    expect(seen.type).toEqual(['application/octet-stream']);
  });

  it('arrives as the bytes that raw() was replaced with, a view of a larger buffer too', async () => {
    const view = new Uint8Array(Buffer.from('..new..').buffer.slice(0)).fill(120).subarray(2, 5);
    const change = edit((req) => Object.assign(req, { body: view }));
    const headers = ['Content-Type: application/octet-stream'];

    const { body } = await forwarded(upload('POST /', headers, 'old'), parsers.raw(), change);

    expect(body).toBe('xxx');
  });

  it('streams on untouched where the parser left it alone', async () => {
    const headers = ['Content-Type: text/plain'];

    const { body } = await forwarded(upload('POST /', headers, 'plain'), parsers.json());

    expect(body).toBe('plain');
  });

  it.each([
    ['with length 0', request('POST /', [...json, 'Content-Length: 0'])],
    ['of no chunks', chunkedUpload('POST /', json)],
    ['that is not there', request('GET /', json)],
  ])('%s stays empty behind json()', async (_, bytes) => {
    const { body } = await forwarded(bytes, parsers.json());

    expect(body).toBe('');
  });

  it.each([
    ['with length 0', request('POST /', [...json, 'Content-Length: 0'])],
    ['of no chunks', chunkedUpload('POST /', json)],
  ])('%s arrives with what the app has put into it', async (_, bytes) => {
    const change = edit((req) => Object.assign(req.body as object, { a: 1 }));

    const { body } = await forwarded(bytes, parsers.json(), change);

    expect(body).toBe('{"a":1}');
  });

  it('is too large when it is once its coding is undone', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url, { maxBodyBytes: 1_000 });
    const { port } = await gateway(framework, parsers.json(), pass);
    const body = latin1(gzipSync(JSON.stringify('x'.repeat(2_000).split(''))));

    const { status } = await rawRequest(
      port,
      upload('POST /', [...json, 'Content-Encoding: gzip'], body),
    );

    expect([status, upstream.sockets]).toEqual([413, []]);
  });

  const boundary = ['Content-Type: multipart/form-data; boundary=b'];
  const part = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n';
  const readers: Record<string, Middleware> = {
    'multer().none()': multer().none(),
    'multer().any()': multer().any(),
    'a reader that keeps nothing': (req, _res, next) => {
      req.on('data', () => {}).on('end', next);
    },
    'a reader that stopped half-way': (req, _res, next) => {
      req.once('data', () => {
        req.pause();
        next();
      });
    },
    'a reader that left the half-way stream flowing': (req, _res, next) => {
      req.once('data', () => next());
    },
    'an iteration that was left early': async (req, _res, next) => {
      for await (const _ of req.iterator({ destroyOnReturn: false })) break;
      next();
    },
    'a parser of its own type that left an object': (req, _res, next) => {
      req
        .on('data', () => {})
        .on('end', () => {
          req.body = { a: '1' };
          next();
        });
    },
  };

  it.each(Object.entries(readers))(
    'fails at once with ERR_PROXY_BODY_CONSUMED behind %s',
    async (_, reader) => {
      const upstream = await rawUpstream();
      const codes: (ProxyErrorCode | undefined)[] = [];
      const note: Middleware = (error, _req, _res, next) => {
        codes.push(isProxyError(error) ? error.code : undefined);
        next(error);
      };
      const { port } = await gateway(
        framework,
        reader,
        proxyPass(upstream.url),
        note,
        proxyErrors(),
      );
      const padding = 'x'.repeat(20_000);

      const client = await rawClient(port, upload('POST /', boundary, `${padding}${part}`));
      await client.until((text) => text.startsWith('HTTP/1.1 500 '));

      expect(codes).toEqual(['ERR_PROXY_BODY_CONSUMED']);
      expect(upstream.sockets).toEqual([]);
    },
  );

  it('fails with what does not fit, where a parser has read another type', async () => {
    const messages: string[] = [];
    const note: Middleware = (error, _req, _res, next) => {
      messages.push(error.message);
      next(error);
    };
    const parser = parsers.json({ type: () => true });
    const pass = proxyPass((await rawUpstream()).url);
    const { port } = await gateway(framework, parser, pass, note, proxyErrors());

    const { status } = await rawRequest(port, upload('POST /', ['Content-Type: text/plain'], '[]'));

    expect([status, ...messages]).toEqual([
      500,
      'The request body was read before proxyPass() and req.body is an object, but Content-Type is "text/plain": ' +
        'place proxyPass() before the middleware that reads it',
    ]);
  });

  it.each([
    ['invalid JSON', 400, upload('POST /', json, '{"a":')],
    ['too much of it', 413, upload('POST /', json, JSON.stringify('x'.repeat(200)))],
    ['an unknown charset', 415, upload('POST /', [`${json}; charset=x-unknown`], '{}')],
    [
      'a broken coding',
      400,
      upload('POST /', [...json, 'Content-Encoding: gzip'], 'no gzip, this is'),
    ],
  ])('sends nothing upstream when it cannot be parsed: %s', async (_, expected, bytes) => {
    const upstream = await rawUpstream();
    const parser = parsers.json({ limit: 100 });
    const { port } = await gateway(framework, parser, proxyPass(upstream.url));

    const { status } = await rawRequest(port, bytes);

    expect([status, upstream.sockets]).toEqual([expected, []]);
  });
});

describe('a parsed body in brotli', () => {
  it('arrives plain', async () => {
    const upstream = await rawUpstream();
    const { port } = await serve(express().use(express.json(), proxyPass(upstream.url)));
    const headers = [...json, 'Content-Encoding: br'];

    await rawRequest(port, upload('POST /', headers, latin1(brotliCompressSync('{"a":1}'))));

    const [{ body, lines } = { body: '', lines: () => [''] }] = requestsOf(upstream);
    expect([body, lines('content-encoding')]).toEqual(['{"a":1}', []]);
  });
});

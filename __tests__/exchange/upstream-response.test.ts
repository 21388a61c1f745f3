import { once } from 'node:events';
import { PassThrough, Readable, Stream, Transform } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { TransformStream } from 'node:stream/web';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import express, { type Express } from 'express';
import {
  exchangeOf,
  modifyResponse,
  proxyErrors,
  proxyPass,
  type ResponseEdit,
  UpstreamResponse,
} from 'headrace';
import request from 'supertest';
import { closeAfter, serve } from '../helpers/servers.js';

/** An app whose upstream call is replaced by a wrapper that answers by itself. */
function answering(make: () => UpstreamResponse, ...edits: ResponseEdit[]): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use((req, res, next) => {
    exchangeOf(req, res).around(async () => make());
    next();
  });
  app.use(...edits.map((edit) => modifyResponse(edit)), proxyPass(), proxyErrors());
  return app;
}

/** An app in front of an upstream that sends these fields and this body. */
function behind(
  head: Record<string, string>,
  body: string | Buffer,
  ...edits: ResponseEdit[]
): Promise<Express> {
  return behindStatus(200, head, body, ...edits);
}

async function behindStatus(
  status: number,
  head: Record<string, string>,
  body: string | Buffer,
  ...edits: ResponseEdit[]
): Promise<Express> {
  const { url } = await serve((_req, res) => void res.writeHead(status, head).end(body));
  const pass = proxyPass(url);
  closeAfter(() => pass.close());
  const app = express();
  app.use(...edits.map((edit) => modifyResponse(edit)), pass, proxyErrors());
  return app;
}

/** Writes everything in capitals. */
function shouting(): Transform {
  return new Transform({
    transform(chunk, _encoding, done) {
      done(null, String(chunk).toUpperCase());
    },
  });
}

const RANGE = { 'Content-Type': 'text/plain', 'Content-Range': 'bytes 0-2/9' };

describe('a response of one’s own', () => {
  it('is 200 and empty by default', async () => {
    const response = new UpstreamResponse();
    expect(response).toMatchObject({ status: 200, statusText: '', hasBody: true });
    expect(response.upstream).toBeUndefined();
    expect(response.attempt).toBeUndefined();
    expect(await response.text()).toBe('');
    await request(answering(() => new UpstreamResponse()))
      .get('/')
      .expect(200, '')
      .expect('Content-Length', '0');
  });

  it('has the status, reason phrase, header and body it is made with', async () => {
    const app = answering(
      () =>
        new UpstreamResponse({
          status: 203,
          statusText: 'Made Up',
          headers: { 'X-Stale': 'yes', 'Set-Cookie': ['a=1', 'b=2'], 'Content-Type': 'text/plain' },
          body: 'café',
        }),
    );
    const res = await request(app).get('/');
    expect(res.status).toBe(203);
    expect((res as unknown as { res: { statusMessage: string } }).res.statusMessage).toBe(
      'Made Up',
    );
    expect(res.headers).toMatchObject({
      'x-stale': 'yes',
      'set-cookie': ['a=1', 'b=2'],
      'content-length': '5',
    });
    expect(res.text).toBe('café');
  });

  it.each([
    ['an object', { a: 'é' }, '{"a":"é"}', 'application/json; charset=utf-8'],
    ['an array', [1, 2], '[1,2]', 'application/json; charset=utf-8'],
    ['a Buffer', Buffer.from('bytes'), 'bytes', undefined],
    ['a Uint8Array', new TextEncoder().encode('bytes'), 'bytes', undefined],
    ['a stream', () => Readable.from(['by', 'tes']), 'bytes', undefined],
    ['a web stream', () => Readable.toWeb(Readable.from(['bytes'])), 'bytes', undefined],
  ])('sends %s', async (_, body, sent, type) => {
    const app = answering(
      () => new UpstreamResponse({ body: typeof body === 'function' ? body() : body }),
    );
    const res = await request(app).get('/').buffer(true).parse(asText);
    expect(res.body).toBe(sent);
    expect(res.headers['content-type']).toBe(type);
  });

  it('sends the view of a Uint8Array, not the memory behind it', async () => {
    const view = new Uint8Array(Buffer.from('secret bytes secret')).subarray(7, 12);
    expect(await new UpstreamResponse({ body: view }).text()).toBe('bytes');
  });

  it('keeps a JSON type that says more', () => {
    const headers = { 'Content-Type': 'application/problem+json' };
    const response = new UpstreamResponse({ headers, body: { status: 404 } });
    expect(response.headers.get('content-type')).toBe('application/problem+json');
  });

  it('makes the charset of text the one it is sent in', () => {
    const headers = { 'Content-Type': 'text/plain; charset=latin1' };
    const response = new UpstreamResponse({ headers, body: 'é' });
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  });

  it('may come encoded, and is read decoded', async () => {
    const headers = { 'Content-Encoding': 'gzip' };
    const make = () => new UpstreamResponse({ headers, body: gzipSync('from a cache') });
    expect(await make().text()).toBe('from a cache');
    expect(await readText(make().stream())).toBe('from a cache');
    await request(answering(make))
      .get('/')
      .expect('Content-Encoding', 'gzip')
      .expect('from a cache');
  });

  it.each([204, 304])('of status %i has no body', async (status) => {
    const response = new UpstreamResponse({ status, body: 'dropped' });
    expect(response.hasBody).toBe(false);
    await request(answering(() => response))
      .get('/')
      .expect(status, '');
  });

  it('answers HEAD with its header alone', async () => {
    const app = answering(() => new UpstreamResponse({ headers: { 'X-A': '1' }, body: 'dropped' }));
    const { headers, text } = await request(app).head('/').expect(200).expect('X-A', '1');
    expect(text).toBeUndefined();
    expect(headers).not.toHaveProperty('transfer-encoding');
  });

  it('can be edited like any other', async () => {
    const make = () => new UpstreamResponse({ body: 'one' });
    const app = answering(make, async (response) => {
      response.body = `${await response.text()} two`;
    });
    await request(app).get('/').expect('Content-Length', '7');
  });

  it.each([
    [{ status: 99 }, 'response.status must be a final HTTP status, received 99'],
    [{ status: 101 }, 'response.status must be a final HTTP status, received 101'],
    [{ status: 600 }, 'response.status must be a final HTTP status, received 600'],
    [{ status: 200.5 }, 'response.status must be a final HTTP status, received 200.5'],
    [{ statuscode: 404 }, 'UpstreamResponse: unknown option "statuscode"'],
    [{ header: {} }, 'UpstreamResponse: unknown option "header", did you mean "headers"?'],
    [{ headers: { 'bad name': 'x' } }, 'must be a valid HTTP token'],
    [{ body: Promise.resolve('x') }, 'response.body: this cannot be sent: a promise'],
    [{ body: new Map([['a', 1]]) }, 'response.body: this cannot be sent: an instance of Map'],
    [{ body: new Blob(['x']) }, 'response.body: this cannot be sent: an instance of Blob'],
    [{ body: Symbol('s') }, 'response.body: this value cannot be sent as JSON'],
  ])('cannot be made of %p', (init, message) => {
    expect(() => new UpstreamResponse(init as object)).toThrow(message);
  });
});

describe('status', () => {
  it('can be set to any final one, and brings its usual reason phrase', () => {
    const response = new UpstreamResponse({ status: 200, statusText: 'Fine' });
    response.status = 299;
    expect(response).toMatchObject({ status: 299, statusText: '' });
  });

  it.each([0, 100, 199, 600, 1000, 404.5, Number.NaN, '404'])('refuses %p', (status) => {
    const response = new UpstreamResponse({ statusText: 'Fine' });
    expect(() => {
      response.status = status as number;
    }).toThrow(RangeError);
    expect(response).toMatchObject({ status: 200, statusText: 'Fine' });
  });
});

describe('text, json and buffer', () => {
  it.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['gzip, br', (text: string) => brotliCompressSync(gzipSync(text))],
  ])('give the decoded body of %s, and leave what is sent alone', async (encoding, encode) => {
    const seen: unknown[] = [];
    const body = encode('{"user":"é"}');
    const head = { 'Content-Encoding': encoding, ETag: '"v1"' };
    const app = await behind(head, body, async (response) => {
      seen.push(await response.text(), await response.json(), await response.buffer());
      seen.push(response.body);
    });
    const res = await request(app).get('/').buffer(true).parse(asText);
    expect(seen).toEqual(['{"user":"é"}', { user: 'é' }, Buffer.from('{"user":"é"}'), undefined]);
    expect(res.headers).toMatchObject({ etag: '"v1"', 'content-encoding': encoding });
    expect(res.headers['content-length']).toBe(String(body.length));
  });

  it('read the charset that Content-Type names', async () => {
    const head = { 'Content-Type': 'text/plain; charset=iso-8859-1' };
    const app = await behind(head, Buffer.from('caf\xe9', 'latin1'), async (response) => {
      response.body = `${await response.text()}!`;
    });
    await request(app).get('/').expect('Content-Type', 'text/plain; charset=utf-8').expect('café!');
  });

  it('take a body of maxBodyBytes, and not a byte more', async () => {
    const edit =
      (maxBodyBytes: number): ResponseEdit =>
      async (response) => {
        response.maxBodyBytes = maxBodyBytes;
        await response.text();
      };
    await request(await behind({}, '12345', edit(5)))
      .get('/')
      .expect(200, '12345');
    const chunked = { 'Transfer-Encoding': 'chunked' };
    for (const head of [{ 'Content-Length': '5' }, chunked])
      await request(await behind(head, '12345', edit(4)))
        .get('/')
        .expect(502);
    const zipped = gzipSync('x'.repeat(1_000));
    expect(zipped.length).toBeLessThan(100);
    const encoded = { 'Content-Encoding': 'gzip' };
    await request(await behind(encoded, zipped, edit(999)))
      .get('/')
      .expect(502);
    await request(await behind(encoded, zipped, edit(1_000)))
      .get('/')
      .expect(200);
  });

  it('say what is too long', async () => {
    const response = new UpstreamResponse({ body: Readable.from(['123', '45']) });
    response.maxBodyBytes = 4;
    await expect(response.text()).rejects.toThrow(
      new RangeError('The body is longer than 4 bytes'),
    );
  });

  it('give what was assigned', async () => {
    const response = new UpstreamResponse({ body: 'before' });
    response.body = { after: true };
    expect(await response.json()).toEqual({ after: true });
    response.body = Readable.from(['of a stream']);
    expect(await response.text()).toBe('of a stream');
    expect(await response.text()).toBe('of a stream');
    expect(response.body).toEqual(Buffer.from('of a stream'));
  });

  it('are empty where there can be no body, and json() ends the edit quietly', async () => {
    const response = new UpstreamResponse({ status: 304 });
    expect(await response.text()).toBe('');
    await expect(response.json()).rejects.toThrow('This response has no body to parse');
    const app = answering(
      () => new UpstreamResponse({ status: 304 }),
      async (response) => {
        response.headers.set('X-Before', 'stands');
        await response.json();
        response.headers.set('X-After', 'is not reached');
      },
      (response) => {
        response.headers.set('X-Next', 'runs');
      },
    );
    const { headers } = await request(app).get('/').expect(304);
    expect(headers).toMatchObject({ 'x-before': 'stands', 'x-next': 'runs' });
    expect(headers).not.toHaveProperty('x-after');
  });
});

describe('stream', () => {
  it('gives decoded bytes, to be assigned again', async () => {
    const app = await behind({ 'Content-Encoding': 'gzip' }, gzipSync('streamed'), (response) => {
      response.body = response.stream().pipe(shouting());
    });
    const { headers } = await request(app).get('/').expect('STREAMED');
    expect(headers).not.toHaveProperty('content-encoding');
  });

  it('gives decoded bytes after another edit has read the body', async () => {
    const read: ResponseEdit = async (response) => void (await response.text());
    const head = { 'Content-Encoding': 'gzip' };
    const app = await behind(head, gzipSync('read before'), read, (response) =>
      response.pipeThrough(shouting()),
    );
    await request(app).get('/').expect('READ BEFORE');
  });

  it('gives what was assigned', async () => {
    expect(await readText(new UpstreamResponse({ body: 'bytes' }).stream())).toBe('bytes');
    const stream = Readable.from(['chunks']);
    expect(new UpstreamResponse({ body: stream }).stream()).toBe(stream);
  });

  it('is empty where there can be no body', async () => {
    expect(await readText(new UpstreamResponse({ status: 204 }).stream())).toBe('');
  });

  it('cannot be taken twice', async () => {
    const response = new UpstreamResponse({ body: Readable.from(['once']) });
    response.stream().destroy();
    const words = 'response.stream() has been called before, the body is being read';
    expect(() => response.stream()).toThrow(words);
    await expect(response.text()).rejects.toThrow(words);
  });

  it('that nobody sends is an answer that cannot be sent', async () => {
    const app = await behind({}, 'taken', (response) => void response.stream().resume());
    await request(app).get('/').expect(502);
  });
});

describe('body', () => {
  it('is undefined while the upstream’s own stands, then what was assigned', () => {
    const response = new UpstreamResponse();
    expect(response.body).toBeUndefined();
    response.body = 'text';
    expect(response.body).toEqual(Buffer.from('text'));
    const stream = Readable.from([]);
    response.body = stream;
    expect(response.body).toBe(stream);
  });

  it('goes out with the right length and without what described the old one', async () => {
    const stale = {
      'Content-Encoding': 'identity',
      'Content-MD5': 'x',
      Digest: 'x',
      'Content-Digest': 'x',
      'Repr-Digest': 'x',
      ETag: '"x"',
      'Accept-Ranges': 'bytes',
      Trailer: 'x-checksum',
      'Content-Range': 'bytes 0-2/9',
    };
    const app = await behind({ ...stale, 'X-Kept': 'yes' }, 'old', (response) => {
      response.body = 'ünïcödé';
    });
    const { headers } = await request(app).get('/').expect('Content-Length', '11');
    expect(headers).toHaveProperty('x-kept', 'yes');
    for (const name of Object.keys(stale)) expect(headers).not.toHaveProperty(name.toLowerCase());
  });

  const replace: ResponseEdit = (response) => {
    response.body = 'new';
  };
  it.each<[string, number, Record<string, string>, ResponseEdit, number, string]>([
    ['unread is whole', 206, RANGE, replace, 200, 'new'],
    [
      'read first is no range any more, and not the whole either',
      206,
      RANGE,
      async (response) => {
        response.body = (await response.text()).toUpperCase();
      },
      206,
      'OLD',
    ],
    [
      'piped through is no range any more either',
      206,
      RANGE,
      (response) => response.pipeThrough(shouting()),
      206,
      'OLD',
    ],
    ['of several', 206, {}, replace, 206, 'new'],
    ['that is none', 416, RANGE, replace, 416, 'new'],
  ])('in the place of a part %s', async (_, status, head, edit, sent, body) => {
    const app = await behindStatus(status, head, 'old', edit);
    const answer = await request(app).get('/').expect(sent);
    expect(String(answer.text ?? answer.body)).toBe(body);
    expect(answer.headers).not.toHaveProperty('content-range');
  });

  it('leaves a part as it is that nobody replaces', async () => {
    const edit: ResponseEdit = ({ headers }) => void headers.set('X-Seen', 'yes');
    const { headers } = await request(await behindStatus(206, RANGE, 'old', edit))
      .get('/')
      .expect(206);
    expect(headers).toMatchObject({ 'content-range': 'bytes 0-2/9', 'content-length': '3' });
  });

  it('keeps fields that are set after it', async () => {
    const app = await behind({ ETag: '"old"' }, 'old', (response) => {
      response.body = 'new';
      response.headers.set('ETag', '"new"');
    });
    await request(app).get('/').expect('ETag', '"new"');
  });

  it('destroys the stream that it takes the place of, taken or not', async () => {
    for (const take of [false, true]) {
      const before = new PassThrough();
      const response = new UpstreamResponse({ body: before });
      if (take) response.stream();
      const closed = once(before, 'close');
      response.body = 'text';
      await closed;
    }
  });

  it('refuses what has no JSON, which is 502', async () => {
    const app = await behind({}, 'old', (response) => {
      response.body = (() => {}) as object;
    });
    await request(app).get('/').expect(502);
  });
});

describe('pipeThrough', () => {
  it('sends the decoded body through a Transform', async () => {
    const app = await behind({ 'Content-Encoding': 'br' }, brotliCompressSync('loud'), (response) =>
      response.pipeThrough(shouting()),
    );
    const { headers } = await request(app).get('/').expect('LOUD');
    expect(headers).not.toHaveProperty('content-length');
    expect(headers).not.toHaveProperty('content-encoding');
  });

  it('breaks the answer off when a Transform throws', async () => {
    const throwing = () =>
      new Transform({
        transform(chunk) {
          JSON.parse(String(chunk));
        },
      });
    const app = await behind({}, 'loud', (response) => response.pipeThrough(throwing()));
    await expect(request(app).get('/')).rejects.toThrow('aborted');
  });

  it('sends it through a TransformStream', async () => {
    const shoutingWeb = new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase()));
      },
    });
    const app = await behind({}, 'loud', (response) => response.pipeThrough(shoutingWeb));
    await request(app).get('/').expect('LOUD');
  });

  it('takes the streams of other libraries, which are not those of Node', async () => {
    class Old extends Stream {
      readonly readable = true;
      readonly writable = true;
      write(chunk: Buffer): boolean {
        this.emit('data', Buffer.from(String(chunk).toUpperCase()));
        return true;
      }
      end(): void {
        this.emit('end');
        this.emit('close');
      }
    }
    const app = await behind({}, 'loud', (response) => response.pipeThrough(new Old() as never));
    await request(app).get('/').expect('LOUD');
    const assigned = await behind({}, 'loud', (response) => {
      response.body = response.stream().pipe(new Old() as never);
    });
    await request(assigned).get('/').expect('LOUD');
  });

  it('can be chained', async () => {
    const app = await behind({}, 'loud', (response) => {
      response.pipeThrough(shouting());
      response.pipeThrough(
        new Transform({ transform: (chunk, _encoding, done) => done(null, `${chunk}!`) }),
      );
    });
    await request(app).get('/').expect('LOUD!');
  });

  it('passes an empty body, whatever coding it claims', async () => {
    const head = { 'Content-Encoding': 'gzip', 'Content-Length': '0' };
    const app = await behind(head, '', (response) => response.pipeThrough(shouting()));
    await request(app).get('/').expect(200, '');
  });

  it('breaks the connection when the transform fails', async () => {
    const app = await behind({}, 'body', (response) =>
      response.pipeThrough(
        new Transform({ transform: (_chunk, _encoding, done) => done(new Error('no')) }),
      ),
    );
    await expect(request(app).get('/')).rejects.toThrow(/aborted|hang up/);
  });
});

describe('discard', () => {
  it('destroys what has been assigned or taken, and leaves nothing to read', async () => {
    for (const take of [false, true]) {
      const stream = new PassThrough();
      const response = new UpstreamResponse({ body: stream });
      if (take) response.stream();
      const closed = once(stream, 'close');
      response.discard();
      await closed;
      const words = 'The response has been discarded, its body is gone';
      await expect(response.text()).rejects.toThrow(words);
      expect(() => response.stream()).toThrow(words);
    }
  });

  it('makes it an answer that cannot be sent', async () => {
    const app = await behind({}, 'dropped', (response) => response.discard());
    await request(app).get('/').expect(502);
  });
});

/** A parser for supertest that gives the body as text, whatever its type. */
function asText(res: request.Response, done: (error: Error | null, body: unknown) => void): void {
  const chunks: Buffer[] = [];
  (res as unknown as Readable)
    .on('data', (chunk) => chunks.push(Buffer.from(chunk)))
    .on('end', () => done(null, Buffer.concat(chunks).toString()));
}

import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express, { type NextFunction, type Request, type Response } from 'express';
import fc from 'fast-check';
import { parsedBody, unwritable } from '../../src/transport/parsed-body.js';
import { type Receive, receiver } from '../helpers/inbound.js';

type Parser = (req: Request, res: Response, next: NextFunction) => void;

/** A request that a body parser has read. */
async function read(receive: Receive, parser: Parser, type: string, body: string | Buffer) {
  const bytes = Buffer.from(body).toString('latin1');
  const { req, res } = await receive(
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${bytes.length}\r\n\r\n${bytes}`,
  );
  await new Promise<void>((resolve, reject) => {
    parser(req as Request, res as Response, (error) => (error ? reject(error) : resolve()));
  });
  return req as Request;
}

/** A request with this in `req.body`. */
function withBody(body: unknown, headers: IncomingHttpHeaders = {}): IncomingMessage {
  return { body, headers } as unknown as IncomingMessage;
}

/** What is written for a body, as text. */
function written(body: unknown, type?: string): string | undefined {
  return parsedBody(withBody(body), type)?.bytes.toString();
}

const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';

describe('what express has parsed is written as it was', () => {
  it('by json(): any JSON, strings and numbers included', async () => {
    const receive = await receiver();
    const parser = express.json({ strict: false });
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 3 }), async (value) => {
        const req = await read(receive, parser, JSON_TYPE, JSON.stringify(value));
        const { bytes, contentType } = parsedBody(req, JSON_TYPE) ?? {};
        expect(JSON.parse(String(bytes))).toEqual(JSON.parse(JSON.stringify(value)));
        expect(contentType).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it('by urlencoded(): any form, nested as deep as its parser reads', async () => {
    const receive = await receiver();
    const parser = express.urlencoded({ extended: true });
    const key = fc.stringMatching(/^[a-zé&=% +]{1,4}$/);
    const text = fc.string({ unit: 'grapheme', maxLength: 5 });
    const value = fc.letrec((tie) => ({
      leaf: text,
      list: fc.array(text, { minLength: 1, maxLength: 3 }),
      group: fc.dictionary(key, tie('leaf'), { minKeys: 1, maxKeys: 2, noNullPrototype: true }),
      any: fc.oneof(tie('leaf'), tie('list'), tie('group')),
    })).any;
    const form = fc.dictionary(key, value, { minKeys: 1, maxKeys: 3, noNullPrototype: true });
    await fc.assert(
      fc.asyncProperty(form, async (body) => {
        const bytes = parsedBody(withBody(body), FORM_TYPE)?.bytes ?? '';
        expect((await read(receive, parser, FORM_TYPE, bytes)).body).toEqual(body);
      }),
      { numRuns: 100 },
    );
  });

  it('by text() and raw(): byte for byte', async () => {
    const receive = await receiver();
    const text = await read(receive, express.text(), 'text/plain', 'naïve 日本');
    expect(parsedBody(text, 'text/plain')).toEqual({
      bytes: Buffer.from('naïve 日本'),
      contentType: undefined,
    });
    const type = 'application/octet-stream';
    const bytes = Buffer.from([0, 255, 128, 10]);
    expect(parsedBody(await read(receive, express.raw(), type, bytes), type)).toEqual({
      bytes,
      contentType: undefined,
    });
  });

  it('by text() in latin-1: in latin-1', async () => {
    const receive = await receiver();
    const type = 'text/plain; charset=iso-8859-1';
    const body = Buffer.from('caf\xe9', 'latin1');
    const req = await read(receive, express.text(), type, body);
    expect(req.body).toBe('café');
    expect(parsedBody(req, type)).toEqual({ bytes: body, contentType: undefined });
  });

  it('by text() told to read JSON: as the text it is', async () => {
    const receive = await receiver();
    const req = await read(receive, express.text({ type: '*/*' }), JSON_TYPE, '{ "a" : 1 }');
    expect(parsedBody(req, JSON_TYPE)?.bytes.toString()).toBe('{ "a" : 1 }');
  });

  it.each(['"123"', '"true"', '"null"', '"{\\"a\\":1}"', '"\\"é\\""', '"[]"'])(
    'by json(): %s, a string whose text is JSON itself',
    async (text) => {
      const req = await read(await receiver(), express.json({ strict: false }), JSON_TYPE, text);
      expect(parsedBody(req, JSON_TYPE)?.bytes.toString()).toBe(text);
    },
  );

  it.each(['123', 'true', '{"a":1}', '"123"', '"\\"é\\""'])(
    'by text() told to read JSON: %s',
    async (text) => {
      const req = await read(await receiver(), express.text({ type: '*/*' }), JSON_TYPE, text);
      expect(parsedBody(req, JSON_TYPE)?.bytes.toString()).toBe(text);
    },
  );

  it.each<[string, IncomingHttpHeaders]>([
    ['came in chunks', {}],
    ['came compressed', { 'content-length': '5', 'content-encoding': 'gzip' }],
    ['was edited', { 'content-length': '17' }],
  ])('as text where a string is JSON and nothing tells, as it %s', (_, headers) => {
    expect(parsedBody(withBody('123', headers), JSON_TYPE)?.bytes.toString()).toBe('123');
  });
});

describe('edits made to req.body arrive', () => {
  it.each([
    [{ a: 1, b: null, c: undefined }, JSON_TYPE, '{"a":1,"b":null}'],
    [{ a: 1 }, 'application/vnd.api+json; charset=utf-8', '{"a":1}'],
    ['plain words', JSON_TYPE, '"plain words"'],
    [null, JSON_TYPE, 'null'],
    ['edited', 'text/plain', 'edited'],
    ['edited', undefined, 'edited'],
    [Buffer.from('edited'), undefined, 'edited'],
    [new Uint8Array(Buffer.from('xedited')).subarray(1), JSON_TYPE, 'edited'],
    [{ a: 'b c', 'd&e': 'é' }, FORM_TYPE, 'a=b+c&d%26e=%C3%A9'],
    [{ a: ['1', '2'] }, FORM_TYPE, 'a=1&a=2'],
    [{ a: ['1'] }, FORM_TYPE, 'a%5B0%5D=1'],
    [{ a: { b: { c: 1 } } }, FORM_TYPE, 'a%5Bb%5D%5Bc%5D=1'],
    [{ a: [{ b: 1 }, { b: 2 }] }, FORM_TYPE, 'a%5B0%5D%5Bb%5D=1&a%5B1%5D%5Bb%5D=2'],
    [{ a: null, b: undefined, c: true, d: [] }, FORM_TYPE, 'a=&b=&c=true'],
    [{ a: 1 }, `${FORM_TYPE} ; charset=utf-8`, 'a=1'],
  ])('%p as %s', (body, type, text) => {
    expect(written(body, type)).toBe(text);
  });

  it('in UTF-8, and the type says so where it said otherwise', () => {
    expect(parsedBody(withBody('日本'), 'text/plain; charset=latin1')).toEqual({
      bytes: Buffer.from('日本'),
      contentType: 'text/plain; charset=utf-8',
    });
    expect(parsedBody(withBody('a'), 'text/plain; charset=utf-16')?.contentType).toBe(
      'text/plain; charset=utf-8',
    );
    expect(parsedBody(withBody({}), 'application/json;charset=UTF8')?.contentType).toBeUndefined();
  });
});

describe('what cannot be written is not', () => {
  it.each([
    [undefined, JSON_TYPE],
    [{ a: 1 }, 'multipart/form-data; boundary=x'],
    [{ a: 1 }, 'application/x-www-form-urlencodedx'],
    [{ a: 1 }, undefined],
    [5, 'text/plain'],
    [null, FORM_TYPE],
    [() => {}, JSON_TYPE],
  ])('%p as %s', (body, type) => {
    expect(parsedBody(withBody(body), type)).toBeUndefined();
  });

  it.each([
    [undefined, JSON_TYPE, 'nothing was left in req.body that can be sent'],
    [{ secret: 1 }, 'text/plain', 'req.body is an object, but Content-Type is "text/plain"'],
    [['secret'], 'text/plain', 'req.body is an object, but Content-Type is "text/plain"'],
    [{ secret: 1 }, undefined, 'req.body is an object, but there is no Content-Type'],
    [5, 'text/plain', 'req.body is a number, but Content-Type is "text/plain"'],
    [null, FORM_TYPE, `req.body is null, but Content-Type is "${FORM_TYPE}"`],
  ])('%p as %s: %s', (body, type, why) => {
    expect(unwritable(withBody(body), type)).toBe(why);
  });
});

import { Readable, Stream } from 'node:stream';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { HeaderList } from 'headrace';
import {
  collect,
  decodedStream,
  encodeBody,
  isStream,
  toReadable,
} from '../../src/exchange/body-bytes.js';

const web = () => new Blob(['body']).stream() as never;

describe('isStream', () => {
  it.each([
    [Readable.from([]), true],
    [new Stream(), true],
    ['text', false],
    [Buffer.from('bytes'), false],
    [{ a: 1 }, false],
    [null, false],
    [undefined, false],
  ])('of %p is %p', (body, answer) => {
    expect(isStream(body)).toBe(answer);
  });

  it('is true of a web stream', async () => {
    const stream = web();
    expect(isStream(stream)).toBe(true);
    // Unread, it would keep the file open.
    await text(stream);
  });
});

describe('toReadable', () => {
  it('leaves a Readable as it is, and reads the others', async () => {
    const readable = Readable.from(['body']);
    expect(toReadable(readable)).toBe(readable);
    expect(await text(toReadable(web()))).toBe('body');
    const old = new Stream();
    const read = text(toReadable(old as never));
    old.emit('data', Buffer.from('bo'));
    old.emit('data', Buffer.from('dy'));
    old.emit('end');
    expect(await read).toBe('body');
  });
});

describe('encodeBody', () => {
  it.each([
    ['é', undefined, 'é', undefined],
    ['é', 'text/html', 'é', 'text/html'],
    ['é', 'text/html; charset=latin1', 'é', 'text/html; charset=utf-8'],
    [{ a: 1 }, undefined, '{"a":1}', 'application/json; charset=utf-8'],
    [{ a: 1 }, 'text/html', '{"a":1}', 'application/json; charset=utf-8'],
    [{ a: 1 }, 'application/ld+json', '{"a":1}', 'application/ld+json'],
    [Buffer.from('bytes'), 'text/html; charset=latin1', 'bytes', 'text/html; charset=latin1'],
    [new Uint8Array(Buffer.from('xbytes')).subarray(1), undefined, 'bytes', undefined],
  ])('writes %j of type %s', (body, type, written, newType) => {
    const headers = HeaderList.from({ 'content-type': type });
    expect(encodeBody(body, headers).toString()).toBe(written);
    expect(headers.get('content-type')).toBe(newType);
  });
});

describe('decodedStream', () => {
  it('undoes a content coding, and is the stream itself where there is none', async () => {
    const plain = Readable.from(['body']);
    expect(decodedStream(plain, undefined)).toBe(plain);
    expect(await text(decodedStream(Readable.from([gzipSync('body')]), 'gzip'))).toBe('body');
  });

  it('fails with its source', async () => {
    const source = new Readable({ read: () => source.destroy(new Error('broken off')) });
    await expect(text(decodedStream(source, 'gzip'))).rejects.toThrow('broken off');
  });
});

describe('collect', () => {
  it('gives all of a stream, text included, up to the limit', async () => {
    expect(await collect(Readable.from(['é', Buffer.from('b')]), 3)).toEqual(Buffer.from('éb'));
    expect(await collect(Readable.from([]), 0)).toHaveLength(0);
  });

  it('fails past the limit, and lets the stream go', async () => {
    const stream = Readable.from([Buffer.alloc(3), Buffer.alloc(1)]);
    await expect(collect(stream, 3)).rejects.toThrow(
      new RangeError('The body is longer than 3 bytes'),
    );
    expect(stream.destroyed).toBe(true);
  });
});

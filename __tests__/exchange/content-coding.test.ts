import { once } from 'node:events';
import { type Duplex, pipeline, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import * as zlib from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decode, decoders } from '../../src/exchange/content-coding.js';

const NO_LIMIT = 1_048_576;
const plain = Buffer.from('response from server backend'.repeat(50));

/** Node has Zstandard from 22.15 on. */
const zstd = (zlib as { zstdCompressSync?: (body: Buffer) => Buffer }).zstdCompressSync;

const CODINGS: [string, (body: Buffer) => Buffer][] = [
  ['gzip', (body) => zlib.gzipSync(body)],
  ['x-gzip', (body) => zlib.gzipSync(body)],
  ['deflate', (body) => zlib.deflateSync(body)],
  ['deflate', (body) => zlib.deflateRawSync(body)],
  ['br', (body) => zlib.brotliCompressSync(body)],
  ...(zstd ? [['zstd', zstd] as [string, (body: Buffer) => Buffer]] : []),
];

/** What comes out of the streams for an encoding, when the body comes in chunks of `size` bytes. */
async function streamed(body: Buffer, encoding: string | undefined, size = 7): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) chunks.push(body.subarray(at, at + size));
  const steps = [Readable.from(chunks), ...decoders(encoding)];
  // Errors of any step show up on the last one.
  pipeline(steps, () => {});
  return buffer(steps[steps.length - 1] as Readable);
}

describe.each(CODINGS)('%s', (name, encode) => {
  it('is undone, in any case', async () => {
    expect(await decode(encode(plain), name, NO_LIMIT)).toEqual(plain);
    expect(await decode(encode(plain), name.toUpperCase(), NO_LIMIT)).toEqual(plain);
  });

  it('is undone in a stream', async () => {
    expect(await streamed(encode(plain), name)).toEqual(plain);
    expect(await streamed(encode(plain), name, 1)).toEqual(plain);
  });

  it('fails for a body that is no such thing', async () => {
    const other = Buffer.from('<html>not what it claims to be</html>');
    await expect(decode(other, name, NO_LIMIT)).rejects.toThrow();
    await expect(streamed(other, name)).rejects.toThrow();
  });

  // Node 22 takes half a Zstandard frame for a whole one.
  const isNoticed = name !== 'zstd' || Number.parseInt(process.versions.node, 10) > 22;
  (isNoticed ? it : it.skip)('fails for a body that is cut short', async () => {
    const cut = encode(plain).subarray(0, -9);
    await expect(decode(cut, name, NO_LIMIT)).rejects.toThrow();
    await expect(streamed(cut, name)).rejects.toThrow();
  });

  it('ends where it says, whatever is behind it', async () => {
    // Zstandard has no end: what is behind a frame is one more.
    if (name === 'zstd') return;
    const padded = Buffer.concat([encode(plain), Buffer.alloc(8)]);
    expect(await decode(padded, name, NO_LIMIT)).toEqual(plain);
    for (const size of [7, padded.length - 8, padded.length]) {
      expect(await streamed(padded, name, size)).toEqual(plain);
    }
  });

  it('takes a limit beyond what a buffer can hold', async () => {
    expect(await decode(encode(plain), name, Number.MAX_SAFE_INTEGER)).toEqual(plain);
  });

  it('costs no more than the limit, to the byte', async () => {
    expect(await decode(encode(plain), name, plain.length)).toEqual(plain);
    await expect(decode(encode(plain), name, plain.length - 1)).rejects.toThrow();
  });
});

(zstd ? describe : describe.skip)('frames of zstd behind each other', () => {
  const frames = (...texts: string[]): Buffer =>
    Buffer.concat(texts.map((text) => (zstd as NonNullable<typeof zstd>)(Buffer.from(text))));

  it('are all decoded, wherever a chunk ends', async () => {
    const body = frames('one, ', 'two, ', '', 'three');
    expect(String(await decode(body, 'zstd', NO_LIMIT))).toBe('one, two, three');
    for (let size = 1; size <= body.length; size++) {
      expect(String(await streamed(body, 'zstd', size))).toBe('one, two, three');
    }
  });

  it('fail where one is none', async () => {
    const broken = Buffer.concat([frames('one, ', 'two'), Buffer.from('three')]);
    await expect(decode(broken, 'zstd', NO_LIMIT)).rejects.toThrow();
    await expect(streamed(broken, 'zstd', broken.length)).rejects.toThrow();
  });

  it('come to no more than the limit together', async () => {
    const body = frames('one, ', 'two');
    expect(String(await decode(body, 'zstd', 8))).toBe('one, two');
    await expect(decode(body, 'zstd', 7)).rejects.toThrow();
  });

  // From Node 26 on, it decodes them at one go.
  const isCounted = Number.parseInt(process.versions.node, 10) < 26;
  (isCounted ? it : it.skip)('are so many at most', async () => {
    const empty = frames('');
    const many = Buffer.concat(Array<Buffer>(10_001).fill(empty));
    await expect(decode(many, 'zstd', NO_LIMIT)).rejects.toThrow('more than 10000 frames');
  });
});

describe('an encoding', () => {
  it.each([[undefined], [''], ['identity'], [' , Identity,']])(
    '%p leaves the body as it is',
    async (encoding) => {
      expect(await decode(plain, encoding, 1)).toBe(plain);
      expect(decoders(encoding)).toEqual([]);
    },
  );

  it.each(['gzip', 'deflate', 'br', 'gzip, br'])(
    '%s of an empty body is empty',
    async (encoding) => {
      expect(await decode(Buffer.alloc(0), encoding, 1)).toHaveLength(0);
      expect(await streamed(Buffer.alloc(0), encoding)).toHaveLength(0);
    },
  );

  it('of several layers is undone from the last to the first', async () => {
    const body = zlib.brotliCompressSync(zlib.gzipSync(plain));
    expect(await decode(body, 'gzip, identity, br', NO_LIMIT)).toEqual(plain);
    expect(await streamed(body, 'gzip,br')).toEqual(plain);
    await expect(decode(body, 'br, gzip', NO_LIMIT)).rejects.toThrow();
  });

  it('may have five layers and no more', async () => {
    let body = plain;
    for (let i = 0; i < 5; i++) body = zlib.gzipSync(body);
    expect(await decode(body, 'gzip,gzip,gzip,gzip,gzip', NO_LIMIT)).toEqual(plain);
    const six = 'gzip,gzip,gzip,gzip,gzip,gzip';
    await expect(decode(zlib.gzipSync(body), six, NO_LIMIT)).rejects.toThrow(
      'The body has 6 layers of content coding, at most 5 are undone',
    );
    expect(() => decoders(six)).toThrow(/6 layers/);
  });

  it('is limited in every layer, not just the last', async () => {
    const wide = zlib.gzipSync(zlib.gzipSync(Buffer.alloc(1_000_000)), { level: 0 });
    const inner = zlib.gunzipSync(wide).length;
    await expect(decode(wide, 'gzip, gzip', inner - 1)).rejects.toThrow();
  });

  it.each(['rot13', 'constructor', '__proto__', 'gzip, compress'])(
    '%s is refused by name',
    async (encoding) => {
      const name = encoding.split(', ').pop();
      const words = `The content coding "${name}" cannot be undone`;
      await expect(decode(plain, encoding, NO_LIMIT)).rejects.toThrow(words);
      expect(() => decoders(encoding)).toThrow(words);
    },
  );

  it('is not repeated at length in a message', async () => {
    await expect(decode(plain, 'x'.repeat(1_000), NO_LIMIT)).rejects.toThrow(
      `The content coding "${'x'.repeat(20)}" cannot be undone`,
    );
  });

  it('bomb of 100 MiB of zeros stops at the limit', async () => {
    const bomb = zlib.gzipSync(zlib.gzipSync(Buffer.alloc(100 * 1_048_576)));
    await expect(decode(bomb, 'gzip, gzip', NO_LIMIT)).rejects.toThrow(/larger than 1048576/);
  });

  it('is undone no faster than it is read', async () => {
    const bomb = zlib.gzipSync(Buffer.alloc(100 * 1_048_576));
    const [decoder] = decoders('gzip') as [Duplex];
    decoder.end(bomb);
    await once(decoder, 'readable');
    for (let turn = 0; turn < 100; turn++) await setImmediate();
    expect(decoder.readableLength).toBeLessThanOrEqual(2 * decoder.readableHighWaterMark + 16_384);
    expect(decoder.writableLength).toBe(bomb.length);
    decoder.destroy();
    await once(decoder, 'close');
  });

  it('is given up before or after its first byte', async () => {
    const [early] = decoders('gzip') as [Duplex];
    early.destroy();
    await once(early, 'close');
    const [late] = decoders('gzip') as [Duplex];
    late.write(zlib.gzipSync(plain).subarray(0, 5));
    late.destroy(new Error('given up'));
    const [error] = await once(late, 'error');
    expect(error.message).toBe('given up');
  });

  it('gives back what was put in, whatever it was', async () => {
    const layers = fc.array(fc.constantFrom(...CODINGS), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        layers,
        async (bytes, used) => {
          const original = Buffer.from(bytes);
          const body = used.reduce<Buffer>((inner, [, encode]) => encode(inner), original);
          const encoding = used.map(([name]) => name).join(', ');
          expect(await decode(body, encoding, NO_LIMIT)).toEqual(original);
          expect(await streamed(body, encoding)).toEqual(original);
        },
      ),
    );
  });
});

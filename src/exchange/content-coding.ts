import type { Duplex } from 'node:stream';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

/** More layers of coding than this are an attack, not a body. */
const MAX_LAYERS = 5;

type Decode = (body: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;

interface Coding {
  /** Decodes a whole body, and fails once the result is longer than `maxOutputLength`. */
  readonly decode: Decode;
  /** Makes a stream that decodes. */
  readonly stream: () => Duplex;
}

/** Zstandard came with Node 22.15; older ones do without it. */
const zstd = zlib as typeof zlib & {
  zstdDecompress?: (
    body: Buffer,
    options: object,
    done: (error: Error | null, body: Buffer) => void,
  ) => void;
  createZstdDecompress?: () => Duplex;
};

const codings: Readonly<Record<string, Coding | undefined>> = {
  gzip: { decode: promisify(zlib.gunzip) as Decode, stream: zlib.createGunzip },
  'x-gzip': { decode: promisify(zlib.gunzip) as Decode, stream: zlib.createGunzip },
  deflate: { decode: inflate, stream: zlib.createInflate },
  br: { decode: promisify(zlib.brotliDecompress) as Decode, stream: zlib.createBrotliDecompress },
  zstd:
    zstd.zstdDecompress && zstd.createZstdDecompress
      ? { decode: promisify(zstd.zstdDecompress) as Decode, stream: zstd.createZstdDecompress }
      : undefined,
};

/**
 * Undoes the codings that a `Content-Encoding` value names, last applied first.
 *
 * @throws Error when a coding is unknown, the body is not what it claims, or any layer of it is
 *   longer than `maxBytes`.
 */
export async function decode(
  body: Buffer,
  encoding: string | undefined,
  maxBytes: number,
): Promise<Buffer> {
  if (body.length === 0) return body;
  let plain = body;
  for (const coding of layers(encoding)) {
    plain = await coding.decode(plain, { maxOutputLength: maxBytes });
  }
  return plain;
}

/** The streams that undo the codings a `Content-Encoding` value names, in the order to pipe through. */
export function decoders(encoding: string | undefined): Duplex[] {
  return layers(encoding).map((coding) => coding.stream());
}

function layers(encoding: string | undefined): Coding[] {
  if (encoding === undefined) return [];
  const names = encoding
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '' && name !== 'identity');
  if (names.length > MAX_LAYERS) {
    throw new Error(
      `The body has ${names.length} layers of content coding, at most ${MAX_LAYERS} are undone`,
    );
  }
  return names.reverse().map((name) => {
    const coding = Object.hasOwn(codings, name) ? codings[name] : undefined;
    if (coding === undefined)
      throw new Error(`The content coding "${name.slice(0, 20)}" cannot be undone`);
    return coding;
  });
}

/** Some servers send `deflate` without the zlib wrapper that RFC 9110, 8.4.1.2 asks for. */
async function inflate(body: Buffer, options: zlib.ZlibOptions): Promise<Buffer> {
  const wrapped =
    body.length > 1 && ((body[0] as number) & 0x0f) === 8 && body.readUInt16BE(0) % 31 === 0;
  return promisify(wrapped ? zlib.inflate : zlib.inflateRaw)(body, options) as Promise<Buffer>;
}

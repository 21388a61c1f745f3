import { type Duplex, Transform, type TransformCallback } from 'node:stream';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

/** More layers of coding than this are an attack, not a body. */
const MAX_LAYERS = 5;

type Decode = (body: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;

interface Coding {
  /** Decodes a whole body, and fails once the result is longer than `maxOutputLength`. */
  readonly decode: Decode;
  /** Makes a stream that decodes a body that begins with these bytes. */
  readonly stream: (first: Buffer) => Duplex;
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

const gzip: Coding = {
  decode: promisify(zlib.gunzip) as Decode,
  stream: () => zlib.createGunzip(),
};

const codings: Readonly<Record<string, Coding | undefined>> = {
  gzip,
  'x-gzip': gzip,
  deflate: {
    decode: (body, options) =>
      promisify(isWrapped(body) ? zlib.inflate : zlib.inflateRaw)(body, options) as Promise<Buffer>,
    stream: (first) => (isWrapped(first) ? zlib.createInflate() : zlib.createInflateRaw()),
  },
  br: {
    decode: promisify(zlib.brotliDecompress) as Decode,
    stream: () => zlib.createBrotliDecompress(),
  },
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
  return layers(encoding).map((coding) => new Decoder(coding));
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

/**
 * Some servers send `deflate` without the zlib wrapper that RFC 9110, 8.4.1.2 asks for. The wrapper
 * begins with its method, 8; a deflate block does not.
 */
function isWrapped(body: Buffer): boolean {
  return ((body[0] as number) & 0x0f) === 8;
}

/**
 * Decodes with a stream that is made at the first byte: what kind of `deflate` it is shows there, and
 * an empty body is not coded at all, whatever its head says.
 */
class Decoder extends Transform {
  readonly #coding: Coding;
  #stream: Duplex | undefined = undefined;

  constructor(coding: Coding) {
    super();
    this.#coding = coding;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (chunk.length === 0) return done();
    this.#stream ??= this.#open(chunk);
    this.#stream.write(chunk, done);
  }

  override _flush(done: TransformCallback): void {
    if (this.#stream === undefined) return done();
    this.#stream.once('end', done).end();
  }

  override _read(size: number): void {
    this.#stream?.resume();
    super._read(size);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#stream?.destroy();
    super._destroy(error, done);
  }

  #open(first: Buffer): Duplex {
    const stream = this.#coding.stream(first);
    stream.on('data', (chunk) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('error', (error) => this.destroy(error));
    return stream;
  }
}

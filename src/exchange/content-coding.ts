import { kMaxLength } from 'node:buffer';
import { type Duplex, Transform, type TransformCallback } from 'node:stream';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { emptyList } from '../lists.js';

/** More layers of coding than this are an attack, not a body. */
const MAX_LAYERS = 5;
/** Each costs as much as a short body. */
const MAX_FRAMES = 10_000;
const NOTHING = Buffer.alloc(0);

type Decode = (body: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>;

interface Coding {
  /** Decodes a whole body, and fails once the result is longer than `maxOutputLength`. */
  readonly decode: Decode;
  /** Makes a stream that decodes a body that begins with these bytes. */
  readonly stream: (first: Buffer) => CodingStream;
  /** Whether a body may be several of its kind, one behind the other, of which a stream decodes but one. */
  readonly isRepeatable?: boolean;
}

/** `bytesWritten` is what it has taken of what it was given. */
type CodingStream = Duplex & { readonly bytesWritten: number };

/** Zstandard came with Node 22.15; older ones do without it. */
const zstd = zlib as typeof zlib & {
  zstdDecompress?: (
    body: Buffer,
    options: zlib.ZlibOptions,
    done: (error: Error | null, decoded: Frame) => void,
  ) => void;
  createZstdDecompress?: () => CodingStream;
};

/** One frame of a body, with what has decoded it. */
interface Frame {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

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
      ? {
          decode: frameByFrame(promisify(zstd.zstdDecompress)),
          stream: zstd.createZstdDecompress,
          isRepeatable: true,
        }
      : undefined,
};

/** RFC 8878, 3: a body is one frame or more. Up to Node 24, only the first is decoded. */
function frameByFrame(
  decodeFrame: (body: Buffer, options: zlib.ZlibOptions) => Promise<Frame>,
): Decode {
  return async function decodeFrames(body, { maxOutputLength = 0 }) {
    const frames: Buffer[] = emptyList();
    let room = maxOutputLength;
    for (let at = 0; at < body.length; ) {
      const options = { maxOutputLength: Math.max(room, 1), info: true };
      const { buffer, engine } = await decodeFrame(body.subarray(at), options);
      room -= buffer.length;
      if (room < 0) throw new RangeError(`The body is longer than ${maxOutputLength} bytes`);
      if (frames.push(buffer) > MAX_FRAMES) {
        throw new Error(`The body has more than ${MAX_FRAMES} frames of zstd`);
      }
      at += engine.bytesWritten;
    }
    return frames.length === 1 ? (frames[0] as Buffer) : Buffer.concat(frames);
  };
}

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
    plain = await coding.decode(plain, { maxOutputLength: Math.min(maxBytes, kMaxLength) });
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
 * an empty body is not coded at all, whatever its head says. What stands behind the end of the coded data is no part of it.
 */
class Decoder extends Transform {
  readonly #coding: Coding;
  #stream: CodingStream | undefined = undefined;
  /** What the stream has been given so far, and the last of it. */
  #given = 0;
  #last: Buffer = NOTHING;
  #isOver = false;
  /** To be called when the stream has taken what it was given, or all that it wants. */
  #done: TransformCallback | undefined = undefined;

  constructor(coding: Coding) {
    super();
    this.#coding = coding;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (chunk.length === 0 || this.#isOver) return done();
    this.#done = done;
    this.#decode(chunk);
  }

  override _flush(done: TransformCallback): void {
    if (this.#stream === undefined || this.#isOver) return done();
    this.#done = done;
    this.#stream.end();
  }

  override _read(size: number): void {
    this.#stream?.resume();
    super._read(size);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#stream?.destroy();
    super._destroy(error, done);
  }

  #decode(chunk: Buffer): void {
    const stream = this.#stream ?? this.#open(chunk);
    this.#stream = stream;
    this.#given += chunk.length;
    this.#last = chunk;
    // An error has its event. A stream that has come to its end need not say that it has taken the rest.
    stream.write(chunk, (error) => {
      if (!error && stream === this.#stream) this.#goOn();
    });
  }

  #open(first: Buffer): CodingStream {
    const stream = this.#coding.stream(first);
    this.#given = 0;
    stream.on('data', (chunk) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('end', () => this.#ended(stream.bytesWritten));
    stream.on('error', (error) => this.destroy(error));
    return stream;
  }

  #ended(taken: number): void {
    const rest = this.#last.subarray(this.#last.length - (this.#given - taken));
    if (rest.length > 0 && this.#coding.isRepeatable) {
      this.#stream = undefined;
      this.#decode(rest);
    } else {
      this.#isOver = true;
      this.#goOn();
    }
  }

  #goOn(): void {
    const done = this.#done;
    this.#done = undefined;
    done?.();
  }
}

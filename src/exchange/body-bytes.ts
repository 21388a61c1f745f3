import { type Duplex, pipeline, Readable } from 'node:stream';
import {
  ByteLengthQueuingStrategy,
  type ReadableStream,
  type TransformStream,
} from 'node:stream/web';
import { isAnyArrayBuffer } from 'node:util/types';
import { ignore } from '../ignore.js';
import { emptyList } from '../lists.js';
import { inspect, isPlain } from '../options.js';
import { asUtf8, charsetOf, isJson } from './charset.js';
import { decoders } from './content-coding.js';
import type { HeaderList } from './header-list.js';

/** What a body can be replaced with. What can be iterated with `for await` is a stream; other objects are sent as JSON. */
export type BodyInit = string | ArrayBufferView | ArrayBuffer | BodyStream | object;

type BodyStream = Readable | ReadableStream | AsyncIterable<string | Uint8Array>;

/** A transform of the web, by Node's types or by those of the DOM. */
export interface WebTransform {
  readonly readable: object;
  readonly writable: object;
}

/** Whether a new body is a stream: of Node, of the web, or what an asynchronous generator gives. */
export function isStream(body: unknown): body is BodyStream {
  if (typeof body !== 'object' || body === null) return false;
  return 'pipe' in body || 'getReader' in body || Symbol.asyncIterator in body;
}

/** A new body that is a stream, as a `Readable` of Node: those of other libraries only look like one. */
export function toReadable(body: BodyStream): Readable {
  if (body instanceof Readable) return body;
  if (isNodeStream(body)) return new Readable().wrap(body);
  return 'getReader' in body ? Readable.fromWeb(body) : Readable.from(body, { objectMode: false });
}

/** A body as a stream of the web. What waits in it is counted in bytes, where Node would count chunks. */
function toWeb(body: Readable): ReadableStream {
  const highWaterMark = body.readableHighWaterMark;
  return Readable.toWeb(body, { strategy: new ByteLengthQueuingStrategy({ highWaterMark }) });
}

/** What comes out of a transform of Node or of the web. What goes wrong shows up there. */
export function pipedThrough(source: Readable, transform: Duplex | WebTransform): BodyStream {
  if (!('pipe' in transform)) return toWeb(source).pipeThrough(transform as TransformStream);
  return pipeline(source, destroyedByThrows(transform as Duplex), ignore) as Duplex;
}

/** Before Node 24, what a transform throws would end the process. */
function destroyedByThrows(transform: Duplex): Duplex {
  const { _write } = transform;
  // Streams of other libraries need have none.
  if (_write === undefined) return transform;
  transform._write = function (this: Duplex, chunk, encoding, done): void {
    try {
      _write.call(this, chunk, encoding, done);
    } catch (error) {
      this.destroy(error as Error);
    }
  };
  return transform;
}

function isNodeStream(stream: object): stream is NodeJS.ReadableStream {
  return 'pipe' in stream;
}

/** The bytes of a new body that is no stream; the `Content-Type` is made to fit them. */
export function encodeBody(body: Exclude<BodyInit, Readable>, headers: HeaderList): Buffer {
  if (Buffer.isBuffer(body)) return body;
  if (isAnyArrayBuffer(body)) return Buffer.from(body);
  if (ArrayBuffer.isView(body)) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const type = headers.get('content-type');
  if (typeof body !== 'string') {
    if (!isValue(body)) {
      throw new TypeError(`response.body: this cannot be sent: ${inspect(body)}`);
    }
    if (!isJson(type)) headers.set('Content-Type', 'application/json; charset=utf-8');
    const text = JSON.stringify(body) as string | undefined;
    if (text === undefined) {
      throw new TypeError('response.body: this value cannot be sent as JSON');
    }
    return Buffer.from(text);
  }
  if (charsetOf(type) !== undefined) headers.set('Content-Type', asUtf8(type as string));
  return Buffer.from(body);
}

/** Whether something has a form in JSON: a promise that nobody has awaited, or a Map, would be `{}`. */
function isValue(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return true;
  return Array.isArray(body) || isPlain(body) || 'toJSON' in body;
}

/** A stream with the content codings undone that a `Content-Encoding` names. */
export function decodedStream(source: Readable, encoding: string | undefined): Readable {
  let stream = source;
  // Errors show up on the last stream, where the relay hears them.
  for (const step of decoders(encoding)) stream = pipeline(stream, step, ignore);
  return stream;
}

/** All of a stream; fails once it is longer than `maxBytes`. */
export async function collect(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = emptyList();
  let length = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
    length += bytes.length;
    if (length > maxBytes) throw tooLong(maxBytes);
    chunks.push(bytes);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length);
}

/** What reading a body ends in that passes its limit. */
export function tooLong(maxBytes: number): RangeError {
  return new RangeError(`The body is longer than ${maxBytes} bytes`);
}

import { pipeline, Readable } from 'node:stream';
import { ByteLengthQueuingStrategy, type ReadableStream } from 'node:stream/web';
import { isAnyArrayBuffer } from 'node:util/types';
import { ignore } from '../ignore.js';
import { emptyList } from '../lists.js';
import { asUtf8, charsetOf, isJson } from './charset.js';
import { decoders } from './content-coding.js';
import type { HeaderList } from './header-list.js';

/** What a body can be replaced with. What can be iterated with `for await` is a stream; other objects are sent as JSON. */
export type BodyInit = string | ArrayBufferView | ArrayBuffer | BodyStream | object;

type BodyStream = Readable | ReadableStream | AsyncIterable<string | Uint8Array>;

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
export function toWeb(body: Readable): ReadableStream {
  const highWaterMark = body.readableHighWaterMark;
  return Readable.toWeb(body, { strategy: new ByteLengthQueuingStrategy({ highWaterMark }) });
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

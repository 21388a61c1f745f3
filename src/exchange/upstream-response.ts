import type { ServerResponse } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { ignore } from '../ignore.js';
import { emptyList } from '../lists.js';
import { inspect, known } from '../options.js';
import { lent } from '../promises.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { Attempt } from './attempt.js';
import {
  type BodyInit,
  collect,
  decodedStream,
  encodeBody,
  isStream,
  pipedThrough,
  tooLong,
  toReadable,
  type WebTransform,
} from './body-bytes.js';
import { decodeText } from './charset.js';
import { decode } from './content-coding.js';
import { CopiedBody, type TakeRoom } from './copied-body.js';
import { BYTE_FIELDS } from './fields.js';
import { HeaderList, type HeadersInit } from './header-list.js';
import { type Content, ownBytes } from './response-content.js';

/** What a response of one's own is made from: `new UpstreamResponse({ status: 200, body: 'hi' })`. */
export interface ResponseInit {
  /** @default 200 */
  readonly status?: number | undefined;
  /** The reason phrase; the usual one of the status when it is not given. */
  readonly statusText?: string | undefined;
  readonly headers?: HeadersInit | undefined;
  readonly body?: BodyInit | undefined;
  /** The upstream it stands for, if any. */
  readonly upstream?: Upstream | undefined;
}

const INIT = ['status', 'statusText', 'headers', 'body', 'upstream'] as const;

/** Writes the head of a response; `length` is that of the body, where it is known. */
export type WriteHead = (res: ServerResponse, response: UpstreamResponse, length?: number) => void;

const WIRE: Content = { at: 'wire' };
const NOWHERE: Content = { at: 'nowhere' };

/** Fields of a response that are wrong once its body is another one. */
const STALE = [...BYTE_FIELDS, 'content-range', 'etag', 'accept-ranges', 'trailer'];

/**
 * The response of an upstream, as edits see it: its head to change, its body to read, replace or pipe
 * through a transform. Until the body is asked for, it streams past without being looked at.
 */
export class UpstreamResponse {
  /** The reason phrase that will be sent; empty for the usual one. */
  statusText: string;
  /** The header that will be sent; hop-by-hop fields are gone already. */
  headers: HeaderList;
  /** The upstream that answered. */
  readonly upstream: Upstream | undefined;
  /** The try that led to this response. */
  readonly attempt: Attempt | undefined = undefined;
  /** Whether there can be a body at all: not for HEAD, 101, 204 and 304. */
  hasBody: boolean;
  /**
   * The longest body that `text()`, `json()` and `buffer()` take, before and after decoding.
   *
   * @default 10_485_760
   */
  maxBodyBytes = 10_485_760;

  #status: number;
  #content: Content = WIRE;
  /** The decoded bytes of what was read into memory. */
  #plain: Promise<Buffer> | undefined = undefined;
  #whenDiscarded: (() => void)[] | undefined = undefined;

  /** @throws TypeError or RangeError when it cannot be sent as it is given. */
  constructor(init?: ResponseInit) {
    const { status = 200, statusText = '', headers, body, upstream } = checkedInit(init);
    this.#status = finalStatus(status);
    this.statusText = statusText;
    this.headers = HeaderList.from(headers);
    this.upstream = upstream;
    this.hasBody = !forbidsBody(status);
    if (body !== undefined) this.#replace(body);
  }

  /** The status that will be sent. A new one comes with its usual reason phrase. */
  get status(): number {
    return this.#status;
  }

  set status(status: number) {
    this.#status = finalStatus(status);
    this.statusText = '';
  }

  /** Takes over the head that came from the wire, where the status may be 101 as well. */
  protected arrive(status: number, statusText: string, headers: HeaderList): void {
    this.#status = status;
    this.statusText = statusText;
    this.headers = headers;
  }

  /** The whole body as text, decoded, in the charset that `Content-Type` names. */
  text(): Promise<string> {
    const decoded = (bytes: Buffer) => decodeText(bytes, this.headers.get('content-type'));
    return lent(this.buffer().then(decoded));
  }

  /**
   * The whole body, parsed as JSON. Where there can be no body (HEAD, 204, 304) there is nothing to
   * parse: the edit ends here, quietly, and what it changed in the head stands.
   */
  json(): Promise<unknown> {
    return lent(
      this.hasBody ? this.text().then((text) => JSON.parse(text)) : Promise.reject(new NoBody()),
    );
  }

  /**
   * The whole body, decoded.
   *
   * @throws RangeError when it is longer than `maxBodyBytes`.
   */
  buffer(): Promise<Buffer> {
    this.#plain ??= lent(this.#read());
    return this.#plain;
  }

  /**
   * The body as a stream of decoded bytes. It is yours then: assign `body` for something to be sent.
   */
  stream(): Readable {
    const stream = this.#take();
    // It may have been piped into what is sent in its place, which hears nothing of its failures.
    stream.on('error', (error) => {
      const content = this.#content;
      if (content.at === 'stream') content.stream.destroy(error);
    });
    return stream;
  }

  /** What was assigned; `undefined` while the upstream's own body stands. */
  get body(): BodyInit | undefined {
    const content = this.#content;
    if (content.at === 'edit') return ownBytes(content);
    return content.at === 'stream' && !content.isCopied ? content.stream : undefined;
  }

  /**
   * Replaces the body. `Content-Length` becomes right, and fields that described the old bytes go:
   * `Content-Encoding`, `Content-Range`, `ETag`, digests, `Accept-Ranges`. Set your own after the body.
   */
  set body(body: BodyInit) {
    // What takes the place of a part nobody has read is whole. What was made of the part stays a 206: without
    // Content-Range nobody takes it for that range, while a 200 would be kept as if it were all there is.
    const isPart = this.#status === 206 && this.headers.has('content-range');
    if (isPart && this.#content.at === 'wire') this.status = 200;
    this.#dropUnread(body);
    for (const name of STALE) this.headers.delete(name);
    this.#replace(body);
  }

  /** Sends the decoded body through a transform, chunk by chunk, without holding it. */
  pipeThrough(transform: Duplex | WebTransform): void {
    this.body = pipedThrough(this.#take(), transform);
  }

  /** Releases the response without sending it: drops the rest of its body, frees its connection. */
  discard(): void {
    const content = this.#content;
    this.#content = NOWHERE;
    if (content.at === 'taken' || content.at === 'stream') content.stream.destroy();
    this.release();
    const listeners = this.#whenDiscarded;
    if (listeners === undefined) return;
    this.#whenDiscarded = undefined;
    for (const listener of listeners) listener();
  }

  /**
   * Calls back once, when nobody wants the response any more.
   *
   * @internal
   */
  onDiscard(listener: () => void): void {
    this.#whenDiscarded ??= emptyList();
    this.#whenDiscarded.push(listener);
  }

  /**
   * Where the body is now.
   *
   * @internal
   */
  get content(): Content {
    return this.#content;
  }

  /**
   * Whether it came from an upstream and says where its body ends: one that ends with the connection may
   * have been cut.
   *
   * @internal
   */
  isDelimited = false;
  /**
   * The `Host` that its upstream was sent, where it is no response to a try of this exchange.
   *
   * @internal
   */
  sentHost: string | undefined = undefined;

  /**
   * What came behind the body.
   *
   * @internal
   */
  trailers: [string, string][] | undefined = undefined;

  /**
   * Has the body copied on its way, as it is on the wire. `done` gets nothing when there is no whole copy, or
   * no room for it.
   *
   * @internal
   */
  copyBody(take: TakeRoom, done: (copy: Buffer | undefined) => void): void {
    if (!this.hasBody) return done(Buffer.alloc(0));
    const stream = new CopiedBody(this.#open(), take, done);
    stream.on('error', ignore);
    this.#content = { at: 'stream', stream, isCopied: true };
  }

  /**
   * Has bytes as its body that others have as well: edits get copies.
   *
   * @internal
   */
  lendBody(bytes: Buffer): void {
    this.#content = { at: 'edit', bytes, isLent: true };
  }

  /**
   * Sends what comes over the wire to the client, head and all. A response without a wire is empty.
   *
   * @internal
   */
  relayTo(res: ServerResponse, writeHead: WriteHead): void {
    writeHead(res, this, 0);
    res.end();
  }

  /** The bytes on the wire as a stream. A response without a wire has none. */
  protected wire(): Readable {
    return Readable.from([]);
  }

  /** Lets go of the wire, however far it was read. */
  protected release(): void {}

  #take(): Readable {
    const content = this.#content;
    const encoding = this.headers.get('content-encoding');
    if (content.at === 'memory' || content.at === 'edit') {
      return decodedStream(Readable.from([ownBytes(content)]), encoding);
    }
    if (!this.hasBody) return Readable.from([]);
    const stream = decodedStream(this.#open(), encoding);
    this.#content = { at: 'taken', stream };
    return stream;
  }

  #open(): Readable {
    const content = this.#content;
    switch (content.at) {
      case 'wire':
        return this.wire();
      case 'stream':
        return content.stream;
      case 'taken':
        throw new Error('response.stream() has been called before, the body is being read');
      default:
        throw new Error('The response has been discarded, its body is gone');
    }
  }

  async #read(): Promise<Buffer> {
    const content = this.#content;
    const encoding = this.headers.get('content-encoding');
    if (content.at === 'edit') return decode(ownBytes(content), encoding, this.maxBodyBytes);
    if (!this.hasBody) return Buffer.alloc(0);
    if (Number(this.headers.get('content-length')) > this.maxBodyBytes)
      throw tooLong(this.maxBodyBytes);
    const stream = this.#open();
    this.#content = { at: 'taken', stream };
    const bytes = await collect(stream, this.maxBodyBytes);
    this.#content = { at: content.at === 'wire' ? 'memory' : 'edit', bytes };
    return decode(bytes, encoding, this.maxBodyBytes);
  }

  /** Lets go of the old body, unless the new one may be made of it. */
  #dropUnread(body: BodyInit): void {
    const content = this.#content;
    if (content.at === 'wire') {
      this.release();
    } else if ((content.at === 'taken' || content.at === 'stream') && !isStream(body)) {
      content.stream.destroy();
      this.release();
    }
  }

  #replace(body: BodyInit): void {
    // The new length is written when the response is sent, where it is sent with a body at all.
    this.headers.delete('content-length');
    this.#plain = undefined;
    if (isStream(body)) {
      const stream = toReadable(body);
      // It may fail before it is sent, when nobody listens to it yet.
      stream.on('error', ignore);
      this.#content = { at: 'stream', stream };
    } else {
      this.#content = { at: 'edit', bytes: encodeBody(body, this.headers) };
    }
  }
}

/**
 * What a wrapper of the call gave, if it is a response: it is easily forgotten to return what `send()` gives.
 *
 * @throws TypeError when it is none; whoever is further out must not trip over that.
 */
export function asResponse(given: unknown): UpstreamResponse {
  if (typeof given === 'object' && given !== null && 'relayTo' in given)
    return given as UpstreamResponse;
  throw new TypeError(
    `exchange.around(): a wrapper must return a response, such as that of send(), received ${inspect(given)}`,
  );
}

/** Ends an edit that asked for the body of a response that cannot have one. */
export class NoBody extends Error {
  override readonly name = 'NoBody';
  constructor() {
    super('This response has no body to parse');
  }
}

/** The transport makes its responses bare, one for each try, and fills them in as the head arrives. */
const BARE: ResponseInit = {};

function checkedInit(init: ResponseInit | undefined): ResponseInit {
  return init === undefined ? BARE : known('UpstreamResponse', init, INIT);
}

function finalStatus(status: number): number {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`response.status must be a final HTTP status, received ${status}`);
  }
  return status;
}

/** Whether a status rules out a body (RFC 9110, 6.4.1). */
export function forbidsBody(status: number): boolean {
  return status === 204 || status === 304 || status < 200;
}

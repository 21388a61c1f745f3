import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { Readable } from 'node:stream';
import { type Dispatcher, errors } from 'undici';
import { Deadline } from '../deadline.js';
import { BadResponseError, ConnectError } from '../exchange/errors.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { Carrier, SendOptions } from './carrier.js';
import { http2Fields, lengthOf, statedLength, withoutPseudo } from './http2-fields.js';
import { cancel, hasTaken, isUnfit, onWhole } from './http2-stream.js';

const { NGHTTP2_REFUSED_STREAM } = constants;

/** Who gave the request to a session, and hears how that went. */
export interface Http2Sender {
  /** The stream has ended; `slow` when the upstream did not answer in time. */
  ended(slow: boolean): void;
  /** Whether a request that got no answer can go once more. Then it has been taken back. */
  takesBack(request: Http2Request, lost: boolean): boolean;
}

/** Where a request waits for a session. */
export interface Http2Line {
  /** Nobody waits for the answer any more. */
  leave(request: Http2Request): void;
}

/**
 * One request over HTTP/2: what undici is to a handler, with a stream of `node:http2` in its place.
 * It is its own carrier, too: what a carrier can tell of HTTP/1 does not happen here.
 */
export class Http2Request implements Dispatcher.DispatchController, Carrier {
  aborted = false;
  paused = false;
  reason: Error | null = null;
  rawHeaders: string[] | null = null;
  rawTrailers: string[] | null = null;
  // Whether to send again is decided here, where it is known what the upstream has seen.
  readonly isReused = false;
  wasReset = false;
  minorVersion: number | undefined = 1;
  awaitsHead = false;
  hasBegun = false;
  readonly line = undefined;
  /** Only sessions that were opened after so many others will do. */
  newerThan = 0;
  /** How often it was sent. */
  tries = 0;

  readonly options: SendOptions;
  readonly handler: Dispatcher.DispatchHandler;
  readonly #upstream: Upstream;
  readonly #maxHeaderBytes: number;
  readonly #line: Http2Line;
  #sender: Http2Sender | undefined = undefined;
  #stream: ClientHttp2Stream | undefined = undefined;
  #deadline: Deadline | undefined = undefined;
  #answered = false;
  /** The upstream has ended the stream, and it was not just cut off. */
  #whole = false;
  /** What has not come yet of the length that the head has told; NaN where it has told none. */
  #missing = Number.NaN;
  #slow = false;
  #over = false;

  constructor(
    options: SendOptions,
    handler: Dispatcher.DispatchHandler,
    upstream: Upstream,
    maxHeaderBytes: number,
    line: Http2Line,
  ) {
    this.options = options;
    this.handler = handler;
    this.#upstream = upstream;
    this.#maxHeaderBytes = maxHeaderBytes;
    this.#line = line;
    // From the start: who gives it up while it waits must find it.
    options.connection = this;
  }

  /** Whether it has been on a session. */
  get isOpen(): boolean {
    return this.tries > 0;
  }

  /** Whether all that has to be sent is still there. */
  get isUntouched(): boolean {
    const { body } = this.options;
    return !(body instanceof Readable) || !body.readableDidRead;
  }

  /** Opens a stream for it; false when nobody wants it any more. */
  send(session: ClientHttp2Session, sender: Http2Sender): boolean {
    const { options } = this;
    this.#sender = sender;
    let stream: ClientHttp2Stream;
    try {
      if (this.tries++ === 0) this.handler.onRequestStart?.(this, {});
      if (this.aborted) return false;
      stream = session.request(http2Fields(options, this.#upstream), {
        endStream: options.body === null,
      });
    } catch (error) {
      const { name, message } = error as Error;
      // What Node will not put into a request, nobody can send. By its name: in a realm of its own, as
      // that of a test is, an error of Node's is an instance of nothing.
      const unfit = name === 'TypeError' && new errors.InvalidArgumentError(message);
      this.#settle(unfit || (error as Error));
      return false;
    }
    this.#stream = stream;
    this.#wait(options.limits.headersTimeoutMs);
    this.#listen(stream);
    if (options.body instanceof Readable) this.#upload(options.body, stream);
    else if (options.body !== null) stream.end(options.body);
    return true;
  }

  /** There is no session for it. What was taken back from an earlier one counts as never sent. */
  fail(error: Error): void {
    const isSent = this.tries > 0;
    this.#settle(isSent ? new ConnectError({ cause: error, upstream: this.#upstream }) : error);
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#line.leave(this);
    this.#cancel();
    this.#settle(reason);
  }

  leave(reason: Error): void {
    this.abort(reason);
  }

  pause(): void {
    this.paused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.paused = false;
    this.#stream?.resume();
    this.#deadline?.refresh();
  }

  /** Streams end by themselves; the connection is not theirs to cut. */
  cut(): void {}

  #listen(stream: ClientHttp2Stream): void {
    onWhole(stream, () => {
      this.#whole = true;
    });
    stream.on('headers', (_fields: unknown, _flags: unknown, raw: string[]) => this.#take(raw));
    stream.once('response', (_fields: unknown, flags: number, raw: string[]) => {
      this.#take(raw);
      // Known at once, it makes an answer to gRPC that is no more than a status one frame, as it must be.
      if (flags & constants.NGHTTP2_FLAG_END_STREAM) this.#finish();
      if (!this.#over) stream.on('data', (chunk: Buffer) => this.#takeChunk(chunk));
    });
    stream.once('trailers', (_fields: unknown, _flags: unknown, raw: string[]) => {
      this.rawTrailers = raw;
    });
    stream.once('end', () => {
      // Servers of node:http2 reset a stream whose reader was slow behind its last byte, in place of ending it.
      if (this.#answered && (this.#whole || this.#missing === 0)) this.#finish();
    });
    let cause: Error | undefined;
    stream.once('error', (error: Error) => {
      cause = error;
    });
    stream.once('close', () => {
      this.#lose(stream.rstCode, cause);
      this.#sender?.ended(this.#slow);
    });
  }

  /** The head of a response, interim ones included. */
  #take(raw: string[]): void {
    if (this.#over) return;
    const status = Number(raw[raw.indexOf(':status') + 1]);
    this.rawHeaders = withoutPseudo(raw);
    this.#answered ||= status >= 200;
    if (this.#answered) this.#missing = statedLength(raw);
    try {
      if (lengthOf(this.rawHeaders) > this.#maxHeaderBytes) throw new errors.HeadersOverflowError();
      // Who it is for reads the raw ones.
      this.handler.onResponseStart?.(this, status, {}, '');
    } catch (error) {
      this.#cancel();
      this.#settle(error as Error);
      return;
    }
    if (this.#answered) this.#wait(this.options.limits.bodyTimeoutMs);
    else this.#deadline?.refresh();
  }

  #takeChunk(chunk: Buffer): void {
    if (this.#over) return;
    this.#deadline?.refresh();
    this.#missing -= chunk.length;
    this.handler.onResponseData?.(this, chunk);
  }

  #upload(body: Readable, stream: ClientHttp2Stream): void {
    body.on('data', () => {
      if (!this.#answered) this.#deadline?.refresh();
    });
    body.once('error', (error) => {
      this.#cancel();
      this.#settle(error);
    });
    body.pipe(stream);
  }

  #cancel(): void {
    if (this.#stream !== undefined) cancel(this.#stream);
  }

  #wait(ms: number): void {
    this.#deadline?.end();
    this.#deadline = new Deadline(ms, () => this.#expire());
  }

  #expire(): void {
    // It is the client that keeps a paused body waiting, or an upload, and it has limits of its own.
    if (this.paused) return;
    if (!this.#answered && hasTaken(this.#stream, this.options.body)) {
      this.#deadline?.refresh();
      return;
    }
    const { HeadersTimeoutError, BodyTimeoutError } = errors;
    this.#line.leave(this);
    this.#slow = !this.#answered;
    const error = this.#answered ? new BodyTimeoutError() : new HeadersTimeoutError();
    this.#cancel();
    this.#settle(error);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.end();
    this.handler.onResponseEnd?.(this, {});
    this.#dropUpload();
  }

  /** The stream is closed, and what has come is all there will be. */
  #lose(code: number, cause: Error | undefined): void {
    if (this.#over) return;
    const refused = code === NGHTTP2_REFUSED_STREAM;
    if (!this.#answered && this.#sender?.takesBack(this, !refused)) {
      // It has been sent once, and waits for its head all the same.
      this.#wait(this.options.limits.headersTimeoutMs);
      this.#stream = undefined;
      this.#whole = false;
      return;
    }
    const error = cause ?? new Error(`the stream was reset with code ${code}`);
    const options = { cause: error, upstream: this.#upstream };
    // RFC 9113, 8.7: a refused stream has not been processed. It is as if it had never been sent.
    if (refused && !this.#answered) this.#settle(new ConnectError(options));
    else if (isUnfit(code)) this.#settle(new BadResponseError(options));
    else this.#settle(error);
  }

  #settle(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.end();
    this.handler.onResponseError?.(this, error);
    this.#dropUpload();
  }

  /** What is left of the upload after the answer is nobody's any more. */
  #dropUpload(): void {
    const { body } = this.options;
    if (this.#stream === undefined || !(body instanceof Readable) || body.readableEnded) return;
    body.unpipe(this.#stream);
    body.destroy();
    this.#cancel();
  }
}

import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import * as undici from 'undici';
import type { Awaited, SendOptions } from './carrier.js';
import { rounds } from './rounds.js';

/** Shows heads to whoever has subscribed, and they may keep them. */
const shown = channel('undici:request:headers');

/** Nobody looks at parsed fields. */
const UNPARSED = Object.freeze({});

/** Whether undici still takes handlers of its older interface; version 8 brings what wraps them instead. */
const TAKES_RAW = !('Dispatcher1Wrapper' in undici);

/**
 * A handler in the form that costs undici 7 least. It would make a wrapper, a controller and an object of all
 * fields for each request; as a handler of its older interface, this is the first two, and the fields stay raw.
 */
export function rawHandler(
  options: SendOptions,
  handler: undici.Dispatcher.DispatchHandler,
): undici.Dispatcher.DispatchHandler {
  if (TAKES_RAW) return new RawHandler(options, handler);
  limitByUndici(options);
  return handler;
}

/** Leaves the limits to undici, which keeps them to within two seconds. */
export function limitByUndici(options: SendOptions): void {
  options.headersTimeout = options.limits.headersTimeoutMs;
  options.bodyTimeout = options.limits.bodyTimeoutMs;
}

class RawHandler implements undici.Dispatcher.DispatchController, Awaited {
  rawHeaders: Buffer[] | null = null;
  rawTrailers: string[] | null = null;
  paused = false;
  aborted = false;
  reason: Error | null = null;

  readonly #options: SendOptions;
  readonly #handler: undici.Dispatcher.DispatchHandler;
  #answered = false;
  /** The round in which something has moved. */
  #since = 0;
  #written = 0;
  #abort: ((reason: Error) => void) | undefined = undefined;
  #resume: (() => void) | undefined = undefined;

  constructor(options: SendOptions, handler: undici.Dispatcher.DispatchHandler) {
    this.#options = options;
    this.#handler = handler;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#since = rounds.now;
    this.#resume?.();
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#abort?.(reason);
  }

  onConnect(abort: (reason: Error) => void): void {
    this.#abort = abort;
    const { connection } = this.#options;
    if (connection !== undefined) {
      // First: the handler may end it at once.
      connection.answer = this;
      this.#since = rounds.now;
      rounds.begin();
    }
    this.#handler.onRequestStart?.(this, undefined);
  }

  onUpgrade(status: number, headers: Buffer[], socket: Duplex): void {
    this.#end();
    this.rawHeaders = headers;
    this.#handler.onRequestUpgrade?.(this, status, UNPARSED, socket);
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean {
    this.#resume = resume;
    this.#since = rounds.now;
    this.#answered = status >= 200;
    this.rawHeaders = headers;
    this.#handler.onResponseStart?.(this, status, UNPARSED, statusText);
    this.rawHeaders = null;
    // A list of undici's that V8 keeps for too long must not keep all fields: see decision 92.
    if (!shown.hasSubscribers) headers.length = 0;
    return !this.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#since = rounds.now;
    this.#handler.onResponseData?.(this, chunk);
    return !this.paused;
  }

  onComplete(trailers: string[] | null): void {
    this.#end();
    this.rawTrailers = trailers;
    this.#handler.onResponseEnd?.(this, UNPARSED);
  }

  onError(error: Error): void {
    this.#end();
    this.#handler.onResponseError?.(this, error);
  }

  look(socket: Socket): void {
    if (this.paused || this.#waitsForUpload(socket)) {
      this.#since = rounds.now;
      return;
    }
    const { headersTimeoutMs, bodyTimeoutMs } = this.#options.limits;
    if (!rounds.isOver(this.#since, this.#answered ? bodyTimeoutMs : headersTimeoutMs)) return;
    const { BodyTimeoutError, HeadersTimeoutError } = undici.errors;
    socket.destroy(this.#answered ? new BodyTimeoutError() : new HeadersTimeoutError());
  }

  /** Whether the upload goes on, or it is the client that it waits for, which has a limit of its own. */
  #waitsForUpload(socket: Socket): boolean {
    const { body } = this.#options;
    if (this.#answered || !(body instanceof Readable) || body.readableEnded) return false;
    const before = this.#written;
    this.#written = socket.bytesWritten;
    return this.#written !== before || !socket.writableNeedDrain;
  }

  #end(): void {
    const { connection } = this.#options;
    if (connection?.answer === this) connection.answer = undefined;
  }
}

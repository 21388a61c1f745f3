import { channel } from 'node:diagnostics_channel';
import type { Duplex } from 'node:stream';
import * as undici from 'undici';

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
  handler: undici.Dispatcher.DispatchHandler,
): undici.Dispatcher.DispatchHandler {
  return TAKES_RAW ? new RawHandler(handler) : handler;
}

class RawHandler implements undici.Dispatcher.DispatchController {
  rawHeaders: Buffer[] | null = null;
  rawTrailers: string[] | null = null;
  paused = false;
  aborted = false;
  reason: Error | null = null;

  readonly #handler: undici.Dispatcher.DispatchHandler;
  #abort: ((reason: Error) => void) | undefined = undefined;
  #resume: (() => void) | undefined = undefined;

  constructor(handler: undici.Dispatcher.DispatchHandler) {
    this.#handler = handler;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
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
    this.#handler.onRequestStart?.(this, undefined);
  }

  onUpgrade(status: number, headers: Buffer[], socket: Duplex): void {
    this.rawHeaders = headers;
    this.#handler.onRequestUpgrade?.(this, status, UNPARSED, socket);
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, statusText: string): boolean {
    this.#resume = resume;
    this.rawHeaders = headers;
    this.#handler.onResponseStart?.(this, status, UNPARSED, statusText);
    this.rawHeaders = null;
    // A list of undici's that V8 keeps for too long must not keep all fields: see decision 92.
    if (!shown.hasSubscribers) headers.length = 0;
    return !this.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#handler.onResponseData?.(this, chunk);
    return !this.paused;
  }

  onComplete(trailers: string[] | null): void {
    this.rawTrailers = trailers;
    this.#handler.onResponseEnd?.(this, UNPARSED);
  }

  onError(error: Error): void {
    this.#handler.onResponseError?.(this, error);
  }
}

import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { BodyTimeoutError, BodyTooLargeError, ClientClosedError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { TransportSettings } from './settings.js';

/**
 * The client's upload on its way to undici. `req` itself is not given away: undici destroys the body
 * of a request that is answered early, and with it would go the socket that the answer needs.
 */
export class RequestBody extends Readable {
  readonly #exchange: Exchange;
  readonly #req: IncomingMessage;
  readonly #settings: TransportSettings;
  readonly #onData = (chunk: Buffer): void => this.#take(chunk);
  readonly #onEnd = (): void => void this.push(null);
  readonly #onLost = (): void => this.#lose();
  #length = 0;
  #listening = false;
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(exchange: Exchange, settings: TransportSettings) {
    super();
    this.#exchange = exchange;
    this.#req = exchange.req;
    this.#settings = settings;
    // Whoever reads hears of errors as well; nobody may be reading yet when the client leaves.
    this.on('error', ignore);
  }

  override _read(): void {
    if (!this.#listening) {
      this.#listening = true;
      this.#req.on('data', this.#onData);
      this.#req.on('end', this.#onEnd);
      this.#req.on('error', this.#onLost);
      this.#req.on('close', this.#onLost);
      if (this.#req.destroyed) this.#lose();
    }
    this.#wait();
    this.#req.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#timer);
    this.#req.off('data', this.#onData);
    this.#req.off('end', this.#onEnd);
    this.#req.off('close', this.#onLost);
    done(error);
  }

  #take(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > this.#settings.maxBodyBytes) {
      this.destroy(new BodyTooLargeError());
      return;
    }
    this.#exchange.bytesSent += chunk.length;
    if (this.push(chunk)) {
      this.#timer?.refresh();
    } else {
      this.#req.pause();
      // From here on it is the upstream that keeps the body waiting, and that has its own timeout.
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
  }

  #lose(): void {
    if (!this.#req.readableEnded) this.destroy(new ClientClosedError());
  }

  /** The client must go on within the time that a body may stand still. */
  #wait(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => this.destroy(new BodyTimeoutError(undefined, 408)),
      this.#settings.bodyTimeoutMs,
    );
    this.#timer.unref();
  }
}

function ignore(): void {}

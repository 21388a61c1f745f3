import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { Deadline } from '../deadline.js';
import { isHttp2 } from '../exchange/answers.js';
import {
  BodyConsumedError,
  BodyTimeoutError,
  BodyTooLargeError,
  ClientClosedError,
} from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { ignore } from '../ignore.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { TransportSettings } from './settings.js';
import { isUnseen, spendWhenWritten } from './spent-memory.js';

/**
 * The client's upload on its way to undici. `req` itself is not given away: undici destroys the body
 * of a request that is answered early, and with it would go the socket that the answer needs.
 */
export class RequestBody extends Readable {
  readonly #exchange: Exchange;
  readonly #req: IncomingMessage;
  readonly #upstream: Upstream;
  readonly #settings: TransportSettings;
  /** Whether nobody else sees what comes. */
  #isOurs = false;
  readonly #onData = (chunk: Buffer | string): void => this.#take(chunk);
  readonly #onListener = (event: string): void => this.#share(event);
  readonly #onEnd = (): void => this.#end();
  readonly #onLost = (): void => this.#lose();
  /** Whether all of it was there when it was made, so that nothing of it may go by before it is read. */
  readonly #wasUnread: boolean;
  #length = 0;
  #begun = false;
  /** Whether an earlier try has read all of it. */
  #isWhole = false;
  #deadline: Deadline | undefined = undefined;

  constructor(exchange: Exchange, upstream: Upstream, settings: TransportSettings) {
    super();
    this.#upstream = upstream;
    this.#exchange = exchange;
    this.#req = exchange.req;
    this.#settings = settings;
    this.#wasUnread = !exchange.req.readableDidRead;
    // Whoever reads hears of errors as well; nobody may be reading yet when the client leaves.
    this.on('error', ignore);
    // Where somebody else listens, it comes now, and not when the upstream is ready for it.
    if (this.#req.listenerCount('data') > 0) this.#begin();
  }

  override _read(): void {
    this.#begin();
    if (this.#isWhole || this.destroyed) return;
    this.#wait();
    this.#req.resume();
  }

  /** Begins to listen to the client. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    if (this.#wasUnread && this.#req.readableDidRead) {
      this.destroy(
        new BodyConsumedError('The request body was read while proxyPass() was to send it'),
      );
      return;
    }
    this.#sendKept();
    if (this.#exchange.upload?.ended) {
      this.#isWhole = true;
      this.push(null);
      return;
    }
    this.#isOurs = isUnseen(this.#req);
    this.#req.on('data', this.#onData);
    this.#req.on('newListener', this.#onListener);
    this.#req.on('end', this.#onEnd);
    this.#req.on('error', this.#onLost);
    this.#req.on('close', this.#onLost);
    // For errors that come when this body is over: one listener, however many bodies there are.
    this.#req.off('error', ignore).on('error', ignore);
    if (this.#req.readableEnded) this.#end();
    else if (this.#req.destroyed) this.#lose();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#deadline?.end();
    this.#req.off('data', this.#onData);
    this.#req.off('newListener', this.#onListener);
    this.#req.off('end', this.#onEnd);
    this.#req.off('error', this.#onLost);
    this.#req.off('close', this.#onLost);
    // What comes now is for the next try, or to be dropped: it must not be lost in between.
    if (!this.#exchange.dropsUpload) this.#req.pause();
    done(error);
  }

  /** What a listener has heard of may be kept by it, even if it listens but once. */
  #share(event: string): void {
    if (event === 'data' || event === 'readable') this.#isOurs = false;
  }

  #take(data: Buffer | string): void {
    // Somebody has called `setEncoding()`.
    const isText = typeof data === 'string';
    const chunk = isText ? Buffer.from(data, this.#req.readableEncoding ?? 'utf8') : data;
    this.#length += chunk.length;
    if (this.#length > this.#settings.maxBodyBytes) {
      this.destroy(new BodyTooLargeError());
      return;
    }
    const { upload } = this.#exchange;
    upload?.keep(chunk);
    // What is kept may have to be sent again.
    if (this.#isOurs && !isText && upload?.chunks === undefined) spendWhenWritten(chunk);
    this.#count(chunk);
    if (this.push(chunk)) {
      this.#deadline?.refresh();
    } else {
      this.#req.pause();
      // From here on it is the upstream that keeps the body waiting, and that has its own timeout.
      this.#deadline?.end();
      this.#deadline = undefined;
    }
  }

  /** What an earlier try has read, from the beginning. */
  #sendKept(): void {
    for (const chunk of this.#exchange.upload?.chunks ?? []) {
      this.#length += chunk.length;
      this.#count(chunk);
      this.push(chunk);
    }
  }

  #count({ length }: Buffer): void {
    this.#exchange.bytesSent += length;
    this.#upstream.bytesSent += length;
  }

  #end(): void {
    // To Node, an upload over HTTP/2 has ended when its stream is reset.
    if (isHttp2(this.#req) && this.#req.stream.aborted) {
      this.destroy(new ClientClosedError());
      return;
    }
    // From here on nothing is waited for from the client.
    this.#deadline?.end();
    if (this.#exchange.upload !== undefined) this.#exchange.upload.ended = true;
    this.push(null);
  }

  #lose(): void {
    if (!this.#req.readableEnded) this.destroy(new ClientClosedError());
  }

  /** The client must go on within the time that a body may stand still. */
  #wait(): void {
    this.#deadline ??= new Deadline(this.#settings.bodyTimeoutMs, () => {
      this.destroy(new BodyTimeoutError(undefined, 408));
    });
  }
}

import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import {
  BadResponseError,
  BodyTimeoutError,
  ClientClosedError,
  type ProxyError,
  ResetError,
} from '../exchange/errors.js';
import type { Attempt, Exchange, InFlight } from '../exchange/exchange.js';
import { HeaderList } from '../exchange/header-list.js';
import { forbidsBody, UpstreamResponse, type WriteHead } from '../exchange/upstream-response.js';
import { addTrailers, breakOff, endAnswer, flushCompressed } from './answer.js';
import type { Connections } from './connections.js';
import { failure } from './failures.js';
import { sendInterim } from './interim.js';
import { log } from './log.js';
import type { OutgoingRequest } from './request.js';
import {
  interimLines,
  type ParsedFields,
  type RawFields,
  rawFields,
  responseHead,
  trailerPairs,
} from './response-head.js';
import type { TransportSettings } from './settings.js';

/** Bytes held before anybody asks for them; then the upstream waits. */
const HOLD_BYTES = 65_536;
/** Bytes waiting for the client; then the upstream waits. */
const SEND_AHEAD_BYTES = 262_144;
/** What is cheaper to read to its end, for the sake of the connection, than to cut off. */
const DRAIN_BYTES = 65_536;
/** Interim responses before one final response. */
const MAX_INTERIM = 100;

/** Who takes the body: nobody yet, an edit, the client, or nobody any more. */
type Reader = Readable | ServerResponse | 'nobody' | 'drain';

/** What one promise of a response is settled by, over all the tries it takes. */
export interface Settle {
  readonly resolve: (response: UpstreamResponse) => void;
  readonly reject: (error: ProxyError) => void;
}

/**
 * One try at an upstream: undici's handler, and the response it turns into. It settles the promise at
 * the head; what comes after that waits here, within bounds, until somebody takes it.
 */
export class WireResponse extends UpstreamResponse implements Dispatcher.DispatchHandler, InFlight {
  override readonly attempt: Attempt;
  readonly #exchange: Exchange;
  readonly #request: OutgoingRequest;
  readonly #connections: Connections;
  readonly #settings: TransportSettings;
  readonly #settle: Settle;
  readonly #again: boolean;

  #controller: Dispatcher.DispatchController | undefined = undefined;
  #reused = false;
  #interims = 0;
  #headArrived = false;
  /** Nothing more comes, or nothing more is wanted. */
  #over = false;
  #failure: ProxyError | undefined = undefined;

  #reader: Reader = 'nobody';
  #held: Buffer[] = [];
  #received = 0;
  #length: number | undefined = undefined;
  #delimited = false;
  #trailers: [string, string][] | undefined = undefined;
  #paused = false;
  #drained = false;
  #stall: NodeJS.Timeout | undefined = undefined;

  constructor(
    exchange: Exchange,
    request: OutgoingRequest,
    connections: Connections,
    settings: TransportSettings,
    settle: Settle,
    again = false,
  ) {
    super({ upstream: request.upstream });
    this.#exchange = exchange;
    this.#request = request;
    this.#connections = connections;
    this.#settings = settings;
    this.#settle = settle;
    this.#again = again;
    this.attempt = {
      upstream: request.upstream,
      startedAt: performance.now(),
      headAt: undefined,
      status: undefined,
      error: undefined,
    };
    exchange.attempts.push(this.attempt);
    request.upstream.requests += 1;
    exchange.inFlight = this;
  }

  /** Hands the request to undici. */
  dispatch(): void {
    if (log.enabled)
      log('%s %s → %s', this.#request.method, this.#request.path, this.#request.upstream);
    if (this.#again) this.#connections.dispatchFresh(this.#request, this);
    else this.#connections.dispatch(this.#request, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    const { connection } = this.#request;
    if (this.#over) {
      controller.abort(new ClientClosedError());
    } else if (connection === undefined) {
      this.#reused = true;
    } else {
      this.#reused = connection.served++ > 0;
      connection.awaitsHead = true;
      connection.minorVersion = 1;
    }
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: ParsedFields,
    statusText = '',
  ): void {
    const raw = rawFields(controller.rawHeaders);
    if (status < 200) {
      this.#passInterim(status, raw);
      return;
    }
    const head = responseHead(raw, headers, this.#exchange.headers, this.#settings.maxHeaderFields);
    // What is thrown here, undici breaks the connection for and reports to onResponseError.
    if (typeof head === 'string') throw this.#unfit(head);
    if (status > 599) throw this.#unfit(`status ${status}`);
    const { connection } = this.#request;
    if (connection !== undefined && connection.minorVersion !== 1) {
      if (connection.minorVersion !== 0) throw this.#unfit('not HTTP/1');
      if (head.chunked) throw this.#unfit('chunked HTTP/1.0');
    }
    this.#headArrived = true;
    this.attempt.headAt = performance.now();
    this.attempt.status = status;
    this.#request.upstream.noteAnswer(status, this.attempt.headAt - this.attempt.startedAt);
    this.status = status;
    this.statusText = statusText;
    this.headers = new HeaderList(head.lines);
    this.hasBody = this.#request.method !== 'HEAD' && !forbidsBody(status);
    this.#length = head.length;
    this.#delimited = head.chunked || head.length !== undefined;
    // A 304 may name the length that a 200 would have; undici 7 then waits for it and calls it short.
    if (!this.hasBody) this.#finish();
    this.#settle.resolve(this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#received += chunk.length;
    this.#exchange.bytesReceived += chunk.length;
    const reader = this.#reader;
    if (reader === 'drain') return;
    if (reader === 'nobody') {
      this.#held.push(chunk);
      if (this.#received > HOLD_BYTES) this.#pause(controller);
    } else if (reader instanceof Readable) {
      if (!reader.push(chunk)) this.#pause(controller);
    } else {
      const full = reader.write(chunk) === false && Object.hasOwn(reader, 'write');
      flushCompressed(reader);
      // Middleware that has put its own `write` there, as compression() does, keeps a queue of its own.
      if (full || reader.writableLength > SEND_AHEAD_BYTES) this.#waitForClient(controller, reader);
    }
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    // Undici takes a reset for the end of a body that only the end of the connection delimits.
    if (!this.#delimited && this.#request.connection?.wasReset) {
      this.#fail(new ResetError({ upstream: this.#request.upstream }));
      return;
    }
    this.#trailers = trailerPairs(rawFields(controller.rawTrailers));
    this.#finish();
    const reader = this.#reader;
    if (reader instanceof Readable) reader.push(null);
    else if (typeof reader !== 'string') this.#end(reader);
  }

  onResponseError(_controller: unknown, cause: unknown): void {
    if (this.#over) return;
    const stage = this.#controller === undefined ? 'connecting' : 'sent';
    const error = failure(cause, stage, this.#request.upstream);
    this.attempt.error = error;
    if (this.#mayGoAgain(error)) {
      this.#over = true;
      log('an idle connection was closed under the request, sending it again');
      const again = { ...this.#request, connection: undefined };
      new WireResponse(
        this.#exchange,
        again,
        this.#connections,
        this.#settings,
        this.#settle,
        true,
      ).dispatch();
    } else {
      this.#fail(error);
    }
  }

  /** The client has gone: the call ends, and it is nobody's failure. */
  abandon(): void {
    if (this.#over) return;
    const error = new ClientClosedError({ upstream: this.#request.upstream });
    this.#fail(error);
    const { body } = this.#request;
    if (body instanceof Readable) body.destroy(error);
    this.#controller?.abort(error);
  }

  /** The client has taken what was waiting for it. */
  resume(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    if (!this.#paused) return;
    this.#paused = false;
    this.#controller?.resume();
  }

  override relayTo(res: ServerResponse, writeHead: WriteHead): void {
    if (this.#failure !== undefined) throw this.#failure;
    const held = this.#held;
    this.#held = [];
    if (this.#over) {
      writeHead(res, this, this.#trailers === undefined ? this.#received : undefined);
      for (let i = 0; i < held.length - 1; i++) res.write(held[i] as Buffer);
      this.#end(res, held[held.length - 1]);
      return;
    }
    writeHead(res, this, this.#length);
    if (held.length === 0) res.flushHeaders();
    for (const chunk of held) res.write(chunk);
    if (held.length > 0) flushCompressed(res);
    this.#reader = res;
    this.resume();
  }

  protected override wire(): Readable {
    const readable = new Readable({
      read: () => this.resume(),
      destroy: (error, done) => {
        this.release();
        done(error);
      },
    });
    for (const chunk of this.#held) readable.push(chunk);
    this.#held = [];
    if (this.#failure !== undefined) readable.destroy(this.#failure);
    else if (this.#over) readable.push(null);
    else this.#reader = readable;
    return readable;
  }

  protected override release(): void {
    this.#held = [];
    if (this.#over) return;
    if (this.#length !== undefined && this.#length - this.#received <= DRAIN_BYTES) {
      this.#reader = 'drain';
      this.resume();
    } else {
      this.#finish();
      this.#controller?.abort(new ResetError({ upstream: this.#request.upstream }));
    }
  }

  #passInterim(status: number, raw: RawFields): void {
    // undici takes 101 without an upgrade, and whatever is no status at all, for interim ones.
    if (status === 101 || status < 100) throw this.#unfit(`status ${status}`);
    if (++this.#interims > MAX_INTERIM) throw this.#unfit('too many interim responses');
    sendInterim(this.#exchange.res, status, interimLines(raw, this.#exchange.headers));
  }

  #unfit(reason: string): BadResponseError {
    return new BadResponseError({ cause: new Error(reason), upstream: this.#request.upstream });
  }

  /**
   * The keep-alive race: an upstream may close an idle connection while our request is on its way to
   * it. What does no harm twice is sent once more, on a connection of its own (RFC 9110, 9.2.2).
   */
  #mayGoAgain(error: ProxyError): boolean {
    return (
      error.code === 'ERR_PROXY_RESET' &&
      this.#reused &&
      !this.#again &&
      !this.#headArrived &&
      this.#interims === 0 &&
      this.#request.replayable
    );
  }

  /** Nothing more comes from the wire. */
  #finish(): void {
    this.#over = true;
    this.#request.upstream.bytesReceived += this.#received;
    if (this.#stall !== undefined) clearTimeout(this.#stall);
    if (this.#exchange.inFlight === this) this.#exchange.inFlight = undefined;
  }

  #fail(error: ProxyError): void {
    this.#finish();
    this.#failure = error;
    this.attempt.error = error;
    // 408 is about the client, which has stood still: no failure of the upstream.
    if (error.status !== 408) this.#request.upstream.noteFailure(error.code);
    const reader = this.#reader;
    if (!this.#headArrived) {
      this.#settle.reject(error);
    } else if (reader instanceof Readable) {
      reader.destroy(error);
    } else if (typeof reader !== 'string') {
      this.#exchange.settle('failed', error);
      breakOff(reader);
    }
  }

  #end(res: ServerResponse, last?: Buffer): void {
    if (this.#trailers !== undefined) addTrailers(res, this.#trailers);
    endAnswer(res, last);
    if (this.#drained) this.#watchClient(res);
  }

  #pause(controller: Dispatcher.DispatchController): void {
    this.#paused = true;
    controller.pause();
  }

  #waitForClient(controller: Dispatcher.DispatchController, res: ServerResponse): void {
    this.#pause(controller);
    if (!this.#drained) {
      this.#drained = true;
      // Not by `this`: compression() puts the listener on a stream of its own.
      res.on('drain', () => this.#exchange.inFlight?.resume());
    }
    this.#stall = setTimeout(onStalledClient, this.#settings.bodyTimeoutMs, this);
    this.#stall.unref();
  }

  /** What is left in our own buffers must not wait for ever either. */
  #watchClient(res: ServerResponse): void {
    const timer = setTimeout(() => res.destroy(), this.#settings.bodyTimeoutMs);
    timer.unref();
    res.once('close', () => clearTimeout(timer));
  }

  /** The client has not read for too long. */
  giveUp(): void {
    const error = new BodyTimeoutError({ upstream: this.#request.upstream }, 408);
    this.#fail(error);
    this.#controller?.abort(error);
  }
}

function onStalledClient(response: WireResponse): void {
  response.giveUp();
}

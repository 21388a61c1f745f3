import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { type Attempt, beginAttempt } from '../exchange/attempt.js';
import {
  BodyTimeoutError,
  ClientClosedError,
  OverloadedError,
  type ProxyError,
  ResetError,
  UpgradeError,
} from '../exchange/errors.js';
import type { InFlight } from '../exchange/exchange.js';
import { HeaderList } from '../exchange/header-list.js';
import { forbidsBody, UpstreamResponse, type WriteHead } from '../exchange/upstream-response.js';
import type { Upstream } from '../upstreams/upstream.js';
import { failure, mayGoAgain, unfit } from './failures.js';
import { passInterim } from './interim.js';
import { log, logTry, reasonOf } from './log.js';
import {
  objectionTo,
  type RawFields,
  type ResponseHead,
  rawFields,
  responseHead,
  trailerPairs,
} from './response-head.js';
import { Switched } from './switched.js';
import { noteSent, type Try } from './try.js';
import { type BodyOwner, WireBody } from './wire-body.js';

/** What is cheaper to read to its end, for the sake of the connection, than to cut off. */
const DRAIN_BYTES = 65_536;

/**
 * One try at an upstream: undici's handler, and the response it turns into. It settles the promise at
 * the head; what comes after that waits here, within bounds, until somebody takes it.
 */
export class WireResponse
  extends UpstreamResponse
  implements Dispatcher.DispatchHandler, InFlight, BodyOwner
{
  override readonly upstream: Upstream;
  override readonly attempt: Attempt;
  readonly #body: WireBody;
  readonly #try: Try;

  #controller: Dispatcher.DispatchController | undefined = undefined;
  #reused = false;
  #interims = 0;
  /** Nothing more comes, or nothing more is wanted. */
  #over = false;
  #failure: ProxyError | undefined = undefined;

  #head: ResponseHead | undefined = undefined;
  #switched: Switched | undefined = undefined;

  constructor(one: Try) {
    super();
    const { exchange, request, settings } = one;
    this.#try = one;
    this.upstream = request.upstream;
    this.#body = new WireBody(exchange, settings.bodyTimeoutMs, this);
    this.attempt = beginAttempt(request.upstream, request.path, request.host);
    exchange.attempts.push(this.attempt);
    request.upstream.requests += 1;
    if (exchange.attempts.length > 1) request.upstream.retries += 1;
    exchange.inFlight = this;
  }

  /** Sends the request as soon as a connection can take it. */
  dispatch(): void {
    // Nearly all have a connection, or one is being made for them.
    if (!this.#try.dispatch(this) || this.#controller || this.#over) return;
    this.#try.limitWait(() => this.#giveUp(new OverloadedError({ upstream: this.upstream })));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Thrown, and not aborted: that would cost the connection, which has not been used yet.
    if (this.#over) throw new ClientClosedError();
    this.#controller = controller;
    const { connection } = this.#try.request;
    this.#body.begin(controller, connection?.line);
    noteSent(this.#try, this.attempt);
    this.#reused = connection === undefined || connection.isReused;
    if (connection === undefined) return;
    connection.awaitsHead = true;
    connection.hasBegun = false;
    connection.minorVersion = 1;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    statusText = '',
  ): void {
    const { exchange, request } = this.#try;
    const raw = rawFields(controller.rawHeaders);
    if (status < 200) {
      if (status === 101 && request.upgrade) throw new UpgradeError({ upstream: this.upstream });
      const objection = passInterim(exchange, status, raw, ++this.#interims);
      if (objection !== undefined) throw unfit(objection, this.upstream);
      return;
    }
    this.#begin(raw, status, statusText);
    this.hasBody = request.method !== 'HEAD' && !forbidsBody(status);
    // A 304 may name the length that a 200 would have; undici 7 then waits for it and calls it short.
    if (!this.hasBody) {
      this.#finish();
      this.#body.finish();
    }
    this.#try.call.resolve(this);
  }

  /** The upstream has switched protocols; its socket is nobody's but ours from here on. */
  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    status: number,
    _headers: unknown,
    socket: Socket,
  ): void {
    const raw = rawFields(controller.rawHeaders);
    this.#switched = new Switched(socket, this.#try.request, raw);
    this.#begin(raw, status, '');
    this.hasBody = false;
    this.#finish();
    this.#body.finish();
    this.#try.exchange.inFlight = this;
    this.#try.call.resolve(this);
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    if (!this.#over) this.#body.take(chunk);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    const { isDelimited, taken } = this.#head as ResponseHead;
    // Undici takes a reset for the end of a body that only the end of the connection delimits.
    if (!isDelimited && this.#try.request.connection?.wasReset)
      return this.#fail(new ResetError({ upstream: this.upstream }));
    this.#finish();
    this.trailers = trailerPairs(rawFields(controller.rawTrailers), taken);
    this.#body.finish(this.trailers);
  }

  onResponseError(_controller: unknown, cause: unknown): void {
    if (this.#over) return;
    const stage = this.#controller || this.#try.request.connection?.isOpen ? 'sent' : 'connecting';
    const error = failure(cause, stage, this.upstream);
    this.attempt.error = error;
    if (this.#mayGoAgain(error)) {
      this.#over = true;
      log('an idle connection was closed under the request, sending it again');
      new WireResponse(this.#try.anew()).dispatch();
    } else {
      this.#fail(error);
    }
  }

  /** The client has gone: the call ends, and it is nobody's failure. */
  abandon(): void {
    this.#switched?.destroy();
    if (this.#over) return;
    this.#giveUp(new ClientClosedError({ upstream: this.upstream }));
  }

  /** What is left of the upload is for the next try, if there is one: it must not go two ways. */
  override discard(): void {
    this.#switched?.destroy();
    const { body } = this.#try.request;
    if (body instanceof Readable && !body.readableEnded) {
      this.#cut(new ResetError({ upstream: this.upstream }));
      body.destroy();
    }
    super.discard();
  }

  override relayTo(res: ServerResponse, writeHead: WriteHead): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.status === 101) {
      this.#switched?.tunnel(this.#try.exchange, this, writeHead, this.#try.settings.tunnelIdleMs);
      return;
    }
    this.#body.relayTo(res, this, writeHead, this.#head?.length);
  }

  protected override wire(): Readable {
    return this.#body.stream(() => this.release(), this.#failure);
  }

  protected override release(): void {
    const length = this.#head?.length;
    if (!this.#over && length !== undefined) {
      if (length - this.#body.received <= DRAIN_BYTES) return this.#body.drain();
    }
    this.#cut(new ResetError({ upstream: this.upstream }));
  }

  /**
   * Takes the head over, if it is fit.
   *
   * @throws BadResponseError: undici breaks the connection for it, and reports it to onResponseError.
   */
  #begin(raw: RawFields, status: number, statusText: string): void {
    const { exchange, request, settings } = this.#try;
    const head = responseHead(raw, exchange.headers, settings.maxHeaderFields);
    if (typeof head === 'string') throw unfit(head, this.upstream);
    const objection = objectionTo(status, head, request.connection);
    if (objection !== undefined) throw unfit(objection, this.upstream);
    this.isDelimited = head.isDelimited || this.#try.connections.sendsHeadsAlone;
    this.attempt.headAt = performance.now();
    this.attempt.status = status;
    this.upstream.noteAnswer(status, this.attempt.headAt - this.attempt.startedAt);
    this.arrive(status, statusText, new HeaderList(head.lines));
    this.#head = head;
  }

  #mayGoAgain(error: ProxyError): boolean {
    const { again, request } = this.#try;
    if (again) return false;
    return mayGoAgain(error, {
      sent: this.#controller !== undefined,
      reused: this.#reused,
      answered: !!this.#head || this.#interims > 0 || request.connection?.hasBegun === true,
      isOpen: request.connection?.isOpen === true,
      replayable: request.replayable,
    });
  }

  /** Nothing more comes from the wire. */
  #finish(): void {
    this.#over = true;
    this.#try.endWait();
    this.upstream.bytesReceived += this.#body.received;
    if (this.#try.exchange.inFlight === this) this.#try.exchange.inFlight = undefined;
  }

  #fail(error: ProxyError): void {
    this.#finish();
    if (log.enabled) logTry(this.#try.request, `failed (${reasonOf(error)}) at`);
    // undici leaves alone what it has not begun to send; where others listen, it is being read all the same.
    const { body } = this.#try.request;
    if (body instanceof Readable) body.destroy();
    this.#failure = error;
    this.attempt.error = error;
    // 408 is about the client, which has stood still: no failure of the upstream.
    if (error.status !== 408) this.upstream.noteFailure(error.code);
    if (this.#head !== undefined) this.#body.breakOff(error);
    else this.#try.call.reject(error);
  }

  /** Nobody wants what still comes. */
  #cut(reason: ProxyError): void {
    if (this.#over) return;
    this.#finish();
    this.#abort(reason);
  }

  /** Ends what is under way on the wire. What waits in a line of undici's is dropped when its turn comes. */
  #abort(reason: ProxyError): void {
    const { connection } = this.#try.request;
    if (this.#controller === undefined) return connection?.leave?.(reason);
    // Left to itself, undici opens another connection for the request that it has just given up.
    connection?.cut(reason);
    this.#controller.abort(reason);
  }

  /** The client has not read for too long. */
  stalled(): void {
    if (!this.#over) this.#giveUp(new BodyTimeoutError({ upstream: this.upstream }, 408));
  }

  #giveUp(error: ProxyError): void {
    this.#fail(error);
    this.#abort(error);
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { emptyList } from '../lists.js';
import { type Callback, inspect } from '../options.js';
import { isPromise } from '../promises.js';
import type { UpstreamPool } from '../upstreams/pool.js';
import type { Upstream } from '../upstreams/upstream.js';
import { settleWithAnswer } from './answer-closed.js';
import { isGone } from './answers.js';
import type { Attempt } from './attempt.js';
import { type Carrier, EXCHANGE } from './carrier.js';
import type { ClientEnd } from './client-end.js';
import type { ProxyError } from './errors.js';
import type { FailureHandler } from './fallback.js';
import { HeaderOverlay } from './header-overlay.js';
import type { Identity } from './identity.js';
import type { KeptUpload } from './kept-upload.js';
import { logLine } from './log-line.js';
import { notify } from './notify.js';
import { livePath } from './origin-form.js';
import { Outcome, type OutcomeType } from './outcome.js';
import { routeOf } from './route.js';
import type { UpstreamResponse } from './upstream-response.js';

declare global {
  namespace Express {
    interface Locals {
      /** The exchange that headrace's pieces share. It is there once the first of them has run. */
      proxy: Exchange;
    }
  }
}

/** What Express and Connect hand on; a bare `node:http` server has none. */
export type Next = (error?: unknown) => void;

/** A middleware of headrace: fit for Express, Connect and a bare `node:http` server. */
export type Handler = (req: IncomingMessage, res: ServerResponse, next?: Next) => void;

/** Sends the request once and resolves at the head of the response. */
export type Send = () => Promise<UpstreamResponse>;

/** A wrapper round the upstream call. The first one registered is the outermost. */
export type Around = (exchange: Exchange, send: Send) => Promise<UpstreamResponse>;

/** An edit of the response, run before its head is sent. A promise that it returns is waited for. */
export type ResponseEdit = Callback<
  [response: UpstreamResponse, req: IncomingMessage, res: ServerResponse],
  unknown
>;

/** What is under way for an exchange and has to end with it. The transport's attempts are such. */
export interface InFlight {
  /** The client has gone, or nobody wants the result any more. */
  abandon(): void;
}

const NONE: readonly never[] = [];

/**
 * What the pieces of one pipeline share about one request: the edits to it, where it goes, what wraps
 * the call, what came back and how it ended. It lives on `res.locals.proxy`.
 */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Edits to the request header, over the live `req.headers`. */
  readonly headers: HeaderOverlay;
  /** Who the client has proved to be; `undefined` until `authenticate()` has let it through. */
  identity: Identity | undefined = undefined;
  /** The client's address, as far as it is believed; `accessLog()` looks for it while it can be found. */
  clientAddress: string | undefined = undefined;
  /** The name of this request in logs, on both sides; `requestId()` makes or accepts it. */
  requestId: string | undefined = undefined;
  /** The trace that the request belongs to; `tracing()` knows. */
  traceId: string | undefined = undefined;
  /** Where the request goes. `loadBalancer()`, `proxyPass(target)` or your own middleware sets it. */
  upstream: Upstream | undefined = undefined;
  /** The pool that chose the upstream; `retry()` asks it for another. */
  pool: UpstreamPool | undefined = undefined;
  /** Every try so far, in order. */
  readonly attempts: Attempt[] = emptyList();
  /** The response that `proxyPass({ hold: true })` holds for the middleware after it. */
  response: UpstreamResponse | undefined = undefined;
  /** How it ended; `undefined` while it goes on. */
  outcome: Outcome | undefined = undefined;
  /** When the exchange was made, of `performance.now()`. */
  readonly startedAt: number = performance.now();
  /** Body bytes that have gone to the upstream. */
  bytesSent = 0;
  /** Body bytes that have come from the upstream. */
  bytesReceived = 0;
  /**
   * What each `rewriteUrl()` cut from the front of the path and what it put there, in order, for the pieces
   * that have to find the way back.
   */
  rewritten: readonly { readonly from: string; readonly to: string }[] | undefined = undefined;
  /**
   * The protocol that the client asks to switch to, such as `websocket`; the upstream is asked for the
   * same. `attach()` sets it. Without it, the request goes out as an ordinary one.
   */
  upgrade: string | undefined = undefined;
  /**
   * Query parameters that were meant for us alone: keys that a verifier has read.
   *
   * @internal
   */
  withheld: readonly string[] | undefined = undefined;
  /**
   * The client's connection, where it can become a tunnel.
   *
   * @internal
   */
  clientEnd: ClientEnd | undefined = undefined;
  /**
   * Whether the connection has become a tunnel: it has no answer that could end.
   *
   * @internal
   */
  isTunnel = false;
  /**
   * What is kept of the upload for another try; `retry()` asks for it.
   *
   * @internal
   */
  upload: KeptUpload | undefined = undefined;
  /**
   * A short upload that was there as a whole, until it leaves.
   *
   * @internal
   */
  unsentUpload: Buffer | undefined = undefined;
  /**
   * How it is sent; nothing before the call is made.
   *
   * @internal
   */
  transport: { readonly bodyTimeoutMs: number } | undefined = undefined;
  /**
   * Set once the client's upload is handed on as it comes, and so can be read only once.
   *
   * @internal
   */
  streamsUpload = false;
  /**
   * Set once an answer is there and the rest of the upload is only read to be dropped.
   *
   * @internal
   */
  dropsUpload = false;
  /**
   * What has to end when the client goes.
   *
   * @internal
   */
  inFlight: InFlight | undefined = undefined;

  /**
   * Why the upstream that it was given is not to be asked, should nobody find another one: the error is
   * the call's, so that whatever wraps the call, and every fallback, hears of it.
   *
   * @internal
   */
  refusal: ProxyError | undefined = undefined;

  /**
   * What went to `next(err)`, until a later answer of an upstream makes up for it.
   *
   * @internal
   */
  failure: unknown = undefined;

  /**
   * Whether the budget of retries had nothing left for it.
   *
   * @internal
   */
  isOutOfRetries = false;

  /**
   * Whether somebody has told the upstream who the client is: the answer may be for that client alone.
   *
   * @internal
   */
  isVouchedFor = false;

  #route: string | undefined = undefined;
  #method: string | undefined = undefined;
  #path: string | undefined = undefined;
  #wrappers: Around[] | undefined = undefined;
  #innermost = 0;
  #edits: ResponseEdit[] | undefined = undefined;
  #editsRun = 0;
  #fallbacks: FailureHandler[] | undefined = undefined;
  #degraded: ProxyError | undefined = undefined;
  #listeners: ((exchange: SettledExchange) => void)[] | undefined = undefined;
  #watched = false;
  #leased: Upstream | undefined = undefined;

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.req = req;
    this.res = res;
    this.headers = new HeaderOverlay(req);
  }

  /** The method that will be sent; the live `req.method` until it is set. */
  get method(): string {
    return this.#method ?? this.req.method ?? 'GET';
  }

  set method(method: string) {
    this.#method = method;
  }

  /** Path and query that will be sent, text as the client wrote it; the live `req.url` until set. */
  get path(): string {
    return this.#path ?? livePath(this.req, this.withheld);
  }

  set path(path: string) {
    if (typeof path !== 'string') {
      throw new TypeError(`exchange.path must be a string, received ${inspect(path)}`);
    }
    this.#path = path;
  }

  /**
   * Whether the path is another one than the client's.
   *
   * @internal
   */
  get isRerouted(): boolean {
    return this.#path !== undefined && this.#path !== livePath(this.req, this.withheld);
  }

  /** The pattern of the route that the request is on: `/users/:id`, or `/api/*` below a mount. */
  get route(): string {
    return this.#route ?? routeOf(this.req);
  }

  /**
   * Keeps the route. The request is about to leave it, for an error handler or what else comes next.
   *
   * @internal
   */
  keepRoute(): void {
    this.#route ??= routeOf(this.req);
  }

  /** Registers a wrapper round the upstream call, once. The first registered is the outermost. */
  around(wrapper: Around): void {
    const wrappers = this.#wrappers;
    if (wrappers === undefined) this.#wrappers = [wrapper];
    else if (wrappers.includes(wrapper)) return;
    else wrappers.splice(wrappers.length - this.#innermost, 0, wrapper);
  }

  /** Registers a wrapper round every single try: inside all those of `around()`, wherever its piece stands. */
  aroundEach(wrapper: Around): void {
    this.#wrappers ??= emptyList();
    if (this.#wrappers.includes(wrapper)) return;
    this.#wrappers.push(wrapper);
    this.#innermost += 1;
  }

  /** Registers an edit of the response. Edits run in the order in which they were registered. */
  onResponse(edit: ResponseEdit): void {
    if (this.#edits === undefined) this.#edits = [edit];
    else this.#edits.push(edit);
  }

  /**
   * Registers what decides about an answer in place of an error. The last one registered is asked first,
   * and each once: what fails after it is for those before.
   */
  onFailure(fallback: FailureHandler): void {
    this.#fallbacks ??= emptyList();
    this.#fallbacks.push(fallback);
  }

  /**
   * Whether anybody may still decide about an error.
   *
   * @internal
   */
  get hasFallback(): boolean {
    return this.#fallbacks !== undefined && this.#fallbacks.length > 0;
  }

  /**
   * Takes the next one to be asked about an error.
   *
   * @internal
   */
  takeFallback(): FailureHandler | undefined {
    return this.#fallbacks?.pop();
  }

  /** The first error that a fallback made up for; `undefined` while there is none. */
  get degraded(): ProxyError | undefined {
    return this.#degraded;
  }

  /**
   * Notes that something else takes the place of an error, and where it will come from, if that is known.
   *
   * @internal
   */
  degrade(error: ProxyError, upstream: Upstream | undefined): void {
    this.#degraded ??= error;
    if (upstream === undefined) return;
    this.upstream = upstream;
    if (upstream === this.#leased) return;
    this.pool = undefined;
    this.lease(upstream);
  }

  /** Whether the request can be sent once more: its upload has not gone by, or was kept. */
  get canSendAgain(): boolean {
    if (!this.streamsUpload || !this.req.readableDidRead) return true;
    return this.unsentUpload !== undefined || this.upload?.chunks !== undefined;
  }

  /** Calls back once when the outcome is known, at once if it is. For logs, metrics and limits. */
  onOutcome(listener: (exchange: SettledExchange) => void): void {
    this.watch();
    if (this.outcome !== undefined) return notify(listener, this as SettledExchange);
    this.#listeners ??= emptyList();
    this.#listeners.push(listener);
  }

  /** The registered wrappers, outermost first. */
  get wrappers(): readonly Around[] {
    return this.#wrappers ?? NONE;
  }

  /**
   * Runs the edits that have not been run on this response. Gives a promise only when an edit did.
   *
   * @internal
   */
  edit(response: UpstreamResponse): void | Promise<void> {
    const edits = this.#edits;
    while (edits !== undefined && this.#editsRun < edits.length) {
      const edit = edits[this.#editsRun++] as ResponseEdit;
      const pending = edit(response, this.req, this.res);
      if (isPromise(pending)) return this.#editOn(pending, response);
    }
  }

  /**
   * Forgets which edits ran: another response is to come.
   *
   * @internal
   */
  restartEdits(): void {
    this.#editsRun = 0;
  }

  async #editOn(pending: PromiseLike<unknown>, response: UpstreamResponse): Promise<void> {
    await pending;
    await this.edit(response);
  }

  /**
   * Counts this exchange as in flight at an upstream, and at no other.
   *
   * @internal
   */
  lease(upstream: Upstream | undefined): void {
    if (upstream === this.#leased) return;
    this.#leased?.release();
    this.#leased = undefined;
    if (upstream === undefined) return;
    this.watch();
    // A client may be gone before anything is chosen for it: nothing would give that back.
    if (this.outcome !== undefined) return;
    this.#leased = upstream;
    upstream.inFlight += 1;
  }

  /** Whether the client can still be answered. */
  get open(): boolean {
    return !isGone(this.res) && this.outcome === undefined;
  }

  /**
   * Notes how the exchange ended, once.
   *
   * @internal
   */
  settle(type: OutcomeType, error?: unknown): void {
    if (this.outcome !== undefined) return;
    this.lease(undefined);
    const degraded = type === 'completed' ? this.#degraded : undefined;
    this.outcome = new Outcome(
      type,
      this.bytesSent,
      this.bytesReceived,
      performance.now() - this.startedAt,
      error ?? degraded,
      degraded !== undefined,
    );
    const listeners = this.#listeners;
    if (listeners === undefined) return;
    this.#listeners = undefined;
    for (const listener of listeners) notify(listener, this as SettledExchange);
  }

  /**
   * Listens for the end of the answer: that is when outcome and whatever is in flight are settled.
   *
   * @internal
   */
  watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    settleWithAnswer(this.res);
  }

  /** The exchange as a log line has it. */
  toJSON(): object {
    return logLine(this);
  }
}

/** An exchange that has ended, as listeners of `onOutcome()` get it: its outcome is there. */
export type SettledExchange = Exchange & { readonly outcome: Outcome };

/** The exchange of a request; made, and `res.locals` with it, when it is missing. */
export function exchangeOf(req: IncomingMessage, res: ServerResponse): Exchange {
  const carrier = res as Carrier;
  let exchange = carrier[EXCHANGE];
  if (exchange === undefined) {
    exchange = new Exchange(req, res);
    carrier[EXCHANGE] = exchange;
  }
  const { locals } = carrier;
  if (locals === undefined) carrier.locals = { proxy: exchange };
  else if (locals.proxy !== exchange) locals.proxy = exchange;
  return exchange;
}

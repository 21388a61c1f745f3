import { ClientClosedError, isProxyError, type ProxyError } from '../exchange/errors.js';
import { type Exchange, exchangeOf, type Handler, type Send } from '../exchange/exchange.js';
import { httpDate } from '../exchange/http-date.js';
import { KeptUpload } from '../exchange/kept-upload.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { callable, fraction, inspect, known, milliseconds, wholeNumber } from '../options.js';
import type { BudgetGauge } from '../upstreams/budget-metrics.js';
import { RetryBudget } from '../upstreams/retry-budget.js';
import { Tried } from '../upstreams/tried.js';
import type { Upstream } from '../upstreams/upstream.js';

/** How many retries there may be for all requests together. */
export interface RetryBudgetOptions {
  /**
   * Retries in relation to recent requests.
   *
   * @default 0.2
   */
  readonly ratio?: number | undefined;
  /**
   * Retries a second that are free of it.
   *
   * @default 3
   */
  readonly minPerSecond?: number | undefined;
}

/** How long to wait before a retry: a random part of a time that doubles. */
export interface RetryBackoffOptions {
  /**
   * @default 25
   */
  readonly baseMs?: number | undefined;
  /**
   * The longest wait; by default never shorter than `baseMs`. An upstream that asks for a longer one with
   * `Retry-After` is not asked again.
   *
   * @default 1_000
   */
  readonly maxMs?: number | undefined;
}

/** Options for {@link retry}. */
export interface RetryOptions {
  /**
   * Tries after the first.
   *
   * @default 2
   */
  readonly retries?: number | undefined;
  /**
   * Methods that may be sent twice. Others are sent again only when nothing of them was sent before.
   *
   * @default ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']
   */
  readonly methods?: readonly string[] | undefined;
  /**
   * Answers that count as a failed try.
   *
   * @default [502, 503, 504]
   */
  readonly statuses?: readonly number[] | undefined;
  /** How many retries there may be in relation to requests; `false` for any number. */
  readonly budget?: RetryBudgetOptions | false | undefined;
  /** How long to wait before each retry. */
  readonly backoff?: RetryBackoffOptions | undefined;
  /**
   * The longest request body that is kept for another try, in bytes.
   *
   * @default 65_536
   */
  readonly bufferBodyBytes?: number | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
  /** Numbers from 0 to 1; for tests. */
  readonly random?: (() => number) | undefined;
}

/** A {@link retry} in place. */
export interface Retry extends Handler, BudgetGauge {}

interface RetryPolicy {
  readonly retries: number;
  readonly methods: ReadonlySet<string>;
  readonly statuses: readonly number[];
  readonly budget: RetryBudget | undefined;
  readonly baseMs: number;
  readonly maxMs: number;
  readonly now: () => number;
  readonly random: () => number;
}

/**
 * Tries again where that is safe: whatever had not been sent at all, and idempotent methods after a
 * lost connection or one of `statuses`. Each try goes to another upstream while there is one, in reserve
 * or not. Place it after `loadBalancer()`; before `circuitBreaker()` each try is the breaker's to decide.
 *
 * @example
 * app.use(loadBalancer({ upstreams }), retry({ retries: 2 }), proxyPass());
 */
export function retry(options: RetryOptions = {}): Retry {
  const policy = policyOf(options);
  const { bufferBodyBytes = 65_536 } = options;
  wholeNumber('retry: bufferBodyBytes', bufferBodyBytes);

  const tryAgain = (exchange: Exchange, send: Send): Promise<UpstreamResponse> =>
    sendWithRetries(exchange, send, policy);

  const handler: Handler = function retryMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    // Another `retry()` before this one may have kept some of it already.
    exchange.upload ??= new KeptUpload(bufferBodyBytes);
    exchange.upload.allow(bufferBodyBytes);
    exchange.around(tryAgain);
    next?.();
  };
  return Object.defineProperty(handler, 'retriesLeft', {
    get: () => policy.budget?.left ?? Number.POSITIVE_INFINITY,
  }) as Retry;
}

function policyOf(options: RetryOptions): RetryPolicy {
  const {
    retries = 2,
    methods = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'],
    statuses = [502, 503, 504],
    budget = {},
    backoff = {},
    now = () => performance.now(),
    random = Math.random,
  } = known('retry', options, [
    'retries',
    'methods',
    'statuses',
    'budget',
    'backoff',
    'bufferBodyBytes',
    'now',
    'random',
  ]);
  wholeNumber('retry: retries', retries);
  callable('retry: now', now);
  callable('retry: random', random);
  const { baseMs = 25, ...longest } = known('retry: backoff', backoff, ['baseMs', 'maxMs']);
  milliseconds('retry: backoff.baseMs', baseMs, 0);
  const { maxMs = Math.max(1_000, baseMs) } = longest;
  milliseconds('retry: backoff.maxMs', maxMs, baseMs);
  list('retry: statuses', statuses).forEach((status, i) => {
    wholeNumber(`retry: statuses[${i}]`, status, 400, 599);
  });
  return {
    retries,
    methods: new Set(list('retry: methods', methods).map(methodName)),
    statuses,
    budget: budget === false ? undefined : budgetOf(budget, now),
    baseMs,
    maxMs,
    now,
    random,
  };
}

function list<T>(at: string, value: readonly T[]): readonly T[] {
  if (!Array.isArray(value))
    throw new TypeError(`${at} must be an array, received ${inspect(value)}`);
  return value;
}

function methodName(method: unknown, i: number): string {
  if (typeof method === 'string' && /^[A-Za-z-]+$/.test(method)) return method.toUpperCase();
  throw new TypeError(`retry: methods[${i}] must be a method, received ${inspect(method)}`);
}

function budgetOf(budget: RetryBudgetOptions, now: () => number): RetryBudget {
  const { ratio = 0.2, minPerSecond = 3 } = known('retry: budget', budget, [
    'ratio',
    'minPerSecond',
  ]);
  fraction('retry: budget.ratio', ratio);
  wholeNumber('retry: budget.minPerSecond', minPerSecond);
  return new RetryBudget(ratio, minPerSecond, now);
}

/** What came of one try. */
type Result = { readonly response: UpstreamResponse } | { readonly error: unknown };

async function sendWithRetries(
  exchange: Exchange,
  send: Send,
  policy: RetryPolicy,
): Promise<UpstreamResponse> {
  policy.budget?.earn();
  let tried: Tried | undefined;
  for (let n = 0; ; n++) {
    const result: Result = await send().then(
      (response) => ({ response }),
      (error: unknown) => ({ error }),
    );
    const last = n >= policy.retries || !exchange.open;
    if (last || !mayRetry(exchange, result, policy)) return settled(result);
    const before = exchange.upstream;
    const time = policy.now();
    const askedMs = askedFor(result);
    tried ??= new Tried();
    tried.note(before, time + askedMs);
    const again = askedMs <= policy.maxMs && isKept(exchange);
    const except = tried.passedBy(exchange, time + policy.maxMs);
    if (except === undefined && !again) return settled(result);
    // Nothing has been chosen yet: that would take the turn of somebody who is sent.
    if (policy.budget?.spend() === false) {
      exchange.isOutOfRetries = true;
      return settled(result);
    }
    moveOn(exchange, except);
    if (exchange.upstream === before && !again) return settled(result);
    if ('response' in result) result.response.discard();
    const waitMs = tried.askableFrom(exchange.upstream) - time;
    await pause(exchange, Math.max(backoffMs(n, policy), waitMs));
    if (!exchange.open) throw new ClientClosedError({ upstream: before });
  }
}

function settled(result: Result): UpstreamResponse {
  if ('response' in result) return result.response;
  throw result.error;
}

/** Failures before anything of the request was sent: any method can be sent again. */
const UNSENT: ReadonlySet<string> = new Set(['ERR_PROXY_CONNECT', 'ERR_PROXY_CONNECT_TIMEOUT']);
/** Failures after which an idempotent method can be sent again. */
const LOST: ReadonlySet<string> = new Set(['ERR_PROXY_RESET', 'ERR_PROXY_BAD_RESPONSE']);

function mayRetry(exchange: Exchange, result: Result, { methods, statuses }: RetryPolicy): boolean {
  if (!exchange.canSendAgain) return false;
  if ('response' in result) {
    return statuses.includes(result.response.status) && methods.has(exchange.method);
  }
  if (!isProxyError(result.error)) return false;
  const { code }: ProxyError = result.error;
  if (UNSENT.has(code) || isLeftInLine(exchange, result.error)) return true;
  if (!methods.has(exchange.method)) return false;
  return LOST.has(code) || (code === 'ERR_PROXY_HEADERS_TIMEOUT' && statuses.includes(504));
}

/** Whether no connection came free in time. What a limit of the gateway's own has refused was no try. */
function isLeftInLine({ attempts }: Exchange, error: ProxyError): boolean {
  return error.code === 'ERR_PROXY_OVERLOADED' && attempts.at(-1)?.error === error;
}

/** Whether the upstream is still there to be asked again: what is removed or closed would get new connections. */
function isKept({ pool, upstream }: Exchange): boolean {
  return pool === undefined || upstream === undefined || pool.keeps(upstream);
}

/** Gives the exchange to the upstream of the next try: another one than these, or once more the same. */
function moveOn(exchange: Exchange, except: readonly Upstream[] | undefined): void {
  const { pool, upstream: before } = exchange;
  if (pool === undefined) return;
  const other = except === undefined ? undefined : pool.pick(exchange, except);
  exchange.upstream = other ?? pool.give(exchange, before);
}

/** Full jitter. */
function backoffMs(n: number, { baseMs, maxMs, random }: RetryPolicy): number {
  return random() * Math.min(maxMs, baseMs * 2 ** n);
}

/** How long the upstream wants not to be asked again. */
function askedFor(result: Result): number {
  const field = 'response' in result ? result.response.headers.get('retry-after') : undefined;
  return field === undefined ? 0 : retryAfterMs(field);
}

/** `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3). */
function retryAfterMs(field: string): number {
  if (/^\d+$/.test(field)) return Number(field) * 1_000;
  const now = Date.now();
  return Math.max(0, (httpDate(field) ?? now) - now);
}

/** Waits, but no longer than the client does. */
function pause(exchange: Exchange, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    timer.unref();
    exchange.onOutcome(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

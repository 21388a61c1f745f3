import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Request, Response } from 'express';
import { MemoryStore, type Options, rateLimit } from 'express-rate-limit';
import { RateLimitedError } from '../exchange/errors.js';
import { exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { type RequestTrusts, type Trust, trustFor } from '../exchange/trust.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import { deliver, fail } from '../transport/deliver.js';
import { log } from '../transport/log.js';
import { PromptStore } from '../upstreams/prompt-store.js';
import {
  clientKey,
  type Ipv6Subnet,
  type PerRequest,
  type RateLimitInfo,
  type RateLimitStore,
} from '../upstreams/rate-limit.js';
import { checkedAnswers, checkRateLimit, claimStore } from '../upstreams/rate-limit-checks.js';
import { callListener } from '../warnings.js';

/** Options for {@link rateLimiter}: those of express-rate-limit, and `trust` and `storeTimeoutMs`. */
export interface RateLimiterOptions {
  /**
   * How long requests are counted, from the first of a client on.
   *
   * @default 60_000
   */
  readonly windowMs?: number | undefined;
  /**
   * Requests of one client in that time; 0 lets none through.
   *
   * @default 5
   */
  readonly limit?: number | PerRequest<number> | undefined;
  /** The older name of `limit`. */
  readonly max?: number | PerRequest<number> | undefined;
  /** The answer to one request too many, in place of an error for `next()`. Objects are sent as JSON. */
  readonly message?: unknown;
  /**
   * The status of that answer, or of the error.
   *
   * @default 429
   */
  readonly statusCode?: number | undefined;
  /** Does with one request too many what it likes; gets `(req, res, next, options)`. */
  readonly handler?: RateLimitHandler | undefined;
  /**
   * `RateLimit` and `RateLimit-Policy`, as one of the drafts has them; `true` is `'draft-6'`.
   *
   * @default 'draft-8'
   */
  readonly standardHeaders?: boolean | 'draft-6' | 'draft-7' | 'draft-8' | undefined;
  /**
   * `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
   *
   * @default false
   */
  readonly legacyHeaders?: boolean | undefined;
  /** The older name of `legacyHeaders`. */
  readonly headers?: boolean | undefined;
  /** The name of the policy in the fields of draft 8; made of limit and window when it is not given. */
  readonly identifier?: string | PerRequest<string> | undefined;
  /** Seconds for `Retry-After`; the rest of the window when it is not given. */
  readonly retryAfter?: number | PerRequest<number> | undefined;
  /**
   * Where `req` tells what was counted.
   *
   * @default 'rateLimit'
   */
  readonly requestPropertyName?: string | undefined;
  /**
   * Whose word about the client's address counts: what Express' `trust proxy` says (`'app'`), or any other
   * that `forwardedFor()` takes.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
  /** Who is counted together, in place of a client's address. */
  readonly keyGenerator?: PerRequest<string> | undefined;
  /**
   * Bits of an IPv6 address that are counted together, from 32 to 64; `false` for single addresses.
   *
   * @default 56
   */
  readonly ipv6Subnet?: Ipv6Subnet | PerRequest<Ipv6Subnet> | undefined;
  /** Which requests pass without being counted. */
  readonly skip?: PerRequest<boolean> | undefined;
  /**
   * Takes back what was counted for an answer that `requestWasSuccessful` does not take for one.
   *
   * @default false
   */
  readonly skipFailedRequests?: boolean | undefined;
  /**
   * Takes back what was counted for one that it does.
   *
   * @default false
   */
  readonly skipSuccessfulRequests?: boolean | undefined;
  /** Tells by the answer; a status below 400 when it is not given. */
  readonly requestWasSuccessful?: PerRequest<boolean> | undefined;
  /** Where requests are counted: any store of express-rate-limit; the memory of the process by default. */
  readonly store?: RateLimitStore | undefined;
  /**
   * How long a store may take to answer. One that takes longer has failed.
   *
   * @default 1_000
   */
  readonly storeTimeoutMs?: number | undefined;
  /**
   * Lets requests through, uncounted, while the store fails. Otherwise they get 503.
   *
   * @default false
   */
  readonly passOnStoreError?: boolean | undefined;
  /**
   * Which mistakes express-rate-limit looks for, by name.
   *
   * @default true
   */
  readonly validate?: boolean | Readonly<Record<string, boolean>> | undefined;
  /** Is told of a store that fails, and of mistakes that show with a request. */
  readonly logger?: RateLimitLogger | undefined;
}

/** What is done with one request too many. */
export type RateLimitHandler = {
  handle(req: IncomingMessage, res: ServerResponse, next: Next, options: unknown): unknown;
}['handle'];

/** Who is told what goes wrong. */
export interface RateLimitLogger {
  /** What fails. */
  error(error: unknown, message?: string): void;
  /** What will change. */
  warn(error: unknown, message?: string): void;
}

/** A {@link rateLimiter} in place. */
export interface RateLimiter extends Handler {
  /** Forgets what was counted for a key. */
  resetKey(key: string): Promise<void>;
  /** What was counted for a key. */
  getKey(key: string): Promise<RateLimitInfo | undefined>;
  /** Forgets everything. A store that was given is not its own to close. */
  close(): Promise<void>;
}

/**
 * Counts the requests of each client and refuses those beyond a limit, with 429 through `next(error)`.
 * The answer tells how many are left. Place it before `loadBalancer()`, which would choose for nothing.
 *
 * @example
 * app.use(rateLimiter({ windowMs: 60_000, limit: 100 }), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function rateLimiter(options: RateLimiterOptions = {}): RateLimiter {
  checkRateLimit('rateLimiter', options);
  claimStore('rateLimiter: store', options);
  const { storeTimeoutMs = 1_000, ...rest } = checkedAnswers(options);
  const store = new PromptStore(options.store ?? new MemoryStore(), {
    timeoutMs: storeTimeoutMs,
    now: () => performance.now(),
  });
  const limiter = limiterOf(rest, store);

  const handler: Handler = function rateLimiterMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    lendAppend(res);
    // What it has caught comes as an argument, even where that is `undefined`.
    void limiter(req as Request, res as Response, (...caught: unknown[]) => {
      if (caught.length === 0) next?.();
      else fail(exchange, caught[0], next);
    });
  };
  return Object.assign(handler, {
    resetKey: (key: string) => store.resetKey(key),
    getKey: (key: string) => store.get(key),
    close: async () => {
      if (options.store === undefined) await store.shutdown();
    },
  });
}

type Settings = Omit<RateLimiterOptions, 'storeTimeoutMs'>;

/** What express-rate-limit finds wrong with the options throws here; what comes later is only told. */
function limiterOf(settings: Settings, store: PromptStore): ReturnType<typeof rateLimit> {
  const { max = 5, limit = max, headers = false, legacyHeaders = headers } = settings;
  const {
    standardHeaders = 'draft-8',
    keyGenerator,
    trust = 'app',
    ipv6Subnet = 56,
    handler,
  } = settings;
  const { max: _max, headers: _headers, trust: _trust, ipv6Subnet: _subnet, ...rest } = settings;
  let made = false;
  const tell = (level: 'error' | 'warn') => (error: unknown, message?: string) => {
    if (!made) throw new TypeError(`rateLimiter: ${messageOf(error)}`, { cause: error });
    if (log.enabled) log('rateLimiter: %s %O', message ?? '', error);
    callListener('The logger of rateLimiter() threw', () =>
      settings.logger?.[level](error, message),
    );
  };
  const options = {
    ...rest,
    limit,
    legacyHeaders,
    standardHeaders,
    keyGenerator: keyGenerator ?? keyOf(trustFor('rateLimiter: trust', trust), ipv6Subnet),
    handler: handler ?? refusal(settings),
    store,
    logger: { error: tell('error'), warn: tell('warn') },
  };
  const limiter = rateLimit(options as Partial<Options>);
  made = true;
  return limiter;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function keyOf(
  trusts: RequestTrusts,
  subnet: Ipv6Subnet | PerRequest<Ipv6Subnet>,
): PerRequest<string> {
  if (typeof subnet !== 'function') return (req) => clientKey(req, trusts, subnet);
  return async (req, res) => clientKey(req, trusts, await subnet(req, res));
}

type Refusal = (req: IncomingMessage, res: ServerResponse, next: Next) => Promise<void>;

/** An error for `next()`, or the answer that was asked for. */
function refusal({ message, statusCode = 429, ...settings }: Settings): Refusal {
  return async (req, res, next) => {
    if (res.headersSent) return;
    if (!res.hasHeader('Retry-After')) {
      res.setHeader('Retry-After', await secondsLeft(req, res, settings));
    }
    if (message === undefined) {
      return next(new RateLimitedError({ headers: limitFields(res) }, statusCode));
    }
    const body: unknown = typeof message === 'function' ? await message(req, res) : message;
    const isText = typeof body === 'string' && !res.hasHeader('Content-Type');
    const headers = isText ? { 'Content-Type': 'text/plain; charset=utf-8' } : {};
    const response = new UpstreamResponse({ status: statusCode, headers, body: body ?? '' });
    deliver(exchangeOf(req, res), response, undefined);
  };
}

/** What express-rate-limit leaves out where none of its other fields are wanted. */
async function secondsLeft(
  req: IncomingMessage,
  res: ServerResponse,
  { retryAfter, requestPropertyName = 'rateLimit', windowMs = 60_000 }: Settings,
): Promise<number> {
  if (typeof retryAfter === 'function') return retryAfter(req, res);
  if (retryAfter !== undefined) return retryAfter;
  const info: RateLimitInfo | undefined = Reflect.get(req, requestPropertyName);
  const left = info?.resetTime === undefined ? windowMs : info.resetTime.getTime() - Date.now();
  return Math.max(0, Math.ceil(left / 1_000));
}

const LIMIT_FIELD = /^(?:x-)?ratelimit(?:-|$)|^retry-after$/;

/** The fields about the limit: whoever answers to an error may clear the others away. */
function limitFields(res: ServerResponse): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const name of res.getHeaderNames()) {
    const value = res.getHeader(name);
    if (LIMIT_FIELD.test(name))
      fields[name] = Array.isArray(value) ? value.join(', ') : String(value);
  }
  return fields;
}

/** express-rate-limit takes for granted what Express adds; Node's own does the same. */
function lendAppend(res: ServerResponse): void {
  const answer = res as ServerResponse & { append?: ServerResponse['appendHeader'] };
  answer.append ??= res.appendHeader;
}

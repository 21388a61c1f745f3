import type { IncomingMessage } from 'node:http';
import { hostOf } from '../caching/asked.js';
import type { CacheStats } from '../caching/cache-metrics.js';
import { digest } from '../caching/digest.js';
import { Origins } from '../caching/origins.js';
import { ResponseStore } from '../caching/response-store.js';
import { SharedCache } from '../caching/shared-cache.js';
import type { StoredResponse } from '../caching/stored-response.js';
import type { ProxyErrorCode } from '../exchange/errors.js';
import { type Around, type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import type { FailureHandler } from '../exchange/fallback.js';
import { ALIASED, fieldInfo } from '../exchange/fields.js';
import { structuredName } from '../exchange/structured-name.js';
import {
  type Callback,
  callable,
  inspect,
  known,
  MAX_TIMER_MS,
  refuseRequest,
  wholeNumber,
} from '../options.js';

/** Options for {@link cache}. */
export interface CacheOptions {
  /**
   * How much memory the responses may take, in bytes; those not used for longest go first.
   *
   * @default 67_108_864
   */
  readonly maxBytes?: number | undefined;
  /**
   * The longest body that is kept, in bytes.
   *
   * @default 1_048_576
   */
  readonly maxBodyBytes?: number | undefined;
  /**
   * How long a response is fresh that says nothing of it, in milliseconds. It does not count for requests
   * with a `Cookie`.
   *
   * @default 0
   */
  readonly defaultTtlMs?: number | undefined;
  /**
   * How long a response may stand in for an upstream that fails after it has become stale, in milliseconds,
   * where it does not say so itself.
   *
   * @default 0
   */
  readonly staleIfErrorMs?: number | undefined;
  /**
   * How long a request waits for one before it that asks for the same, in milliseconds; 0 for not at all.
   *
   * @default 5_000
   */
  readonly waitMs?: number | undefined;
  /** What else tells answers apart, beside the URL and what `Vary` names. */
  readonly key?: Callback<[req: IncomingMessage], string> | undefined;
  /**
   * How this cache calls itself in `Cache-Status`; `false` for no such field.
   *
   * @default 'headrace'
   */
  readonly name?: string | false | undefined;
  /** The clock, in milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined;
}

/** A response in a {@link cache}. */
export interface CachedResponse {
  readonly host: string;
  /** Path and query, as the client asked for them. */
  readonly url: string;
  readonly status: number;
  readonly bytes: number;
  /** When it came, in milliseconds since 1970. */
  readonly receivedAt: number;
}

/** A {@link cache} in place. */
export interface Cache extends Handler {
  stats(): CacheStats;
  /** Forgets what matches; everything, when nothing is given. Says how many there were. */
  purge(matches?: (response: CachedResponse) => boolean): number;
}

/**
 * Answers from memory what the upstream allows to be kept by a cache that all clients share (RFC 9111).
 * Place it behind the pieces that say who may pass, and before `retry()`.
 *
 * @example
 * app.use(cache({ maxBytes: 2 ** 28 }), loadBalancer({ upstreams }), proxyPass());
 * // Cache-Status: headrace; hit; ttl=58
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function cache(options: CacheOptions = {}): Cache {
  refuseRequest('cache', options);
  const {
    maxBytes = 67_108_864,
    maxBodyBytes = 1_048_576,
    defaultTtlMs = 0,
    staleIfErrorMs = 0,
    waitMs = 5_000,
    key,
    name = 'headrace',
    now = Date.now,
  } = known('cache', options, OPTIONS);
  wholeNumber('cache: maxBytes', maxBytes, 1);
  wholeNumber('cache: maxBodyBytes', maxBodyBytes, 1);
  wholeNumber('cache: defaultTtlMs', defaultTtlMs);
  wholeNumber('cache: staleIfErrorMs', staleIfErrorMs);
  wholeNumber('cache: waitMs', waitMs, 0, MAX_TIMER_MS);
  if (key !== undefined) callable('cache: key', key);
  callable('cache: now', now);
  const member = name === false ? undefined : structuredName('cache: name', name);
  const store = new ResponseStore(maxBytes);
  const shared = new SharedCache({
    store,
    maxBodyBytes: Math.min(maxBodyBytes, maxBytes),
    defaults: { ttlMs: defaultTtlMs, staleIfErrorMs },
    waitMs,
    now,
    keyOf: keyReader(key),
    tell: (response, what) => {
      if (member !== undefined) response.headers.append('Cache-Status', `${member}; ${what}`);
    },
  });
  const around: Around = (exchange, send) => shared.send(exchange, send);
  const onFailure: FailureHandler = ({ code }, _req, exchange) =>
    OF_UPSTREAMS.has(code) ? shared.instead(exchange) : undefined;

  const handler: Handler = function cacheMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    if (exchange.upgrade === undefined) {
      exchange.around(around);
      exchange.onFailure(onFailure);
    }
    next?.();
  };
  return Object.assign(handler, {
    stats: () => ({ entries: store.size, bytes: store.bytes, ...shared.counts }),
    purge: (matches: (response: CachedResponse) => boolean = () => true) => {
      callable('cache: purge()', matches);
      return shared.purge((stored) => matches(told(stored)));
    },
  });
}

const OPTIONS = [
  'maxBytes',
  'maxBodyBytes',
  'defaultTtlMs',
  'staleIfErrorMs',
  'waitMs',
  'key',
  'name',
  'now',
] as const satisfies readonly (keyof CacheOptions)[];

/** Errors that an old answer may stand in for. Not among them is who may pass, where nobody could tell. */
const OF_UPSTREAMS: ReadonlySet<ProxyErrorCode> = new Set([
  'ERR_PROXY_CONNECT',
  'ERR_PROXY_CONNECT_TIMEOUT',
  'ERR_PROXY_RESET',
  'ERR_PROXY_BAD_RESPONSE',
  'ERR_PROXY_HEADERS_TIMEOUT',
  'ERR_PROXY_NO_UPSTREAM',
  'ERR_PROXY_CIRCUIT_OPEN',
  'ERR_PROXY_OVERLOADED',
]);

/** Fields by which frameworks know where they are and what is asked for, and which no `Vary` names. */
const UNNAMED = [
  ...['x-host', 'x-original-host', 'x-http-host-override', 'x-script-name'],
  ...['x-forwarded-host', 'x-forwarded-server', 'x-forwarded-port', 'x-forwarded-prefix'],
  ...['x-forwarded-path', 'x-forwarded-uri', 'x-forwarded-proto', 'x-forwarded-protocol'],
  ...['x-forwarded-scheme', 'x-forwarded-ssl', 'x-url-scheme', 'x-scheme', 'front-end-https'],
  ...['x-original-url', 'x-original-uri', 'x-rewrite-url'],
  ...['x-http-method-override', 'x-http-method', 'x-method-override'],
];
/** In a `Forwarded`, the parameters that say who is asking, and not for what. */
const WHO = /\b(?:for|by)=(?:"[^"]*"|[^;,]*)/gi;

/** What is asked for beside the URL: of whom, and what would be sent. */
function keyReader(own: CacheOptions['key']): (exchange: Exchange) => string {
  const origins = new Origins();
  return (exchange) => {
    const { req, headers, path } = exchange;
    const [host, authority] = [hostOf(exchange), req.headers[':authority']];
    const forwarded = headers.get('forwarded')?.replace(WHO, '');
    const parts: unknown[] = [...origins.of(exchange), path, host];
    parts.push(authority === host ? undefined : authority, forwarded);
    for (const field of UNNAMED) parts.push(headers.get(field));
    // Some upstreams take `X_Host` for `X-Host`.
    for (const name in req.headers) {
      if (fieldInfo(name).flags & ALIASED) parts.push(name, headers.get(name));
    }
    if (own !== undefined) parts.push(ownPart(own(req)));
    return digest(parts);
  };
}

function ownPart(part: unknown): string {
  if (typeof part === 'string') return part;
  throw new TypeError(`cache: key() must return a string, received ${inspect(part)}`);
}

function told({ origin, status, bytes }: StoredResponse): CachedResponse {
  const { host, url, receivedAt } = origin;
  return { host, url, status, bytes, receivedAt };
}

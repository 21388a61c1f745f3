import { connectionOptionsOf } from '../connection-settings.js';
import type { Handler, ResponseEdit } from '../exchange/exchange.js';
import type { ResponseInit } from '../exchange/upstream-response.js';
import type { Verifier } from '../identity/verifier.js';
import { flag, inspect, known, refuseRequest } from '../options.js';
import type { AccessCheck } from '../transport/access-rule.js';
import { runInTurn } from '../transport/in-turn.js';
import { refuseForeign } from '../transport/other-proxies.js';
import { TRANSPORT_OPTIONS } from '../transport/settings.js';
import type { Discovery } from '../upstreams/discovery/discovery.js';
import type { FallbackHandler } from '../upstreams/fallback-option.js';
import { isPool } from '../upstreams/is-pool.js';
import type { UpstreamPool } from '../upstreams/pool.js';
import { POOL_OPTIONS, type UpstreamPoolOptions } from '../upstreams/pool-options.js';
import type { StickyOptions } from '../upstreams/sticky.js';
import { Upstream, type UpstreamInit } from '../upstreams/upstream.js';
import { type AddressListOptions, addressList } from './address-list.js';
import {
  type AssertIdentity,
  type AssertIdentityOptions,
  assertIdentity,
} from './assert-identity.js';
import { type AuthenticateOptions, authenticate } from './authenticate.js';
import { type AuthorizeOptions, authorize } from './authorize.js';
import { type Cache, type CacheOptions, cache } from './cache.js';
import { type CircuitBreakerOptions, circuitBreaker } from './circuit-breaker.js';
import { type ConcurrencyLimitOptions, concurrencyLimit } from './concurrency-limit.js';
import { fallback } from './fallback.js';
import { type ForwardAuthOptions, forwardAuth } from './forward-auth.js';
import { type ForwardedForOptions, forwardedFor } from './forwarded-for.js';
import { type LoadBalancerOptions, loadBalancer } from './load-balancer.js';
import { modifyResponse } from './modify-response.js';
import { type ProxyPassOptions, proxyPass, type Target } from './proxy-pass.js';
import { type ProxyStatusOptions, proxyStatus } from './proxy-status.js';
import { type RateLimiterOptions, rateLimiter } from './rate-limiter.js';
import { type RetryOptions, retry } from './retry.js';
import { type RewriteCookiesOptions, rewriteCookies } from './rewrite-cookies.js';
import { rewriteRedirects } from './rewrite-redirects.js';
import { type RewriteRules, rewriteUrl } from './rewrite-url.js';
import { type StripHopHeadersOptions, stripHopHeaders } from './strip-hop-headers.js';

/** Options for {@link reverseProxy}: those of `loadBalancer` and `proxyPass`, and one for each other piece. */
export interface ReverseProxyOptions extends ProxyPassOptions, UpstreamPoolOptions {
  /** Where requests go. This or `upstreams` is required. */
  readonly target?: Target | undefined;
  /** Several upstreams, a source of them, or a pool. This or `target` is required. */
  readonly upstreams?: readonly UpstreamInit[] | Discovery | UpstreamPool | undefined;
  /** Keeps a client with the upstream that served it first, by a signed cookie. Off by default. */
  readonly sticky?: StickyOptions | undefined;
  /**
   * Options of `retry()`; `false` leaves it out. It is there by default where there are several
   * upstreams to choose from, and not for a single target.
   */
  readonly retry?: RetryOptions | false | undefined;
  /** What `fallback()` puts in the place of errors; left out without it. */
  readonly fallback?: FallbackHandler | ResponseInit | undefined;
  /** Options of `rateLimiter()`; left out without any. */
  readonly rateLimiter?: RateLimiterOptions | undefined;
  /** Options of `cache()`, or what it returns, where it has to be purged; left out without any. */
  readonly cache?: CacheOptions | Cache | undefined;
  /** Options of `concurrencyLimit()`; left out without any. */
  readonly concurrencyLimit?: ConcurrencyLimitOptions | undefined;
  /** Options of `circuitBreaker()`; left out without any. */
  readonly circuitBreaker?: CircuitBreakerOptions | undefined;
  /** Options of `addressList()`; left out without any. */
  readonly addressList?: AddressListOptions;
  /** A verifier, or the arguments of `authenticate()` in a list; left out without any. */
  readonly authenticate?:
    | Verifier
    | readonly Verifier[]
    | readonly [...Verifier[], AuthenticateOptions];
  /** The policy of `authorize()`; left out without one. */
  readonly authorize?: AuthorizeOptions | AccessCheck;
  /** Options of `forwardAuth()`; left out without any. */
  readonly forwardAuth?: ForwardAuthOptions;
  /** Options of `assertIdentity()`, or what it returns, where its keys are served; left out without any. */
  readonly assertIdentity?: AssertIdentityOptions | AssertIdentity;
  /** Options of `proxyStatus()`; left out without any. */
  readonly proxyStatus?: ProxyStatusOptions | undefined;
  /** Options of `stripHopHeaders()`. */
  readonly stripHopHeaders?: StripHopHeadersOptions | undefined;
  /** Options of `forwardedFor()`; `false` leaves it out. */
  readonly forwardedFor?: ForwardedForOptions | false | undefined;
  /** Rules of `rewriteUrl()`; left out without any. */
  readonly rewriteUrl?: RewriteRules | undefined;
  /**
   * Whether `rewriteRedirects()` is there, with the `trust` of `forwardedFor`.
   *
   * @default true
   */
  readonly rewriteRedirects?: boolean | undefined;
  /** Options of `rewriteCookies()`; left out without any. */
  readonly rewriteCookies?: RewriteCookiesOptions | undefined;
  /** The edit of `modifyResponse()`; left out without one. */
  readonly modifyResponse?: ResponseEdit | undefined;
}

/** A {@link reverseProxy} in place. */
export interface ReverseProxy extends Handler {
  /** The pool it chooses from; `undefined` when the target is a function. */
  readonly upstreams: UpstreamPool | undefined;
  /** Closes its connections, once what is in flight on them has finished. */
  close(): Promise<void>;
}

/** The options whose pieces say who may pass. One that is missing must not let everybody in. */
const GUARDS = [
  'addressList',
  'authenticate',
  'authorize',
  'forwardAuth',
  'assertIdentity',
] as const satisfies readonly (keyof ReverseProxyOptions)[];

/** The options that stand for a piece each; the others are those of the balancer and of `proxyPass()`. */
const PIECES = [
  ...GUARDS,
  'retry',
  'fallback',
  'rateLimiter',
  'cache',
  'concurrencyLimit',
  'circuitBreaker',
  'proxyStatus',
  'stripHopHeaders',
  'forwardedFor',
  'rewriteUrl',
  'rewriteRedirects',
  'rewriteCookies',
  'modifyResponse',
] as const satisfies readonly (keyof ReverseProxyOptions)[];

const OPTIONS = [
  'target',
  'upstreams',
  'sticky',
  'hold',
  ...PIECES,
  ...POOL_OPTIONS,
  ...TRANSPORT_OPTIONS,
] as const satisfies readonly (keyof ReverseProxyOptions)[];

/**
 * The whole pipeline in one line: every piece, in the right order, as one middleware.
 *
 * @example
 * app.use('/api', reverseProxy('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function reverseProxy(options: Target | ReverseProxyOptions): ReverseProxy;
export function reverseProxy(options: Target | ReverseProxyOptions, more?: unknown): ReverseProxy {
  refuseRequest('reverseProxy', options);
  // Unheard, it could be what says who may pass.
  if (typeof more === 'object' && more !== null) {
    const wanted = `reverseProxy({ target, ...options }), received ${inspect(more)} behind it`;
    throw new TypeError(`reverseProxy: options stand beside the target, ${wanted}`);
  }
  const given: ReverseProxyOptions = isOptions(options) ? options : { target: options };
  refuseForeign('reverseProxy', given);
  const { target, upstreams, ...rest } = known('reverseProxy', given, OPTIONS);
  if ((target === undefined) === (upstreams === undefined)) {
    const both = target === undefined ? 'neither was given' : 'both were given';
    throw new TypeError(`reverseProxy: either target or upstreams says where requests go, ${both}`);
  }
  const { strategy, health, slowStartMs, sticky, transport, now, random, ...others } = rest;
  const choice = { strategy, health, slowStartMs, sticky, transport, now, random };
  const { passOptions, ...pieceOptions } = split(others);
  const first = before(pieceOptions);
  const last = [...around(pieceOptions, isSingle(target)), ...after(pieceOptions)];
  const decides = typeof target === 'function';
  const pass = decides ? proxyPass(target, passOptions) : proxyPass(passOptions);
  // Last, when all else is known to be right: it may have begun to look for upstreams.
  const list = decides ? undefined : upstreams === undefined ? only(target) : upstreams;
  // Active health has to ask over such connections as requests take.
  if (list !== undefined && !isPool(list))
    choice.transport =
      choice.transport === undefined ? connectionOptionsOf(passOptions) : choice.transport;
  const balancer =
    list === undefined ? refuseChoice(choice) : loadBalancer({ upstreams: list, ...choice });
  const choosing = balancer === undefined ? [] : [balancer];
  const pieces: readonly Piece[] = [...first, ...choosing, ...last, pass];

  const handler: Handler = function reverseProxyMiddleware(req, res, next) {
    runInTurn(pieces, req, res, next);
  };
  return Object.assign(handler, {
    upstreams: balancer?.upstreams,
    close: async () => {
      await Promise.all(pieces.map((piece) => piece.close?.()));
    },
  });
}

type Choice = Omit<LoadBalancerOptions, 'upstreams'>;
type Piece = Handler & { close?(): Promise<void> };
type PieceOptions = Pick<ReverseProxyOptions, (typeof PIECES)[number]>;

function split(options: PieceOptions & ProxyPassOptions): PieceOptions & {
  readonly passOptions: ProxyPassOptions;
} {
  const passOptions: Record<string, unknown> = {};
  const pieceOptions: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const isPiece = (PIECES as readonly string[]).includes(name);
    (isPiece ? pieceOptions : passOptions)[name] = value;
  }
  return { ...pieceOptions, passOptions };
}

function before(options: PieceOptions): Piece[] {
  const { addressList: addresses, authenticate: verifiers, forwardedFor: forwarded = {} } = options;
  const { cache: kept } = options;
  checkGuards(options);
  const pieces: Piece[] = [];
  if (options.proxyStatus !== undefined) pieces.push(proxyStatus(options.proxyStatus));
  if (addresses !== undefined) pieces.push(addressList(addresses));
  const list = (Array.isArray(verifiers) ? verifiers : [verifiers]) as Verifier[];
  if (verifiers !== undefined) pieces.push(authenticate(...list));
  pieces.push(stripHopHeaders(options.stripHopHeaders));
  if (forwarded !== false) pieces.push(forwardedFor(forwarded));
  if (options.rewriteUrl !== undefined) pieces.push(rewriteUrl(options.rewriteUrl));
  pieces.push(...guards(options));
  // Not before: whoever may not pass must not be given what a fallback has kept from others.
  if (options.fallback !== undefined) pieces.push(fallback(options.fallback));
  if (options.rateLimiter !== undefined) pieces.push(rateLimiter(options.rateLimiter));
  if (kept !== undefined) pieces.push(typeof kept === 'function' ? kept : cache(kept));
  return pieces;
}

function checkGuards(options: PieceOptions): void {
  for (const name of GUARDS) {
    if (name in options && options[name] === undefined) {
      throw new TypeError(`reverseProxy: ${name} is there, and undefined`);
    }
  }
}

/** What goes by the request as it will be sent. */
function guards({
  authorize: policy,
  forwardAuth: service,
  assertIdentity: assertion,
}: PieceOptions): Piece[] {
  const pieces: Piece[] = [];
  if (policy !== undefined) pieces.push(authorize(policy));
  if (service !== undefined) pieces.push(forwardAuth(service));
  if (assertion !== undefined) {
    pieces.push(isInPlace(assertion) ? assertion : assertIdentity(assertion));
  }
  return pieces;
}

function around(options: PieceOptions, single: boolean): Piece[] {
  const { retry: again = single ? false : {}, concurrencyLimit: limit } = options;
  const pieces: Piece[] = [];
  if (again !== false) pieces.push(retry(again));
  if (limit !== undefined) pieces.push(concurrencyLimit(limit));
  if (options.circuitBreaker !== undefined) pieces.push(circuitBreaker(options.circuitBreaker));
  return pieces;
}

function after(options: PieceOptions): Piece[] {
  const { rewriteRedirects: redirects = true, forwardedFor: forwarded } = options;
  flag('reverseProxy: rewriteRedirects', redirects);
  const pieces: Piece[] = [];
  if (redirects) pieces.push(rewriteRedirects({ trust: forwarded ? forwarded.trust : 'app' }));
  if (options.rewriteCookies !== undefined) pieces.push(rewriteCookies(options.rewriteCookies));
  if (options.modifyResponse !== undefined) pieces.push(modifyResponse(options.modifyResponse));
  return pieces;
}

function isInPlace(assertion: AssertIdentityOptions | AssertIdentity): assertion is AssertIdentity {
  return typeof assertion === 'function' && 'jwksHandler' in assertion;
}

/** One upstream, or one that a function names: there is no other to try. */
function isSingle(target: Target | undefined): boolean {
  return typeof target === 'string' || target instanceof URL || typeof target === 'function';
}

/** A function has chosen already: what is said about choosing would go unheard. */
function refuseChoice(choice: Choice): undefined {
  for (const [name, value] of Object.entries(choice)) {
    if (value === undefined) continue;
    throw new TypeError(`reverseProxy: ${name} needs upstreams, and target is a function`);
  }
}

/** What is balanced over where there is one target: that, or the pool that it is. */
function only(target: string | URL | UpstreamPool | undefined): UpstreamPool | UpstreamInit[] {
  if (isPool(target)) return target;
  // Parsed here as well, so that a bad one is reported under the name by which it was given.
  new Upstream(target as UpstreamInit, 'reverseProxy: target');
  return [target as UpstreamInit];
}

function isOptions(value: Target | ReverseProxyOptions): value is ReverseProxyOptions {
  return typeof value === 'object' && value !== null && !(value instanceof URL) && !isPool(value);
}

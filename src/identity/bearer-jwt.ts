import type { KeyObject } from 'node:crypto';
import type { AnyDispatcher } from '../connection-settings.js';
import { callable, flag, inspect, known, milliseconds, wholeNumber } from '../options.js';
import { checkRealm } from './credentials.js';
import { checkAlgorithms, type PublicKey, publicKeySet, secretKey } from './jwt-keys.js';
import { type JwtKeys, JwtVerifier } from './jwt-verifier.js';
import type { RemoteKeysSettings } from './remote-keys.js';
import type { Verifier } from './verifier.js';

/** How the keys of an issuer are fetched. */
export interface JwksOptions {
  /**
   * How long keys are used before they are fetched again.
   *
   * @default 600_000
   */
  readonly maxAgeMs?: number | undefined;
  /**
   * How much longer they are used while fetching them fails.
   *
   * @default 86_400_000
   */
  readonly staleMs?: number | undefined;
  /**
   * The pause between two fetches for tokens with unknown keys, and the longest one after failures.
   *
   * @default 30_000
   */
  readonly cooldownMs?: number | undefined;
  /**
   * How long a fetch may take as a whole.
   *
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * The longest answer that is read.
   *
   * @default 262_144
   */
  readonly maxBytes?: number | undefined;
  /** An undici dispatcher to fetch with, for a CA or a proxy of your own. */
  readonly dispatcher?: AnyDispatcher | undefined;
  /** Is told when fetching fails, which requests need not notice. */
  readonly onError?: ((error: Error) => void) | undefined;
}

/** Options for {@link bearerJwt}. */
export interface BearerJwtOptions {
  /** The algorithms that are believed, such as `['ES256']`. Required. */
  readonly algorithms: readonly string[];
  /** Where the issuer publishes its public keys. This, `keys` or `secret` is required. */
  readonly jwksUrl?: string | URL | undefined;
  /** Public keys: JWKs (or a set of them), PEM, key objects. */
  readonly keys?: readonly PublicKey[] | { readonly keys: readonly PublicKey[] } | undefined;
  /** What issuer and gateway share, for the algorithms `HS…`: as many bytes as the hash has. */
  readonly secret?: string | Uint8Array | KeyObject | undefined;
  /** Who may have issued the token: its `iss`. */
  readonly issuer?: string | readonly string[] | undefined;
  /** For whom it may be: one of its `aud`. Without it, tokens for other services pass as well. */
  readonly audience?: string | readonly string[] | undefined;
  /**
   * How far the clocks of issuer and gateway may be apart.
   *
   * @default 0
   */
  readonly clockToleranceMs?: number | undefined;
  /**
   * Claims without which a token is refused.
   *
   * @default ['exp']
   */
  readonly requiredClaims?: readonly string[] | undefined;
  /** The `typ` that a token must have, such as `at+jwt`. */
  readonly typ?: string | undefined;
  /**
   * Longer tokens are refused unread.
   *
   * @default 8_192
   */
  readonly maxTokenBytes?: number | undefined;
  /**
   * How many verified tokens are remembered until they expire.
   *
   * @default 10_000
   */
  readonly cacheSize?: number | undefined;
  /**
   * Whether the token goes on to the upstream.
   *
   * @default true
   */
  readonly forward?: boolean | undefined;
  /**
   * @default 'gateway'
   */
  readonly realm?: string | undefined;
  /** How the keys at `jwksUrl` are fetched. */
  readonly jwks?: JwksOptions | undefined;
  /** The clock, in milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined;
}

/**
 * Knows clients by the signed token in `Authorization: Bearer`. The package `jose` verifies it, once: after
 * that the token is remembered until it expires, or the keys change.
 *
 * @example
 * const tokens = bearerJwt({
 *   jwksUrl: 'https://id.example/.well-known/jwks.json',
 *   issuer: 'https://id.example',
 *   audience: 'orders',
 *   algorithms: ['RS256'],
 * });
 * app.use(authenticate(tokens), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function bearerJwt(options: BearerJwtOptions): Verifier {
  const {
    algorithms,
    issuer,
    audience,
    clockToleranceMs = 0,
    requiredClaims = ['exp'],
    typ,
    maxTokenBytes = 8_192,
    cacheSize = 10_000,
    forward = true,
    realm = 'gateway',
    now = Date.now,
  } = known('bearerJwt', options, OPTIONS);
  // How old keys are is no matter of the time of day, which may be put back.
  const keys = keysOf(options, options.now ?? (() => performance.now()));
  names('issuer', issuer);
  names('audience', audience);
  names('requiredClaims', requiredClaims);
  milliseconds('bearerJwt: clockToleranceMs', clockToleranceMs, 0);
  if (typ !== undefined) names('typ', [typ]);
  wholeNumber('bearerJwt: maxTokenBytes', maxTokenBytes, 1);
  wholeNumber('bearerJwt: cacheSize', cacheSize);
  flag('bearerJwt: forward', forward);
  checkRealm('bearerJwt: realm', realm);
  callable('bearerJwt: now', now);
  return new JwtVerifier({
    keys,
    expected: {
      algorithms: [...algorithms],
      requiredClaims: [...requiredClaims],
      clockTolerance: clockToleranceMs / 1_000,
      ...(issuer !== undefined && { issuer: several(issuer) }),
      ...(audience !== undefined && { audience: several(audience) }),
      ...(typ !== undefined && { typ }),
    },
    maxTokenBytes,
    cacheSize,
    forward,
    realm,
    now,
  });
}

const OPTIONS = [
  'algorithms',
  'jwksUrl',
  'keys',
  'secret',
  'issuer',
  'audience',
  'clockToleranceMs',
  'requiredClaims',
  'typ',
  'maxTokenBytes',
  'cacheSize',
  'forward',
  'realm',
  'jwks',
  'now',
] as const;

function keysOf(options: BearerJwtOptions, now: () => number): JwtKeys {
  const { algorithms, jwksUrl, keys, secret, jwks } = options;
  const given = [jwksUrl, keys, secret].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new TypeError(
      `bearerJwt: needs one of jwksUrl, keys and secret, received ${given.length || 'none'}`,
    );
  }
  checkAlgorithms('bearerJwt: algorithms', algorithms, secret !== undefined);
  if (jwks !== undefined && jwksUrl === undefined) {
    throw new TypeError('bearerJwt: jwks is about the keys at jwksUrl, which is not given');
  }
  if (secret !== undefined) {
    return { at: 'secret', key: secretKey('bearerJwt: secret', secret, algorithms) };
  }
  if (keys !== undefined) {
    return { at: 'set', set: publicKeySet('bearerJwt: keys', keys, algorithms) };
  }
  return { at: 'url', settings: remoteSettings(jwksUrl, jwks, now) };
}

function remoteSettings(
  url: unknown,
  options: JwksOptions = {},
  now: () => number,
): Omit<RemoteKeysSettings, 'onChange'> {
  const {
    maxAgeMs = 600_000,
    staleMs = 86_400_000,
    cooldownMs = 30_000,
    timeoutMs = 5_000,
    maxBytes = 262_144,
    dispatcher,
    onError,
  } = known('bearerJwt: jwks', options, [
    'maxAgeMs',
    'staleMs',
    'cooldownMs',
    'timeoutMs',
    'maxBytes',
    'dispatcher',
    'onError',
  ]);
  wholeNumber('bearerJwt: jwks.maxAgeMs', maxAgeMs, 1);
  wholeNumber('bearerJwt: jwks.staleMs', staleMs);
  wholeNumber('bearerJwt: jwks.cooldownMs', cooldownMs, 1);
  milliseconds('bearerJwt: jwks.timeoutMs', timeoutMs);
  wholeNumber('bearerJwt: jwks.maxBytes', maxBytes, 1);
  if (dispatcher !== undefined)
    callable('bearerJwt: jwks.dispatcher.dispatch', dispatcher?.dispatch);
  if (onError !== undefined) callable('bearerJwt: jwks.onError', onError);
  const limits = { timeoutMs, maxBytes, dispatcher };
  return { url: checkedUrl(url), maxAgeMs, staleMs, cooldownMs, now, onError, ...limits };
}

function checkedUrl(url: unknown): string {
  const text = url instanceof URL ? url.href : url;
  if (typeof text === 'string' && URL.canParse(text)) {
    const { protocol, username, password, href } = new URL(text);
    const isWeb = protocol === 'https:' || protocol === 'http:';
    if (isWeb && username === '' && password === '') return href;
  }
  throw new TypeError(
    `bearerJwt: jwksUrl must be an http(s) URL without credentials, received ${inspect(url)}`,
  );
}

/** Throws unless it is a name or some, or not given. An empty one would match what is empty. */
function names(option: string, value: unknown): void {
  if (value === undefined) return;
  const list = Array.isArray(value) ? value : [value];
  const isNames = list.every((one) => typeof one === 'string' && one !== '');
  if (isNames && (list.length > 0 || option === 'requiredClaims')) return;
  throw new TypeError(
    `bearerJwt: ${option} must be a string or an array of them, received ${inspect(value)}`,
  );
}

function several(value: string | readonly string[]): string[] {
  return typeof value === 'string' ? [value] : [...value];
}

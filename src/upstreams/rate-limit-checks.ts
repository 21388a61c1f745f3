import { callable, flag, inspect, known, milliseconds, oneOf, wholeNumber } from '../options.js';
import type { RateLimiterOptions } from '../pieces/rate-limiter.js';
import type { PerRequest, RateLimitStore } from './rate-limit.js';

const OPTIONS = [
  'windowMs',
  'limit',
  'max',
  'message',
  'statusCode',
  'handler',
  'standardHeaders',
  'legacyHeaders',
  'headers',
  'identifier',
  'retryAfter',
  'requestPropertyName',
  'trust',
  'keyGenerator',
  'ipv6Subnet',
  'skip',
  'skipFailedRequests',
  'skipSuccessfulRequests',
  'requestWasSuccessful',
  'store',
  'storeTimeoutMs',
  'passOnStoreError',
  'validate',
  'logger',
] as const satisfies readonly (keyof RateLimiterOptions)[];

const FLAGS = [
  'legacyHeaders',
  'headers',
  'skipFailedRequests',
  'skipSuccessfulRequests',
  'passOnStoreError',
] as const;

const FUNCTIONS = ['handler', 'keyGenerator', 'skip', 'requestWasSuccessful'] as const;

/** What would break a quoted string of a structured field (RFC 9651, 3.3.3), or have no place in one. */
const UNQUOTABLE = /[^\x20-\x7e]|["\\]/;

/** What the name of a policy has to be, in words. */
const IDENTIFIER = 'printable characters without quotes';

/** Whether a policy can have this name. */
function isIdentifier(value: unknown): boolean {
  return typeof value === 'string' && !UNQUOTABLE.test(value);
}

/** Throws unless every option is what it should be; express-rate-limit would only print some of it. */
export function checkRateLimit(factory: string, options: RateLimiterOptions): void {
  known(factory, options, OPTIONS);
  const at = (name: keyof RateLimiterOptions): string => `${factory}: ${name}`;
  for (const name of FLAGS) if (options[name] !== undefined) flag(at(name), options[name]);
  for (const name of FUNCTIONS) if (options[name] !== undefined) callable(at(name), options[name]);
  for (const name of ['limit', 'max'] as const) {
    if (!isDecided(options[name])) wholeNumber(at(name), options[name] as number);
  }
  if (!isDecided(options.retryAfter)) wholeNumber(at('retryAfter'), options.retryAfter as number);
  if (options.statusCode !== undefined) wholeNumber(at('statusCode'), options.statusCode, 400, 599);
  if (options.storeTimeoutMs !== undefined)
    milliseconds(at('storeTimeoutMs'), options.storeTimeoutMs);
  checkMethods(at('logger'), options.logger, ['error', 'warn']);
  checkMethods(at('store'), options.store, ['increment', 'decrement', 'resetKey']);
  const { windowMs = 60_000, store } = options;
  // Counting in this process needs a timer as long as the window; elsewhere, there is no such bound.
  if (store === undefined || store.localKeys === true) milliseconds(at('windowMs'), windowMs);
  else wholeNumber(at('windowMs'), windowMs, 1);
  checkFields(options, at);
  checkSubnet(at('ipv6Subnet'), options.ipv6Subnet);
  if (options.keyGenerator === undefined) return;
  for (const name of ['trust', 'ipv6Subnet'] as const) {
    if (options[name] === undefined) continue;
    throw new TypeError(`${at(name)} has no effect beside keyGenerator, leave one of them out`);
  }
}

/** Whether an option is left out, or decided for each request. */
function isDecided(option: unknown): boolean {
  return option === undefined || typeof option === 'function';
}

function checkMethods(path: string, value: object | undefined, names: readonly string[]): void {
  if (value === undefined) return;
  const methods = value as Readonly<Record<string, unknown>> | null;
  const missing = names.find((name) => typeof methods?.[name] !== 'function');
  if (missing !== undefined) {
    throw new TypeError(`${path} must have a method ${missing}, received ${inspect(value)}`);
  }
}

/** A mistake that another copy of this module does not see; it does no worse than to go unseen. */
const taken = new WeakSet<RateLimitStore>();

/** Throws where two limiters count in one store: they would disagree about windows, and count twice. */
export function claimStore(path: string, { store, validate }: RateLimiterOptions): void {
  if (store === undefined) return;
  const allowed = typeof validate === 'object' ? validate.unsharedStore : validate;
  if (taken.has(store) && allowed !== false) {
    throw new TypeError(
      `${path} counts for another limiter already, give each one of its own (with a prefix of its own)`,
    );
  }
  taken.add(store);
}

function checkFields(
  { standardHeaders, identifier, requestPropertyName }: RateLimiterOptions,
  at: (name: keyof RateLimiterOptions) => string,
): void {
  if (standardHeaders !== undefined && typeof standardHeaders !== 'boolean') {
    oneOf(at('standardHeaders'), standardHeaders, ['draft-6', 'draft-7', 'draft-8']);
  }
  if (!isDecided(identifier) && !isIdentifier(identifier)) {
    const received = inspect(identifier);
    throw new TypeError(`${at('identifier')} must be ${IDENTIFIER}, received ${received}`);
  }
  if (requestPropertyName !== undefined && typeof requestPropertyName !== 'string') {
    const received = inspect(requestPropertyName);
    throw new TypeError(`${at('requestPropertyName')} must be a name, received ${received}`);
  }
}

function checkSubnet(path: string, subnet: RateLimiterOptions['ipv6Subnet']): void {
  if (!isDecided(subnet) && subnet !== false) wholeNumber(path, subnet as number, 32, 64);
}

/**
 * The options, with checks of what their functions return: what is no number is never passed, and nobody
 * would be limited; what becomes a field of the answer goes there as it is; and over another kind of key
 * express-rate-limit would trip further on, with words about something else.
 */
export function checkedAnswers(options: RateLimiterOptions): RateLimiterOptions {
  const { max, limit = max, identifier, retryAfter, keyGenerator } = options;
  const checked = { ...options };
  if (typeof limit === 'function') checked.limit = answering('limit', limit, isCount, COUNT);
  if (typeof identifier === 'function') {
    checked.identifier = answering('identifier', identifier, isIdentifier, IDENTIFIER);
  }
  if (typeof retryAfter === 'function') {
    checked.retryAfter = answering('retryAfter', retryAfter, isSeconds, COUNT);
  }
  if (keyGenerator !== undefined) {
    checked.keyGenerator = answering('keyGenerator', keyGenerator, isText, 'a string');
  }
  return checked;
}

const COUNT = 'a number of at least 0';

function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0;
}

function isSeconds(value: unknown): boolean {
  return isCount(value) && value !== Number.POSITIVE_INFINITY;
}

function isText(value: unknown): boolean {
  return typeof value === 'string';
}

function answering<T>(
  name: string,
  decide: PerRequest<T>,
  isFit: (answer: unknown) => boolean,
  wanted: string,
): PerRequest<T> {
  const checked: PerRequest<T> = async (req, res) => {
    const answer = await decide(req, res);
    if (isFit(answer)) return answer;
    throw new TypeError(
      `rateLimiter: ${name}() must return ${wanted}, received ${inspect(answer)}`,
    );
  };
  // express-rate-limit reads the text of a keyGenerator, to warn of addresses that are used as they are.
  return Object.assign(checked, { toString: () => String(decide) });
}

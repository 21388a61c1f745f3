/** The checks that every factory shares: a bad option throws here, with factory, path and value. */

import { isPromise } from './promises.js';

/**
 * Returns `options` as it is when it is an object with known keys only.
 *
 * @throws TypeError that names the factory, the key, and the key that was probably meant.
 */
export function known<T extends object>(
  factory: string,
  options: T,
  keys: readonly (keyof T & string)[],
): T {
  refuseRequest(factory, options);
  if (!isPlain(options)) {
    throw new TypeError(`${factory}: options must be an object, received ${inspect(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!(keys as readonly string[]).includes(key)) {
      const meant = nearest(key, keys);
      const hint = meant
        ? `, did you mean "${meant}"?`
        : `; known are ${keys.join(', ') || 'none'}`;
      throw new TypeError(`${factory}: unknown option "${key}"${hint}`);
    }
  }
  return options;
}

const PLAIN = ['[object Object]', '[object Module]'];

/** Whether something has options or names for keys. A Map or a promise has none, and would count as empty. */
export function isPlain(value: unknown): value is object {
  return PLAIN.includes(tagOf(value)) && !isPromise(value);
}

/** Whether something has no keys, for it has what it has in another way. */
function isOpaque(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || PLAIN.includes(tagOf(value))) return false;
  return Object.keys(value).length === 0;
}

function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value);
}

/** Throws when a factory was mounted without being called: `app.use(proxyPass)`. */
export function refuseRequest(factory: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && 'rawHeaders' in value) {
    throw new TypeError(
      `${factory}: it was given a request. Mount what it returns: app.use(${factory}(…))`,
    );
  }
}

/**
 * A function that users write. It is declared as a method, since the parameters of those may be narrower:
 * one that is typed for Express' `Request` fits as well.
 */
export type Callback<Parameters extends readonly unknown[], Result> = {
  call(...parameters: Parameters): Result;
}['call'];

/** What a factory without options takes, so that whoever believes it has some is told. */
export type NoOptions = Readonly<Record<string, never>>;

/** Throws unless `value` is a whole number of at least `min`. */
export function wholeNumber(
  path: string,
  value: number,
  min = 0,
  max = Number.MAX_SAFE_INTEGER,
): void {
  if (typeof value !== 'number') {
    throw new TypeError(`${path} must be a whole number, received ${inspect(value)}`);
  }
  if (!Number.isInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new RangeError(`${path} must be a whole number ${range}, received ${inspect(value)}`);
  }
}

/** The longest delay a timer of Node can wait; longer ones fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Throws unless `value` is a duration a timer can wait for. */
export function milliseconds(path: string, value: number, min = 1): void {
  wholeNumber(path, value, min, MAX_TIMER_MS);
}

/** Throws unless `value` is a function. */
export function callable(path: string, value: unknown): void {
  if (typeof value !== 'function') {
    throw new TypeError(`${path} must be a function, received ${inspect(value)}`);
  }
}

/** Throws unless `value` is `true` or `false`. */
export function flag(path: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw new TypeError(`${path} must be true or false, received ${inspect(value)}`);
  }
}

/** Throws unless `value` is one of `choices`. */
export function oneOf(path: string, value: unknown, choices: readonly string[]): void {
  if (!choices.includes(value as string)) {
    const list = choices.map((choice) => `"${choice}"`).join(', ');
    const meant = typeof value === 'string' ? nearest(value, choices) : undefined;
    const hint = meant ? `, did you mean "${meant}"?` : '';
    throw new TypeError(`${path} must be one of ${list}, received ${inspect(value)}${hint}`);
  }
}

const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Throws unless `value` is an array of field names; returns them in lower case. */
export function fieldNames(path: string, value: readonly string[]): string[] {
  if (!Array.isArray(value)) {
    throw new TypeError(`${path} must be an array of field names, received ${inspect(value)}`);
  }
  return value.map((name, i) => {
    if (typeof name !== 'string' || !FIELD_NAME.test(name)) {
      throw new TypeError(`${path}[${i}] must be a field name, received ${inspect(name)}`);
    }
    return name.toLowerCase();
  });
}

/** Up to the last `@`: a URL that is not written as it should be may hold credentials anywhere. */
const CREDENTIALS = /^([a-z][a-z0-9+.-]*:\/\/)?.*@/is;

/** A value as it should read in a message: strings quoted, credentials of URLs masked, never long. */
export function inspect(value: unknown): string {
  if (typeof value === 'string') {
    return clip(JSON.stringify(value.replace(CREDENTIALS, '$1***@')));
  }
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (value instanceof URL) return inspect(value.href);
  if (isPromise(value)) {
    // An error is made of it: should it reject as well, that is nothing to end the process for.
    value.then(undefined, () => {});
    return 'a promise';
  }
  if (isOpaque(value)) return `an instance of ${tagOf(value).slice(8, -1)}`;
  if (typeof value === 'object' && value !== null)
    return `an object ${clip(JSON.stringify(Object.keys(value)))}`;
  return String(value);
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The candidate within two edits of `word`, if there is one. */
function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(substitution, (row[j] as number) + 1, (next[j - 1] as number) + 1);
    }
    row = next;
  }
  return row[b.length] as number;
}

/** Throws unless `value` is a share: a number from 0 to 1. */
export function fraction(path: string, value: number): void {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) {
    throw new RangeError(`${path} must be a number from 0 to 1, received ${inspect(value)}`);
  }
}

/**
 * Whether a function of the user's has said yes. Only `true` does, and what is empty says no.
 *
 * @throws TypeError for anything else: a promise, above all, would be a yes to everybody.
 */
export function saidYes(path: string, answer: unknown): boolean {
  if (answer === true) return true;
  if (!answer) return false;
  throw new TypeError(`${path} must return true or false, received ${inspect(answer)}`);
}

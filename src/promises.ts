import { ignore } from './ignore.js';

/** Whether something is still to come: of any library's promises, which need no more than a `then`. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

/** Whoever drops what it was given, or waits for it later, must not bring the process down when that fails. */
export function lent<T>(pending: Promise<T>): Promise<T> {
  pending.catch(ignore);
  return pending;
}

import { warnOfThrown } from '../warnings.js';

/**
 * Tells a function of the user's, which nothing depends on: what it throws, or rejects with, is a warning
 * that begins with its name, and touches no request.
 */
export function tell<A extends unknown[]>(
  name: string,
  listener: (...args: A) => unknown,
  ...args: A
): void {
  const warn = (error: unknown): void => warnOfThrown(`${name} threw`, error);
  try {
    const result = listener(...args);
    if (isPromise(result)) result.then(undefined, warn);
  } catch (error) {
    warn(error);
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  );
}

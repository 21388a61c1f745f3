import { isPromise } from './promises.js';

/** A function of the user's has thrown where nobody else hears of it: the process is warned, and goes on. */
export function warnOfThrown(message: string, error: unknown, code = 'HEADRACE_LISTENER'): void {
  const detail = String(error instanceof Error ? error.stack : error);
  process.emitWarning(message, { type: 'HeadraceWarning', code, detail });
}

/** Calls a listener of the user's. What it throws, now or later, becomes a warning of the process. */
export function callListener<A extends unknown[]>(
  message: string,
  listener: (...args: A) => unknown,
  ...args: A
): void {
  try {
    const result = listener(...args);
    if (isPromise(result)) {
      result.then(undefined, (error: unknown) => warnOfThrown(message, error));
    }
  } catch (error) {
    warnOfThrown(message, error);
  }
}

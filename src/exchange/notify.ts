import { warnOfThrown } from '../warnings.js';
import type { SettledExchange } from './exchange.js';

/** A listener that throws, or rejects, must not take the request, let alone the process, with it. */
export function notify(
  listener: (exchange: SettledExchange) => unknown,
  exchange: SettledExchange,
): void {
  try {
    const pending = listener(exchange);
    if (pending instanceof Promise) pending.catch(warn);
  } catch (error) {
    warn(error);
  }
}

function warn(error: unknown): void {
  warnOfThrown('A listener of exchange.onOutcome() threw', error);
}

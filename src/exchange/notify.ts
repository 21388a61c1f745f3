import { callListener } from '../warnings.js';
import type { SettledExchange } from './exchange.js';

/** A listener that throws, or rejects, must not take the request, let alone the process, with it. */
export function notify(
  listener: (exchange: SettledExchange) => unknown,
  exchange: SettledExchange,
): void {
  callListener('A listener of exchange.onOutcome() threw', listener, exchange);
}

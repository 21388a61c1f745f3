import type { Exchange } from './exchange.js';

/** A listener that throws must not take the request, let alone the process, with it. */
export function notify(listener: (exchange: Exchange) => void, exchange: Exchange): void {
  try {
    listener(exchange);
  } catch (error) {
    const detail = String(error instanceof Error ? error.stack : error);
    process.emitWarning('A listener of exchange.onOutcome() threw', {
      type: 'HeadraceWarning',
      code: 'HEADRACE_LISTENER',
      detail,
    });
  }
}

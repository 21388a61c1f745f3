import { exchangeOf, type Handler } from '../exchange/exchange.js';
import type { ResponseInit } from '../exchange/upstream-response.js';
import { refuseRequest } from '../options.js';
import { type FallbackHandler, fallbackOption } from '../upstreams/fallback-option.js';

/** A {@link fallback} in place. */
export interface Fallback extends Handler {
  /** Closes the connections to upstreams that the handler named by URL. */
  close(): Promise<void>;
}

/**
 * Answers in place of an error, as long as nothing has been sent: with a response, or by trying another
 * upstream. Place it before the pieces whose errors it is for; of several, the last is asked first.
 *
 * @example
 * app.use(fallback({ status: 503, headers: { 'Retry-After': '60' }, body: 'Back soon' }));
 * app.use(fallback((error) => (error.status >= 500 ? 'http://localhost:3001' : undefined)));
 *
 * @throws TypeError when it is neither a function nor a response.
 */
export function fallback(handler: FallbackHandler | ResponseInit): Fallback {
  refuseRequest('fallback', handler);
  const option = fallbackOption('fallback', handler);

  const middleware: Handler = function fallbackMiddleware(req, res, next) {
    exchangeOf(req, res).onFailure(option.handler);
    next?.();
  };
  return Object.assign(middleware, { close: option.close });
}

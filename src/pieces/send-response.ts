import { NoTargetError } from '../exchange/errors.js';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { known } from '../options.js';
import { deliver, editThen, fail } from '../transport/deliver.js';

/**
 * Sends the response that `proxyPass({ hold: true })` holds: the end of such a chain.
 *
 * @example
 * app.use(
 *   proxyPass('http://localhost:3000', { hold: true }),
 *   (req, res, next) => {
 *     if (res.locals.proxy.response?.status === 404) res.send('Not there, but here.');
 *     else next();
 *   },
 *   sendResponse(),
 * );
 */
export function sendResponse(options: Record<string, never> = {}): Handler {
  known('sendResponse', options, []);

  return function sendResponseMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    const { response } = exchange;
    exchange.response = undefined;
    if (response === undefined) {
      const message =
        'sendResponse: there is no response to send: place proxyPass({ hold: true }) before it';
      fail(exchange, new NoTargetError(message), next);
    } else {
      editThen(exchange, response, next, deliver);
    }
  };
}

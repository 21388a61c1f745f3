import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { fieldNames, known } from '../options.js';

/** Options for {@link stripHopHeaders}. */
export interface StripHopHeadersOptions {
  /**
   * Hop-by-hop fields that may pass all the same, such as `proxy-authorization`. Those that frame a
   * message (`connection`, `keep-alive`, `transfer-encoding`, `upgrade`) cannot.
   *
   * @default []
   */
  readonly keep?: readonly string[] | undefined;
  /**
   * Further fields to take out, as the client and the upstream sent them, in trailers as well; what the app
   * sets passes.
   *
   * @default []
   */
  readonly also?: readonly string[] | undefined;
}

const FRAMING = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade'];

/**
 * Takes hop-by-hop fields out, in both directions. They never cross, with or without this piece; with
 * it, the pieces after it no longer see them either, and the list can be adjusted. Place it first.
 *
 * @example
 * app.use(stripHopHeaders({ also: ['x-internal'] }), proxyPass('http://localhost:3000'));
 */
export function stripHopHeaders(options: StripHopHeadersOptions = {}): Handler {
  const { keep = [], also = [] } = known('stripHopHeaders', options, ['keep', 'also']);
  const kept = fieldNames('stripHopHeaders: keep', keep);
  const more = fieldNames('stripHopHeaders: also', also);
  for (const name of kept) {
    if (FRAMING.includes(name)) {
      throw new TypeError(`stripHopHeaders: keep cannot name "${name}", which frames the message`);
    }
  }

  return function stripHopHeadersMiddleware(req, res, next) {
    exchangeOf(req, res).headers.strip(kept, more);
    next?.();
  };
}

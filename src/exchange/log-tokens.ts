import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorCode, upstreamOf } from './access-record.js';
import { type Carrier, EXCHANGE } from './carrier.js';
import type { Exchange } from './exchange.js';

/** What `morgan.token()` takes: text about a request, or nothing. */
export type LogToken = (req: IncomingMessage, res: ServerResponse) => string | undefined;

/**
 * What is known of an exchange, as tokens for morgan. It writes before the answer's connection is done
 * with, so these look at the exchange as it is, and not at its outcome.
 *
 * @example
 * import morgan from 'morgan';
 * import { logTokens } from 'headrace';
 *
 * for (const [name, token] of Object.entries(logTokens)) morgan.token(name, token);
 * const log = morgan(':method :url :status :upstream :attempts :head-ms :request-id');
 */
export const logTokens: Readonly<Record<LogTokenName, LogToken>> = {
  // What comes behind it may be a key.
  upstream: token((exchange) => upstreamOf(exchange)?.url.split('?')[0]),
  'upstream-status': token(({ attempts }) => attempts.at(-1)?.status?.toString()),
  attempts: token(({ attempts }) => String(attempts.length)),
  'head-ms': token(({ attempts, startedAt }) => {
    const headAt = attempts.at(-1)?.headAt;
    return headAt === undefined ? undefined : (headAt - startedAt).toFixed(3);
  }),
  outcome: token(outcomeOf),
  error: token(({ outcome, failure, degraded }) => {
    return errorCode(outcome?.error ?? failure ?? degraded);
  }),
  'request-id': token(({ requestId }) => requestId),
  'trace-id': token(({ traceId }) => traceId),
};

/** The names of {@link logTokens}. */
export type LogTokenName =
  | 'upstream'
  | 'upstream-status'
  | 'attempts'
  | 'head-ms'
  | 'outcome'
  | 'error'
  | 'request-id'
  | 'trace-id';

/** Requests that no piece has seen have no exchange, and get none for the sake of a log. */
function token(read: (exchange: Exchange) => string | undefined): LogToken {
  return (_req, res) => {
    const exchange = (res as Carrier)[EXCHANGE];
    return exchange && read(exchange);
  };
}

function outcomeOf({ outcome, failure, res }: Exchange): string {
  if (outcome !== undefined) return outcome.type;
  if (failure !== undefined) return 'failed';
  return res.writableFinished ? 'completed' : 'client-closed';
}

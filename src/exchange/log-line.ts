import type { Exchange } from './exchange.js';

/** An exchange as a log line has it. */
export function logLine(exchange: Exchange): object {
  return {
    method: exchange.method,
    path: exchange.path,
    headers: exchange.headers.toJSON(),
    identity: identityOf(exchange),
    upstream: exchange.upstream?.url,
    attempts: exchange.attempts.map(({ upstream, startedAt, headAt, status, error }) => ({
      upstream: upstream.url,
      startedAt,
      headAt,
      status,
      error: error?.code,
    })),
    response: exchange.response && {
      status: exchange.response.status,
      headers: exchange.response.headers,
    },
    outcome: exchange.outcome && { ...exchange.outcome, error: codeOf(exchange.outcome.error) },
  };
}

/** Not the claims, which can be all that is known of somebody. */
function identityOf({ identity }: Exchange): object | undefined {
  return identity && { subject: identity.subject, scheme: identity.scheme };
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

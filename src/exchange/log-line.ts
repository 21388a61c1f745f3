import type { Exchange } from './exchange.js';
import { redactor, SECRET_PARAMETERS } from './redact.js';

/** An exchange as a log line has it. */
export function logLine(exchange: Exchange): object {
  return {
    method: exchange.method,
    path: masked(exchange.path),
    headers: withoutSecrets(exchange.headers),
    identity: identityOf(exchange),
    upstream: exchange.upstream && masked(exchange.upstream.url),
    attempts: exchange.attempts.map(({ upstream, startedAt, headAt, status, error }) => ({
      upstream: masked(upstream.url),
      startedAt,
      headAt,
      status,
      error: error?.code,
    })),
    response: exchange.response && {
      status: exchange.response.status,
      headers: withoutSecrets(exchange.response.headers),
    },
    outcome: exchange.outcome && { ...exchange.outcome, error: codeOf(exchange.outcome.error) },
  };
}

const masked = redactor('exchange', SECRET_PARAMETERS);

/** Fields that let whoever reads them be somebody else. */
const SECRET_FIELDS = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
]);
/** Fields with a URL in them. */
const LINKS = new Set(['referer', 'location', 'content-location']);

function withoutSecrets(headers: { toJSON(): Record<string, unknown> }): Record<string, unknown> {
  const fields = headers.toJSON();
  for (const name of Object.keys(fields)) {
    if (SECRET_FIELDS.has(name)) fields[name] = '***';
    else if (LINKS.has(name)) fields[name] = masked(String(fields[name]));
  }
  return fields;
}

/** Not the claims, which can be all that is known of somebody. */
function identityOf({ identity }: Exchange): object | undefined {
  return identity && { subject: identity.subject, scheme: identity.scheme };
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

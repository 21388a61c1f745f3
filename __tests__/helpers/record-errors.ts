import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ProxyError } from 'headrace';
import type { Middleware } from './servers.js';

/** Error middleware that keeps what it is given, and answers with its status, fields and code. */
export function recordErrors(): { readonly errors: ProxyError[]; readonly record: Middleware } {
  const errors: ProxyError[] = [];
  const record = (
    error: ProxyError,
    _req: IncomingMessage,
    res: ServerResponse,
    _next: unknown,
  ): void => {
    errors.push(error);
    if (!res.headersSent) res.writeHead(error.status ?? 500, error.headers).end(error.code);
  };
  return { errors, record };
}

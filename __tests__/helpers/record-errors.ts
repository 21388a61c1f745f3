import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ProxyError } from 'headrace';
import type { Middleware } from './servers.js';

/** Error middleware that keeps what it is given, and answers with the error's status alone. */
export function recordErrors(): { readonly errors: ProxyError[]; readonly record: Middleware } {
  const errors: ProxyError[] = [];
  const record = (
    error: ProxyError,
    _req: IncomingMessage,
    res: ServerResponse,
    _next: unknown,
  ): void => {
    errors.push(error);
    if (res.headersSent) return;
    res.statusCode = error.status ?? 500;
    res.end(error.code);
  };
  return { errors, record };
}

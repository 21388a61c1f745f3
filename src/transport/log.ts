import createDebug from 'debug';
import type { ProxyError } from '../exchange/errors.js';
import { redactor, SECRET_PARAMETERS } from '../exchange/redact.js';
import type { OutgoingRequest } from './request.js';

/** `DEBUG=headrace` shows where each request goes and what becomes of it. */
export const log = createDebug('headrace');

/** A path as it may stand in a log. */
export const masked = redactor('log', SECRET_PARAMETERS);

/** Says where a try goes, or why nothing came of it. */
export function logTry({ method, path, upstream }: OutgoingRequest, what: string): void {
  log('%s %s %s %s', method, masked(path), what, masked(upstream.url));
}

/** Why a try failed, in a few words. */
export function reasonOf({ code, cause, message }: ProxyError): string {
  return `${code}: ${cause instanceof Error ? cause.message : message}`;
}

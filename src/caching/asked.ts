import type { Exchange } from '../exchange/exchange.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import { hasUpload } from '../transport/linger.js';
import type { Conditions } from './conditions.js';
import { type Directives, directivesOf } from './directives.js';
import type { Origin } from './stored-response.js';

/** What asks for something else than the whole answer, or for something to be done only if. */
const SPECIAL = ['range', 'if-range', 'if-match', 'if-unmodified-since'];

/** One request, as the cache sees it. */
export interface Asked {
  readonly exchange: Exchange;
  readonly key: string;
  readonly directives: Directives;
  readonly conditions: Conditions;
  /** Somebody's own, as far as we know: what is answered may be for them alone. */
  readonly isPersonal: boolean;
}

/** What a request asks for, if that is an answer as it could be kept. */
export function askedOf(exchange: Exchange, key: string): Asked | undefined {
  const { req, headers, identity, isVouchedFor } = exchange;
  const directives = directivesOf(headers.get('cache-control') ?? headers.get('pragma'));
  if (directives.has('no-store') || SPECIAL.some((name) => headers.has(name))) return undefined;
  // Of an upload, the key says nothing.
  if (hasUpload(req)) return undefined;
  return {
    exchange,
    key,
    directives,
    conditions: {
      ifNoneMatch: headers.get('if-none-match'),
      ifModifiedSince: headers.get('if-modified-since'),
    },
    isPersonal: identity !== undefined || isVouchedFor || headers.has('authorization'),
  };
}

/** Whether a request only reads. */
export function isRead({ method }: Exchange): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Puts back what the client has asked. */
export function restore(
  headers: HeaderOverlay,
  { ifNoneMatch, ifModifiedSince }: Conditions,
): void {
  if (ifNoneMatch === undefined) headers.delete('if-none-match');
  else headers.set('if-none-match', ifNoneMatch);
  if (ifModifiedSince === undefined) headers.delete('if-modified-since');
  else headers.set('if-modified-since', ifModifiedSince);
}

/** What was asked for, as the client has it. */
export function whereTo(exchange: Exchange): Pick<Origin, 'host' | 'url'> {
  const { originalUrl, url = '' } = exchange.req as typeof exchange.req & { originalUrl?: string };
  return { host: hostOf(exchange), url: originalUrl ?? url };
}

/** The host that is asked for: HTTP/2 has a field of its own for it. */
export function hostOf({ req, headers }: Exchange): string {
  return headers.get('host') ?? String(req.headers[':authority'] ?? '');
}

import type { Exchange } from '../exchange/exchange.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import { hasUpload } from '../transport/linger.js';
import type { Conditions } from './conditions.js';
import { digest } from './digest.js';
import { type Directives, directivesOf, timeIn } from './directives.js';
import type { Origin } from './stored-response.js';

/** What asks for something else than the whole answer, or for something to be done only if. */
const SPECIAL = ['range', 'if-range', 'if-match', 'if-unmodified-since'];
/** Fields that say who is asking. */
const CREDENTIALS = ['authorization', 'client-cert', 'x-forwarded-client-cert'];

/** One request, as the cache sees it. */
export interface Asked {
  readonly exchange: Exchange;
  /** The URL and the host that it is for. */
  readonly place: string;
  /** What else tells its answers apart. */
  readonly key: string;
  readonly directives: Directives;
  readonly conditions: Conditions;
  /** Whether it asks for something that could be kept as a whole. */
  readonly isPlain: boolean;
  /** Somebody's own, as far as we know: what is answered may be for them alone. */
  readonly isPersonal: boolean;
  /** Whether it may be somebody's own, and nobody but the upstream knows. */
  readonly hasCookie: boolean;
}

/** What a request asks for. */
export function askedOf(exchange: Exchange, key: string): Asked {
  const { req, headers, identity, isVouchedFor } = exchange;
  const directives = directivesOf(headers.get('cache-control') ?? headers.get('pragma'));
  const isSpecial = directives.has('no-store') || SPECIAL.some((name) => headers.has(name));
  const hasCredentials = CREDENTIALS.some((name) => headers.has(name));
  return {
    exchange,
    place: placeOf(exchange),
    key,
    directives,
    conditions: {
      ifNoneMatch: headers.get('if-none-match'),
      ifModifiedSince: headers.get('if-modified-since'),
    },
    // Of an upload, the key says nothing.
    isPlain: !isSpecial && !hasUpload(req),
    isPersonal: identity !== undefined || isVouchedFor || hasCredentials,
    hasCookie: headers.has('cookie'),
  };
}

/** How old what is kept may be for a request, in milliseconds. */
export function maxAgeOf({ directives }: Asked): number {
  if (directives.has('no-cache')) return 0;
  return timeIn(directives, 'max-age') ?? Number.POSITIVE_INFINITY;
}

/** The URL and the host that a request is for, in whatever way it asks for them. */
export function placeOf(exchange: Exchange): string {
  const { host, url } = whereTo(exchange);
  return digest([host.toLowerCase(), url]);
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

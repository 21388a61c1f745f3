import type { HeaderList } from '../exchange/header-list.js';
import { httpDate } from '../exchange/http-date.js';
import { type Directives, directivesOf, secondsIn, timeIn } from './directives.js';

/** How long a response may be used, and for whom. */
export interface Freshness {
  readonly lifetimeMs: number;
  /** Whether the response says so itself, and not a default in its place. */
  readonly isSaid: boolean;
  /** How much longer it may stand in for an upstream that fails. */
  readonly staleIfErrorMs: number;
  /** Whether it may answer those who are somebody, too (RFC 9111, 3.5). */
  readonly isForAll: boolean;
}

/** What counts where a response says nothing of it. */
export interface Defaults {
  readonly ttlMs: number;
  readonly staleIfErrorMs: number;
}

/** Statuses that are final, and whole answers to a GET. What is said only for a moment is not among them. */
const KEPT = new Set([200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 451, 501]);
/** Those of them that may be kept without having said for how long (RFC 9110, 15.1). */
const KEPT_UNSAID = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

/** With them, a response is for one client, or of no use later. */
const UNKEPT = ['no-store', 'private', 'no-cache'];

/** How long a response may be kept by a cache that many share; `undefined` when it may not. */
export function freshnessOf(
  status: number,
  headers: HeaderList,
  receivedAt: number,
  defaults: Defaults,
): Freshness | undefined {
  if (!KEPT.has(status) || headers.has('set-cookie')) return undefined;
  const directives = directivesOf(headers.get('cache-control'));
  if (UNKEPT.some((name) => directives.has(name))) return undefined;
  const said = saidLifetime(headers, directives, receivedAt);
  const lifetimeMs = said ?? (KEPT_UNSAID.has(status) ? defaults.ttlMs : 0);
  if (lifetimeMs <= 0) return undefined;
  const isShared = directives.has('s-maxage');
  const isStrict =
    isShared || directives.has('must-revalidate') || directives.has('proxy-revalidate');
  return {
    lifetimeMs,
    isSaid: said !== undefined,
    staleIfErrorMs: isStrict
      ? 0
      : (timeIn(directives, 'stale-if-error') ?? defaults.staleIfErrorMs),
    isForAll: isShared || directives.has('public') || directives.has('must-revalidate'),
  };
}

/** What a response says of how long it is fresh (RFC 9111, 4.2.1). */
function saidLifetime(
  headers: HeaderList,
  directives: Directives,
  receivedAt: number,
): number | undefined {
  const said = timeIn(directives, 's-maxage') ?? timeIn(directives, 'max-age');
  if (said !== undefined) return said;
  const expires = headers.get('expires');
  if (expires === undefined) return undefined;
  // A date that is none has passed.
  return (httpDate(expires) ?? 0) - dateOf(headers, receivedAt);
}

/** How old a response was when it came (RFC 9111, 4.2.3), in milliseconds. */
export function ageOf(headers: HeaderList, requestedAt: number, receivedAt: number): number {
  // Of several, the first one counts (RFC 9111, 5.1).
  const [said = ''] = (headers.get('age') ?? '').split(',', 1);
  const apparent = receivedAt - dateOf(headers, receivedAt);
  return Math.max(0, apparent, secondsIn(said.trim()) + receivedAt - requestedAt);
}

function dateOf(headers: HeaderList, receivedAt: number): number {
  return httpDate(headers.get('date')) ?? receivedAt;
}

import type { HeaderList } from '../exchange/header-list.js';
import { httpDate } from '../exchange/http-date.js';

/** What a client has already, as it says. */
export interface Conditions {
  readonly ifNoneMatch: string | undefined;
  readonly ifModifiedSince: string | undefined;
}

/** Whether a client has the response already (RFC 9110, 13.2.2): by its tag, or else by its date. */
export function isKnown(
  headers: HeaderList,
  { ifNoneMatch, ifModifiedSince }: Conditions,
): boolean {
  if (ifNoneMatch !== undefined) {
    const tag = opaque(headers.get('etag'));
    if (ifNoneMatch.trim() === '*') return true;
    return tag !== undefined && tagsIn(ifNoneMatch).includes(tag);
  }
  const [changed, since] = [httpDate(headers.get('last-modified')), httpDate(ifModifiedSince)];
  return changed !== undefined && since !== undefined && changed <= since;
}

/** Whether a field describes the bytes of a body, and is not sent with a 304. */
export function describesBody(lower: string): boolean {
  return BODY_FIELDS.has(lower);
}

const BODY_FIELDS = new Set([
  'content-length',
  'content-type',
  'content-encoding',
  'content-language',
  'content-range',
]);

/** Whether two responses with these tags have different bytes: tags that are weak do not say (RFC 9111, 4.3.4). */
export function areOthers(one: string | undefined, other: string | undefined): boolean {
  return isStrong(one) && isStrong(other) && one !== other;
}

function isStrong(tag: string | undefined): tag is string {
  return tag !== undefined && !tag.startsWith('W/');
}

/** Tags are compared without looking at whether they are weak. */
function opaque(tag: string | undefined): string | undefined {
  return tag?.replace(/^W\//, '');
}

function tagsIn(list: string): string[] {
  return list.match(/"[^"]*"/g) ?? [];
}

import type { HeaderList } from '../exchange/header-list.js';

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
  const changed = Date.parse(headers.get('last-modified') ?? '');
  return ifModifiedSince !== undefined && changed <= Date.parse(ifModifiedSince);
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

/** Tags are compared without looking at whether they are weak. */
function opaque(tag: string | undefined): string | undefined {
  return tag?.replace(/^W\//, '');
}

function tagsIn(list: string): string[] {
  return list.match(/"[^"]*"/g) ?? [];
}

import type { IncomingMessage } from 'node:http';

/**
 * Whether a request comes from a page of this very origin. Browsers say so, and let no page say it for
 * another; a request that says nothing is not taken for one.
 */
export function isSameOrigin({ headers }: IncomingMessage): boolean {
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin') return false;
  if (origin === undefined) return site !== undefined;
  // Over HTTP/2, the authority takes the place of Host.
  const host = headers.host ?? headers[':authority'];
  if (!URL.canParse(origin)) return false;
  const { protocol, host: claimed } = new URL(origin);
  const own = `${protocol}//${host}`;
  return URL.canParse(own) && new URL(own).host === claimed;
}

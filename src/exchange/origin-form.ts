import type { IncomingMessage } from 'node:http';
import { withoutQuery } from './query.js';

/** An absolute-form target without its scheme and authority: rules for paths must see a path. */
export function originForm(url: string): string {
  if (url.charCodeAt(0) === 0x2f) return url;
  const path = url.replace(/^https?:\/\/[^/?#]*/i, '');
  return path === url || path.charCodeAt(0) === 0x2f ? path : `/${path}`;
}

/** The path of a request as routers have left it, without query parameters that were meant for us alone. */
export function livePath(
  { url = '/' }: IncomingMessage,
  withheld: readonly string[] | undefined,
): string {
  const path = originForm(url);
  return withheld === undefined ? path : withheld.reduce(withoutQuery, path);
}

import type { ServerResponse } from 'node:http';
import { isHttp2 } from '../exchange/answers.js';

/** What Node throws at when HTTP/2 is to send two lines of it: the list is that of its `internal/http2/util`. */
const SINGLE_VALUED = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]);

/** Whether an answer can have one line of a field at most. In HTTP/1.1, which has no such rule, upstreams repeat them. */
export function isSingleLine(res: ServerResponse, lower: string): boolean {
  return isHttp2(res) && SINGLE_VALUED.has(lower);
}

/** A flat list of names and values as HTTP/2 is given it: several lines of one name, in whatever case, are an array. */
export function http2Lines(lines: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < lines.length; i += 2) {
    const lower = (lines[i] as string).toLowerCase();
    const line = lines[i + 1] as string;
    const before = fields[lower];
    if (before === undefined) fields[lower] = line;
    else if (!SINGLE_VALUED.has(lower)) fields[lower] = [before, line].flat();
  }
  return fields;
}

/** Takes a field off an answer. Node hears in it that there is to be no `Date`, and in HTTP/2 leaves the one there is. */
function removeField(res: ServerResponse, name: string): void {
  const { sendDate } = res;
  res.removeHeader(name);
  res.sendDate = sendDate;
  if (isHttp2(res) && res.hasHeader(name)) res.setHeader(name, new Date().toUTCString());
}

/**
 * Takes the lines of a head that could not be written off its answer, and what else would keep the next head
 * from being written.
 */
export function removeLines(res: ServerResponse, lines: readonly string[]): void {
  for (let i = 0; i < lines.length; i += 2) removeField(res, lines[i] as string);
  for (const name of res.getHeaderNames()) {
    if (isSingleLine(res, name) && Array.isArray(res.getHeader(name))) removeField(res, name);
  }
}

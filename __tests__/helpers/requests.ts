import type { RawUpstream } from './servers.js';
import { canonicalRequests, type WireRequest } from './wire.js';

/** One request as an upstream got it. */
export interface SeenRequest extends WireRequest {
  /** The values of all lines of a name, in order. */
  lines(name: string): string[];
}

/** The bytes of a request to `app.example`: its line without the version, header lines, and a body. */
export function request(line: string, headers: readonly string[] = [], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: app.example', ...headers, '', body].join('\r\n');
}

/** The same with a body that says how long it is. */
export function upload(line: string, headers: readonly string[], body: string): string {
  return request(line, [...headers, `Content-Length: ${body.length}`], body);
}

/** The same with a chunked body; each string is a chunk. */
export function chunkedUpload(
  line: string,
  headers: readonly string[],
  ...chunks: readonly string[]
): string {
  const body = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
  return request(line, [...headers, 'Transfer-Encoding: chunked'], `${body}0\r\n\r\n`);
}

/**
 * The requests that an upstream got, connection by connection.
 *
 * @throws Error when there are bytes that belong to no whole request, or could be read in two ways.
 */
export function requestsOf(upstream: RawUpstream): SeenRequest[] {
  return upstream.connections().flatMap((bytes) => {
    const { requests, rest } = canonicalRequests(bytes);
    if (rest !== '') throw new Error(`no whole request:\n${rest}`);
    return requests.map((request) => ({ ...request, lines: linesOf(request) }));
  });
}

/** The one request that an upstream got. */
export function onlyRequest(upstream: RawUpstream): SeenRequest {
  const [request, ...others] = requestsOf(upstream);
  if (request === undefined || others.length > 0) {
    throw new Error(`expected one request, the upstream got:\n${upstream.received()}`);
  }
  return request;
}

function linesOf({ headers }: WireRequest): (name: string) => string[] {
  return (name) =>
    headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
}

import { pair, unchunk } from './client.js';
import type { RawUpstream } from './servers.js';

/** One request as an upstream got it, taken apart from raw bytes. */
export interface SeenRequest {
  /** The whole head, as it came. */
  readonly head: string;
  readonly method: string;
  readonly target: string;
  /** Header lines as they came: pairs of name and value. */
  readonly headers: [string, string][];
  /** The values of all lines of a name, in order. */
  lines(name: string): string[];
  /** The body, chunked framing undone, as latin-1 text. */
  readonly body: string;
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
 * @throws Error when there are bytes that belong to no whole request.
 */
export function requestsOf(upstream: RawUpstream): SeenRequest[] {
  return upstream.connections().flatMap(parseRequests);
}

/** The one request that an upstream got. */
export function onlyRequest(upstream: RawUpstream): SeenRequest {
  const [request, ...others] = requestsOf(upstream);
  if (request === undefined || others.length > 0) {
    throw new Error(`expected one request, the upstream got:\n${upstream.received()}`);
  }
  return request;
}

/** The requests in a stream of bytes that holds nothing else. */
export function parseRequests(text: string): SeenRequest[] {
  const requests: SeenRequest[] = [];
  let rest = text;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    const head = rest.slice(0, end);
    const [, method, target] = /^(\S+) (\S+) HTTP\/1\.1\r\n/.exec(rest) ?? [];
    if (end === -1 || method === undefined || target === undefined) throw notWhole(rest);
    const headers = head.split('\r\n').slice(1).map(pair);
    const lines = (name: string) =>
      headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
    rest = rest.slice(end + 4);
    let body: string;
    if (lines('transfer-encoding').length > 0) {
      const chunked = unchunk(rest);
      if (chunked === undefined) throw notWhole(rest);
      ({ body, rest } = chunked);
    } else {
      const length = Number(lines('content-length')[0] ?? 0);
      if (rest.length < length) throw notWhole(rest);
      body = rest.slice(0, length);
      rest = rest.slice(length);
    }
    requests.push({ head, method, target, headers, lines, body });
  }
  return requests;
}

function notWhole(rest: string): Error {
  return new Error(`no whole request:\n${rest}`);
}

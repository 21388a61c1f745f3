/**
 * Readers of HTTP/1.1 that forgive nothing: where two servers could read the bytes in two ways, they
 * throw. A parser that is used in earnest would hide most of what the tests look for.
 */

/** A message as it stood on the wire; its body without the framing. */
interface WireMessage {
  readonly headers: [name: string, value: string][];
  readonly body: string;
  /** The value of the first line of a name. */
  header(name: string): string | undefined;
}

/** A request as an upstream got it. */
export interface WireRequest extends WireMessage {
  readonly method: string;
  readonly target: string;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const REQUEST_LINE = new RegExp(`^(${TOKEN}) (/[\\x21\\x22\\x24-\\x7e\\x80-\\xff]*) HTTP/1\\.1$`);
const FIELD_LINE = new RegExp(`^(${TOKEN}): ?([\\t\\x20-\\x7e\\x80-\\xff]*)$`);
const HOST = /^(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;
const LENGTH = /^(?:0|[1-9]\d*)$/;

/** What may stand in fields that are meant for one connection; the rest of them must not be there. */
const HOP_BY_HOP: Readonly<Record<string, RegExp>> = {
  connection: /^(?:keep-alive|close|upgrade)$/,
  te: /^trailers$/,
  'transfer-encoding': /^chunked$/,
  'keep-alive': /$^/,
  'proxy-connection': /$^/,
  'proxy-authenticate': /$^/,
  'proxy-authorization': /$^/,
  trailer: /$^/,
  upgrade: new RegExp(`^${TOKEN}(?:/${TOKEN})?(?:, ${TOKEN}(?:/${TOKEN})?)*$`),
  'http2-settings': /$^/,
  expect: /$^/,
};

/**
 * The requests in the bytes of one connection to an upstream, and what is left when the last one is
 * not whole.
 */
export function canonicalRequests(bytes: string): { requests: WireRequest[]; rest: string } {
  const requests: WireRequest[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) return { requests, rest };
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n');
    const line = REQUEST_LINE.exec(first);
    if (line === null) throw unfit('request line', first);
    const headers = lines.map(fieldOf);
    const header = finder(headers);
    checkHost(headers);
    checkFields(headers);
    const framed = unframe(headers, rest.slice(end + 4), 0);
    if (framed === undefined) return { requests, rest };
    rest = framed.rest;
    const [, method = '', target = ''] = line;
    requests.push({ method, target, headers, header, body: framed.body });
  }
}

/** Throws unless `bytes` begin with a response head that every client reads alike; gives its fields. */
export function canonicalHead(bytes: string): [name: string, value: string][] {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) throw unfit('response head', bytes);
  const [first = '', ...lines] = bytes.slice(0, end).split('\r\n');
  if (!/^HTTP\/1\.1 [1-5]\d\d [\t\x20-\x7e\x80-\xff]*$/.test(first))
    throw unfit('status line', first);
  const headers = lines.map(fieldOf);
  framing(headers);
  return headers;
}

function fieldOf(line: string): [string, string] {
  const [, name, value] = FIELD_LINE.exec(line) ?? [];
  if (name === undefined || value === undefined) throw unfit('field', line);
  return [name, value];
}

function finder(headers: readonly [string, string][]): (name: string) => string | undefined {
  return (name) => headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
}

function valuesOf(headers: readonly [string, string][], lower: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === lower).map(([, value]) => value);
}

function checkHost(headers: readonly [string, string][]): void {
  const [host = '', ...more] = valuesOf(headers, 'host');
  if (!HOST.test(host) || more.length > 0) throw unfit('Host', [host, ...more].join(' | '));
}

function checkFields(headers: readonly [string, string][]): void {
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (Object.hasOwn(HOP_BY_HOP, lower) && !HOP_BY_HOP[lower]?.test(value))
      throw unfit('hop-by-hop field', `${name}: ${value}`);
    const folded = lower.replace(/[^a-z0-9]/g, '-');
    const framing = folded === 'content-length' || folded === 'host';
    if (folded !== lower && (framing || Object.hasOwn(HOP_BY_HOP, folded)))
      throw unfit('name', name);
  }
  // RFC 9110, 7.8: each of the two is nothing without the other, and a body would not end in the same place.
  const upgrades = valuesOf(headers, 'upgrade');
  const switches = valuesOf(headers, 'connection').includes('upgrade');
  if (upgrades.length > 1 || switches !== (upgrades.length === 1))
    throw unfit('upgrade', upgrades.join(' | '));
  if (switches && framing(headers)) throw unfit('upgrade', 'with a body');
}

/** The one length or the one coding that delimits a body; `undefined` for neither. */
function framing(headers: readonly [string, string][]): number | 'chunked' | undefined {
  const lengths = valuesOf(headers, 'content-length');
  const codings = valuesOf(headers, 'transfer-encoding');
  if (lengths.length + codings.length > 1) throw unfit('framing', [...lengths, ...codings].join());
  const [length] = lengths;
  const [coding] = codings;
  if (length !== undefined && !LENGTH.test(length)) throw unfit('Content-Length', length);
  if (coding !== undefined && coding !== 'chunked') throw unfit('Transfer-Encoding', coding);
  if (coding !== undefined) return 'chunked';
  return length === undefined ? undefined : Number(length);
}

/** The body at the front of `text`; `undefined` when it is not all there. */
function unframe(
  headers: readonly [string, string][],
  text: string,
  otherwise: number,
): { body: string; rest: string } | undefined {
  const frame = framing(headers) ?? otherwise;
  if (frame !== 'chunked') {
    return text.length < frame
      ? undefined
      : { body: text.slice(0, frame), rest: text.slice(frame) };
  }
  let body = '';
  for (let at = 0; ; ) {
    const end = text.indexOf('\r\n', at);
    if (end === -1) return undefined;
    const size = text.slice(at, end);
    if (!/^[0-9a-f]+$/i.test(size)) throw unfit('chunk size', size);
    const length = Number.parseInt(size, 16);
    if (text.length < end + 4 + length) return undefined;
    body += text.slice(end + 2, end + 2 + length);
    at = end + 4 + length;
    if (text.slice(at - 2, at) !== '\r\n') throw unfit('end of a chunk', text.slice(at - 2, at));
    if (length === 0) return { body, rest: text.slice(at) };
  }
}

function unfit(what: string, text: string): Error {
  return new Error(`ambiguous ${what}: ${JSON.stringify(text.slice(0, 200))}`);
}

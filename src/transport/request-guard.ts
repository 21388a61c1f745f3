import type { IncomingMessage } from 'node:http';
import { distrustConnection, isDistrusted } from '../exchange/distrust.js';
import { BadRequestError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { nominated } from '../exchange/fields.js';

/** Node 20 drops fields past this one from `headers` and keeps them in `rawHeaders`. */
const MAX_FIELDS = 1_000;

/** reg-name, IPv4 or a bracketed IPv6 literal, and a port: RFC 9110, 7.2. */
const AUTHORITY = /^(?:[a-z0-9._~!$&'()*+;=%-]*|\[[0-9a-f:.]+\])(?::\d{0,5})?$/i;

/** Fields without which the rest of the message would be read differently. */
const NEVER_NOMINATED = ['host', 'content-length', 'content-type'];

/**
 * Refuses what Node's parser lets through and what two servers would read in two ways. Most of it is
 * harmless at one server; it is the disagreement between two that request smuggling lives on.
 *
 * @throws BadRequestError that closes the connection behind it.
 */
export function guardRequest(req: IncomingMessage, allowTrace: boolean): void {
  guardMessage(req, allowTrace);
  // RFC 9110, 9.3.6: whoever is no forward proxy has nowhere to connect to.
  if (req.method === 'CONNECT') throw new BadRequestError('CONNECT is not allowed', 405);
  targetAuthority(req.url ?? '/');
}

/** {@link guardRequest} without the target, for which a forward proxy has rules of its own. */
export function guardMessage(req: IncomingMessage, allowTrace: boolean): void {
  const { headers, rawHeaders } = req;
  if (isDistrusted(req)) throw new BadRequestError('What was before it was refused');
  if (rawHeaders.length > MAX_FIELDS * 2) {
    throw new BadRequestError('The request has too many header fields', 431);
  }
  // Not by the version: Node takes `HTTP/2.0` in a request line of HTTP/1.
  if ('stream' in req) guardHttp2(req);
  else guardHttp1(req);
  if (headers.host !== undefined && !AUTHORITY.test(headers.host)) {
    throw new BadRequestError('The Host field is not a host');
  }
  const length = headers['content-length'];
  if (
    length !== undefined &&
    !(/^\d+$/.test(length) && Number(length) <= Number.MAX_SAFE_INTEGER)
  ) {
    throw new BadRequestError('The Content-Length field is not a length');
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    throw new BadRequestError('The expectation is not one that can be met', 417);
  }
  if (req.method === 'TRACE' && !allowTrace) {
    throw new BadRequestError('TRACE is not allowed', 405);
  }
  for (const name of nominated(headers.connection) ?? []) {
    if (NEVER_NOMINATED.includes(name)) {
      throw new BadRequestError(`The Connection field cannot name ${name}`);
    }
  }
}

function guardHttp2({ headers }: IncomingMessage): void {
  if (headers.connection !== undefined) {
    throw new BadRequestError('HTTP/2 has no Connection field');
  }
  const authority = headers[':authority'];
  if (typeof authority !== 'string') return;
  if (!AUTHORITY.test(authority)) throw new BadRequestError('The authority is not a host');
  // RFC 9113, 8.3.1: whoever reads the one and whoever reads the other must come to the same host.
  const { host } = headers;
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase()) {
    throw new BadRequestError('The authority and the Host field differ');
  }
}

function guardHttp1(req: IncomingMessage): void {
  const { headers, rawHeaders, httpVersion } = req;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new BadRequestError('This version of HTTP is not supported', 505);
  }
  const coding = headers['transfer-encoding'];
  if (coding !== undefined) {
    // RFC 9112, 6.1: HTTP/1.0 has no transfer codings, whatever Node makes of them.
    if (httpVersion === '1.0') throw new BadRequestError('HTTP/1.0 has no Transfer-Encoding');
    if (coding.toLowerCase() !== 'chunked') {
      throw new BadRequestError('The transfer coding is not supported', 501);
    }
  }
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (++hosts > 1) throw new BadRequestError('The request has more than one Host field');
    // Middleware may have set another Host by now; what the client sent is judged all the same.
    if (!AUTHORITY.test(rawHeaders[i + 1] as string)) {
      throw new BadRequestError('The Host field is not a host');
    }
  }
}

/**
 * An upgrade that nobody has taken is an ordinary request, and has to be the last one: Node's parser has dropped what
 * came with it by then, and goes on with what comes next, in the middle of a request or not.
 */
export function endBehindUpgrade({ req, res, clientEnd }: Exchange): void {
  if (req.headers.upgrade === undefined || clientEnd !== undefined) return;
  // As the parser reads it.
  if (!/\bupgrade\b/i.test(req.headers.connection ?? '')) return;
  distrustConnection(req);
  res.shouldKeepAlive = false;
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

/**
 * The authority of an absolute-form target, which overrules `Host` (RFC 9112, 3.2.2); `undefined` for
 * the usual target, a path.
 *
 * @throws BadRequestError when the target is neither a path nor an absolute http(s) URL.
 */
export function targetAuthority(url: string): string | undefined {
  if (url.charCodeAt(0) === 0x2f) return undefined;
  const authority = ABSOLUTE.exec(url)?.[1];
  if (!authority || !AUTHORITY.test(authority)) {
    throw new BadRequestError('The request target is not a path');
  }
  return authority;
}

/** What almost no path has: `#`, a backslash, and what no target can have. */
const UNUSUAL = /[^!"$-[\]-~\x80-\xff]/;

/** What no target can have, were it written as `rewriteUrl()` may have decoded it. */
const UNFIT = /[^!-~\x80-\xff]/;

/**
 * Path and query to forward, as text without the fragment. They are never parsed into a URL, which
 * would resolve dot segments and let `//host` name another origin.
 *
 * @throws BadRequestError when it is not a path, or has characters that a target cannot have.
 */
export function outgoingPath(path: string): string {
  if (path.charCodeAt(0) !== 0x2f) throw new BadRequestError('The request target is not a path');
  if (!UNUSUAL.test(path)) return path;
  const fragment = path.indexOf('#');
  const sent = fragment === -1 ? path : path.slice(0, fragment);
  // Sent by its low byte, as HTTP/2 of Node would send it, U+012E is a dot, and U+010A ends a line.
  if (UNFIT.test(sent)) throw new BadRequestError('The path has a character that it cannot have');
  const backslash = sent.indexOf('\\');
  if (backslash !== -1 && !sent.slice(0, backslash).includes('?')) {
    throw new BadRequestError('The path has a backslash');
  }
  return sent;
}

/** `..` in any spelling that some server undoes: encoded dots, path parameters, encoded slashes. */
const CLIMBS = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){2}(?:[/\\;]|%2f|%5c|$)/i;

/** Whether a path could climb out of the base it is put under. Cheap for paths that hold no dots. */
export function climbs(path: string): boolean {
  if (!path.includes('.') && !path.includes('%2e') && !path.includes('%2E')) return false;
  const query = path.indexOf('?');
  return CLIMBS.test(query === -1 ? path : path.slice(0, query));
}

import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { BadRequestError } from '../exchange/errors.js';
import { facesOf } from './address-guard.js';

/** The server that a client asks a forward proxy for. */
export interface RequestedTarget {
  readonly scheme: 'http' | 'https';
  /**
   * A name in lower case without a dot at its end, or an address as the URL standard writes it: `127.1`,
   * `0x7f000001` and `[::ffff:7f00:1]` are `127.0.0.1`. No brackets.
   */
  readonly host: string;
  readonly port: number;
}

const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)/i;

/** Whether a request names a server, and not a path of this one. */
export function isForProxy({ method, url = '' }: IncomingMessage): boolean {
  return method === 'CONNECT' || (url.charCodeAt(0) !== 0x2f && ABSOLUTE.test(url));
}

/**
 * The server that a request names.
 *
 * @throws BadRequestError when it is not named as it should be.
 */
export function requestedTarget(req: IncomingMessage): RequestedTarget {
  if (req.method === 'CONNECT') return connectTarget(req);
  const [, scheme = '', authority = ''] = ABSOLUTE.exec(req.url ?? '') ?? [];
  switch (scheme.toLowerCase()) {
    case 'http':
      return { scheme: 'http', ...parseAuthority(authority, 80) };
    case 'https':
      return { scheme: 'https', ...parseAuthority(authority, 443) };
    default:
      throw new BadRequestError('The scheme of the request target is not supported');
  }
}

/** RFC 9110, 9.3.6: host and port, and nothing else. There is no default port. */
function connectTarget(req: IncomingMessage & { originalUrl?: string }): RequestedTarget {
  return { scheme: 'https', ...parseAuthority(req.originalUrl ?? req.url ?? '', undefined) };
}

const AUTHORITY = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d*))?$/i;

/**
 * Takes `host:port` apart. User names, percent-encoding, zones and what is no ASCII have no place in it:
 * what two readers could take for two hosts must not be judged by one and resolved by another.
 */
function parseAuthority(
  text: string,
  usualPort: number | undefined,
): Pick<RequestedTarget, 'host' | 'port'> {
  const [, name = '', digits = ''] = AUTHORITY.exec(text) ?? [];
  const host = canonicalHost(name);
  if (host === undefined) throw new BadRequestError('The request target names no host');
  const port = digits === '' ? usualPort : Number(digits);
  if (port === undefined || !(port >= 1 && port <= 65_535) || digits.startsWith('0')) {
    throw new BadRequestError('The request target names no port');
  }
  return { host, port };
}

const NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
const MAX_NAME_LENGTH = 253;

/** A host as it is compared, resolved and connected to; `undefined` when it is none. */
export function canonicalHost(text: string): string | undefined {
  // Resolvers read `127.1`, `017700000001` and `2130706433` as addresses, and so does the URL standard.
  if (!URL.canParse(`http://${text}`)) return undefined;
  const { hostname } = new URL(`http://${text}`);
  if (hostname.startsWith('[')) return facesOf(hostname.slice(1, -1))[0];
  const host = hostname.endsWith('.') ? hostname.slice(0, -1) : hostname;
  if (isIP(host)) return host;
  return NAME.test(host) && host.length <= MAX_NAME_LENGTH ? host : undefined;
}

/** The origin of a target, as a URL has it. */
export function originOf({ scheme, host, port }: RequestedTarget): string {
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

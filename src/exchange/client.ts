import type { IncomingMessage } from 'node:http';

/** Whether the peer at `address`, `hop` steps before us, is believed when it says who its client is. */
export type Trusts = (address: string, hop: number) => boolean;

/** What Express adds to a request, as far as it is looked at. */
interface FrameworkRequest extends IncomingMessage {
  app?: { get?(name: string): unknown };
  baseUrl?: string;
  originalUrl?: string;
}

/** The address of the peer itself; IPv4 in its own form, zones cut off. */
export function peerAddress(req: IncomingMessage): string | undefined {
  return plainAddress(req.socket?.remoteAddress);
}

/** `::ffff:1.2.3.4` as `1.2.3.4`, `fe80::1%eth0` as `fe80::1`. */
export function plainAddress(address: string | undefined): string | undefined {
  if (address === undefined || !address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped) return mapped[1];
  const zone = address.indexOf('%');
  return zone === -1 ? address : address.slice(0, zone);
}

/** Whether the app's `trust proxy` setting covers the peer. Connect and bare servers trust nobody. */
export function appTrusts(req: IncomingMessage, address: string, hop: number): boolean {
  const trusts = (req as FrameworkRequest).app?.get?.('trust proxy fn');
  return typeof trusts === 'function' && Boolean(trusts(address, hop));
}

/** The client's address: the first on the way back, from the peer on, that is not a trusted proxy. */
export function clientAddress(req: IncomingMessage, trusts: Trusts): string | undefined {
  let address = peerAddress(req);
  const chain = headerText(req, 'x-forwarded-for').split(',').reverse();
  for (let hop = 0; hop < chain.length; hop++) {
    const before = (chain[hop] as string).trim();
    if (address === undefined || before === '' || !trusts(address, hop)) break;
    address = plainAddress(before);
  }
  return address;
}

const HOST = /^(?:[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/** The value, when it can be a host with a port. */
export function validHost(value: string | undefined): string | undefined {
  return value !== undefined && HOST.test(value) ? value : undefined;
}

/** Where the client believes it is: scheme and host, as far as they are known and believable. */
export interface ClientOrigin {
  readonly proto: 'http' | 'https';
  readonly host: string | undefined;
}

/** The client's view of us; a trusted proxy's `X-Forwarded-Proto` and `-Host` come before our own. */
export function clientOrigin(req: IncomingMessage, trusted: boolean): ClientOrigin {
  const encrypted = 'encrypted' in req.socket && req.socket.encrypted === true;
  const own: ClientOrigin = { proto: encrypted ? 'https' : 'http', host: ownHost(req) };
  if (!trusted) return own;
  const proto = firstElement(headerText(req, 'x-forwarded-proto')).toLowerCase();
  return {
    proto: proto === 'http' || proto === 'https' ? proto : own.proto,
    host: validHost(firstElement(headerText(req, 'x-forwarded-host'))) ?? own.host,
  };
}

const AUTHORITY = /^https?:\/\/([^/?#]*)/i;

function ownHost(req: IncomingMessage): string | undefined {
  const url = (req as FrameworkRequest).originalUrl ?? req.url ?? '';
  // RFC 9112, 3.2.2: the authority of an absolute-form target overrules Host.
  const authority = url.charCodeAt(0) === 0x2f ? undefined : AUTHORITY.exec(url)?.[1];
  const pseudo = req.headers[':authority'];
  return validHost(
    authority ?? req.headers.host ?? (typeof pseudo === 'string' ? pseudo : undefined),
  );
}

/** The path the pipeline is mounted at, without a slash at its end. */
export function mountPath(req: IncomingMessage): string {
  const { baseUrl, originalUrl } = req as FrameworkRequest;
  if (baseUrl !== undefined) return baseUrl;
  // Connect cuts the mount path off `url` and says nowhere what it was. Where nothing but a query is
  // left, it puts a slash before it.
  const { url = '' } = req;
  const added = !originalUrl?.endsWith(url) && /^\/(?:\?|$)/.test(url);
  const rest = added ? url.slice(1) : url;
  if (!originalUrl?.endsWith(rest)) return '';
  return originalUrl.slice(0, originalUrl.length - rest.length).replace(/\/$/, '');
}

function headerText(req: IncomingMessage, lower: string): string {
  const value = req.headers[lower];
  return Array.isArray(value) ? value.join(', ') : (value ?? '');
}

function firstElement(list: string): string {
  const comma = list.indexOf(',');
  return (comma === -1 ? list : list.slice(0, comma)).trim();
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { clientOrigin, mountPath } from '../exchange/client.js';
import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import { type RequestTrusts, type Trust, trustFor, trustsPeer } from '../exchange/trust.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { known } from '../options.js';
import type { Upstream } from '../upstreams/upstream.js';

/** Options for {@link rewriteRedirects}. */
export interface RewriteRedirectsOptions {
  /**
   * Whose word about the client's scheme and host counts, as in `forwardedFor()`: give both the same.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
}

/**
 * Maps `Location` of 201 and 3xx back to where the client is: the upstream's origin and base path go,
 * the plain prefixes that `rewriteUrl()` cut off and the mount path come back. Locations elsewhere are left
 * alone.
 *
 * @example
 * app.use('/shop', rewriteRedirects(), proxyPass('http://localhost:3000/app'));
 * // Location: http://localhost:3000/app/login → http://gateway.example/shop/login
 */
export function rewriteRedirects(options: RewriteRedirectsOptions = {}): Handler {
  const { trust = 'app' } = known('rewriteRedirects', options, ['trust']);
  const trusts = trustFor('rewriteRedirects: trust', trust);
  const hook = (response: UpstreamResponse, req: IncomingMessage, res: ServerResponse): void => {
    rewriteLocation(response, exchangeOf(req, res), trusts);
  };

  return function rewriteRedirectsMiddleware(req, res, next) {
    exchangeOf(req, res).onResponse(hook);
    next?.();
  };
}

function rewriteLocation(
  response: UpstreamResponse,
  exchange: Exchange,
  trusts: RequestTrusts,
): void {
  const { status, headers, upstream } = response;
  if (upstream === undefined || (status !== 201 && (status < 300 || status > 399))) return;
  const location = headers.get('location');
  if (location === undefined) return;
  const tries = exchange.attempts.filter((attempt) => attempt.upstream === upstream);
  const host = response.sentHost ?? tries.at(-1)?.host;
  const mapped = mapLocation(location, exchange, upstream, host, trusts);
  if (mapped !== undefined) headers.set('Location', mapped);
}

/** Scheme and authority, where there are any, and the rest as text. */
const LOCATION = /^(?:(https?:)?\/\/([^/?#\\]*))?([/?#].*)?$/is;

/** The location as the client has to be told it; `undefined` when it is right as it is. */
function mapLocation(
  location: string,
  exchange: Exchange,
  upstream: Upstream,
  sent: string | undefined,
  trusts: RequestTrusts,
): string | undefined {
  const [whole, scheme, authority, path = '/'] = LOCATION.exec(location) ?? [];
  if (whole === undefined) return undefined;
  // A query or fragment alone goes on from the path that the client asked for.
  if (authority === undefined && !path.startsWith('/')) return undefined;
  if (
    authority !== undefined &&
    !isUpstream(authority, scheme ?? upstream.protocol, exchange, upstream, sent)
  ) {
    return undefined;
  }
  const mapped = mapPath(path, exchange, upstream);
  if (mapped === undefined) return undefined;
  if (authority === undefined) return mapped === path ? undefined : asPath(mapped);
  const { req } = exchange;
  const { proto, host } = clientOrigin(req, trustsPeer(req, trusts));
  if (host === undefined) return asPath(mapped);
  return `${scheme === undefined ? '' : `${proto}:`}//${host}${mapped}`;
}

/**
 * A path that names no host, whatever it begins with: RFC 3986, 4.2 takes two slashes for the beginning
 * of one. Browsers read backslashes as slashes and do not read tabs.
 */
function asPath(path: string): string {
  return /^\/\t*[/\\]/.test(path) ? `/.${path}` : path;
}

/** Whether an authority is the upstream's own, or the `Host` that it was sent, or may have been told of. */
function isUpstream(
  authority: string,
  scheme: string,
  exchange: Exchange,
  upstream: Upstream,
  sent: string | undefined,
): boolean {
  const origin = canonicalOrigin(scheme, authority);
  if (origin === undefined) return false;
  if (origin === upstream.origin) return true;
  const { req, headers } = exchange;
  const host = sent ?? headers.host ?? req.headers.host;
  return host !== undefined && origin === canonicalOrigin(scheme, host);
}

function canonicalOrigin(scheme: string, authority: string): string | undefined {
  const url = `${scheme.toLowerCase()}//${authority}`;
  return URL.canParse(url) ? new URL(url).origin : undefined;
}

function mapPath(location: string, exchange: Exchange, upstream: Upstream): string | undefined {
  const own = location.startsWith('/') ? location : `/${location}`;
  const unbased = withoutPrefix(own, upstream.basePath);
  if (unbased === undefined) return undefined;
  let before = unbased;
  for (const { from, to } of exchange.rewritten?.toReversed() ?? []) {
    const rest = withoutPrefix(before, to);
    if (rest !== undefined) before = from + rest;
  }
  const path = mountPath(exchange.req) + before;
  // A query alone would go on from wherever the client is.
  return path.startsWith('/') ? path : `/${path}`;
}

/** The path behind a prefix that ends where a segment does. */
function withoutPrefix(path: string, prefix: string): string | undefined {
  if (!path.startsWith(prefix)) return undefined;
  const rest = path.slice(prefix.length);
  if (rest === '') return '/';
  return prefix === '' || /^[/?#]/.test(rest) ? rest : undefined;
}

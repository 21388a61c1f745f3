import type { IncomingMessage } from 'node:http';
import * as legacy from 'node:url';

/** The parsed target that Express and Connect keep on a request, by way of `parseurl`. */
interface ParsedRequest extends IncomingMessage {
  _parsedUrl?: object;
}

/** `parseurl` takes no other class for parsed, and `url.parse()`, which makes it, is deprecated. */
const { Url } = legacy as { Url?: { readonly prototype: object } };

/**
 * Has Express route a CONNECT, whose target is `host:port` and has no path, as one for `/`: without a path,
 * it would run no middleware at all. `req.url` stays what it is.
 */
export function routeAsRoot(req: ParsedRequest): void {
  const parsed: object = Object.create(Url?.prototype ?? null);
  req._parsedUrl = Object.assign(parsed, {
    _raw: req.url,
    href: req.url,
    path: '/',
    pathname: '/',
    search: null,
    query: null,
  });
}

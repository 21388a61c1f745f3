import type { Exchange } from '../exchange/exchange.js';
import { nominated } from '../exchange/fields.js';
import { isForProxy } from '../exchange/for-proxy.js';
import { inspect } from '../options.js';

/** What may follow in the name of a longer scheme. */
const NAME_GOES_ON = /[\w!#$%&'*+.^`|~-]/;

/**
 * What follows the name of a scheme in `Authorization`, or `Proxy-Authorization`; names in lower case. Where the
 * name stands alone, or something else than spaces follows it, that is nothing, and wrong: `''`.
 */
export function credentialsOf(exchange: Exchange, scheme: string): string | undefined {
  const value = isForProxy(exchange.req)
    ? exchange.req.headers['proxy-authorization']
    : fieldOf(exchange, 'authorization');
  if (value === undefined) return undefined;
  const { length } = scheme;
  if (value.slice(0, length).toLowerCase() !== scheme) return undefined;
  if (value.charCodeAt(length) === 0x20) return value.slice(length + 1).trim();
  return NAME_GOES_ON.test(value.charAt(length)) ? undefined : '';
}

/** A field as it would be sent on: what the client names in `Connection` is not there. */
export function fieldOf({ req, headers }: Exchange, lower: string): string | undefined {
  const value = headers.get(lower);
  const { connection } = req.headers;
  if (connection === undefined || value === undefined || value !== req.headers[lower]) return value;
  return nominated(connection)?.includes(lower) ? undefined : value;
}

/** Keeps the client's credentials for us from the upstream. Those for an origin behind a proxy go on. */
export function withhold({ req, headers }: Exchange): void {
  if (!isForProxy(req)) headers.delete('authorization');
}

/** Everything that may stand in a quoted string as it is. */
const QUOTABLE = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** Throws unless a realm can be written into a challenge. */
export function checkRealm(path: string, realm: unknown): void {
  if (typeof realm !== 'string' || !QUOTABLE.test(realm)) {
    throw new TypeError(
      `${path} must be printable ASCII without quotes and backslashes, received ${inspect(realm)}`,
    );
  }
}

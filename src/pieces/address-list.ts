import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { type Trust, trustedAddress, trustFor } from '../exchange/trust.js';
import { inspect, known } from '../options.js';
import { addressRanges, isIn, mayBeIn } from '../transport/address-ranges.js';
import { fail } from '../transport/deliver.js';
import { forbidden } from '../transport/forbidden.js';

/** Options for {@link addressList}. */
export interface AddressListOptions {
  /** The only clients that pass: addresses, ranges, or their names. This or `deny` is required. */
  readonly allow?: string | readonly string[] | undefined;
  /** Clients that do not pass, whatever `allow` says. */
  readonly deny?: string | readonly string[] | undefined;
  /**
   * Whose word about the client's address counts, as in `forwardedFor()`.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
}

/**
 * Lets clients pass by their address; the rest get 403. `deny` wins, and with `allow` everybody else is
 * kept out. Place it first: it costs least.
 *
 * @example
 * app.use(addressList({ allow: ['10.0.0.0/8', 'loopback'], deny: ['10.6.6.6'] }));
 *
 * @throws TypeError when an option is not what it should be, or nothing is listed.
 */
export function addressList(options: AddressListOptions): Handler {
  const { allow, deny, trust = 'app' } = known('addressList', options, ['allow', 'deny', 'trust']);
  if (allow === undefined && deny === undefined) {
    throw new TypeError('addressList: allow or deny says who may pass, neither was given');
  }
  const allowed = allow === undefined ? undefined : ranges('addressList: allow', allow);
  const denied = deny === undefined ? undefined : ranges('addressList: deny', deny);
  const trusts = trustFor('addressList: trust', trust);

  return function addressListMiddleware(req, res, next) {
    let address: string | undefined;
    try {
      address = trustedAddress(req, trusts);
    } catch (error) {
      return fail(exchangeOf(req, res), error, next);
    }
    let reason: string | undefined;
    if (address === undefined) reason = 'The address of the client is not known';
    else if (denied !== undefined && mayBeIn(denied, address)) reason = `deny has ${address}`;
    else if (allowed !== undefined && !isIn(allowed, address)) reason = `allow lacks ${address}`;
    if (reason === undefined) return next?.();
    fail(exchangeOf(req, res), forbidden('ADDRESS', `addressList: ${reason}`), next);
  };
}

function ranges(path: string, given: string | readonly string[]) {
  if (typeof given !== 'string' && !Array.isArray(given)) {
    throw new TypeError(`${path} must be addresses or ranges, received ${inspect(given)}`);
  }
  return addressRanges(path, typeof given === 'string' ? given.split(',') : given);
}

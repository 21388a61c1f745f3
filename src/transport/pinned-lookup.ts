import type { LookupAddress } from 'node:dns';
import type { LookupFunction, Socket } from 'node:net';
import { ForbiddenTargetError, type ProxyError, ResetError } from '../exchange/errors.js';
import { facesOf } from './address-guard.js';

/** A lookup that finds these addresses, and asks nobody. */
export function lookupIn(addresses: readonly LookupAddress[]): LookupFunction {
  return function pinnedLookup(_hostname, options, callback) {
    // Node takes it for an error when a lookup calls back before it has returned.
    process.nextTick(() => {
      const [first] = addresses;
      if (options.all) callback(null, [...addresses]);
      else callback(null, first?.address ?? '', first?.family);
    });
  };
}

/**
 * The error for a socket whose other end is none of the addresses. It should not come to that; that it
 * has not is the one thing that a forward proxy must know for certain.
 */
export function strayed(
  { remoteAddress }: Socket,
  addresses: readonly LookupAddress[],
): ProxyError | undefined {
  // It has been reset already.
  if (remoteAddress === undefined) return new ResetError();
  const [at] = facesOf(remoteAddress);
  if (addresses.some(({ address }) => facesOf(address)[0] === at)) return undefined;
  return new ForbiddenTargetError({ cause: new Error(`It was ${at} that answered`) });
}

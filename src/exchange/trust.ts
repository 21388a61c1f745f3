import type { IncomingMessage } from 'node:http';
import { type BlockList, isIP } from 'node:net';
import { inspect, saidYes, wholeNumber } from '../options.js';
import { appTrusts, clientAddress, peerAddress, type Trusts } from './client.js';
import { isRange, rangeList } from './ranges.js';

/**
 * Whose word counts: what Express' `trust proxy` says (`'app'`), everybody's, nobody's, that of the nearest
 * so many hops, of these addresses and ranges, or what a function decides.
 */
export type Trust = 'app' | boolean | number | string | readonly string[] | Trusts;

/** Whether the peer at `address`, `hop` steps before us, is believed about this request. */
export type RequestTrusts = (req: IncomingMessage, address: string, hop: number) => boolean;

/**
 * The decision that a `trust` option stands for.
 *
 * @throws TypeError or RangeError that names `path` when it is none.
 */
export function trustFor(path: string, trust: Trust): RequestTrusts {
  if (trust === 'app') return appTrusts;
  if (typeof trust === 'boolean') return () => trust;
  if (typeof trust === 'function') {
    return (_req, address, hop) => saidYes(`${path}()`, trust(address, hop));
  }
  if (typeof trust === 'number') {
    wholeNumber(path, trust);
    return (_req, _address, hop) => hop < trust;
  }
  const list = addressList(path, typeof trust === 'string' ? trust.split(',') : trust);
  return (_req, address) => {
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
  };
}

/** The client's address, as far as those on the way are believed; `undefined` when it is none. */
export function trustedAddress(req: IncomingMessage, trusts: RequestTrusts): string | undefined {
  if (req.headers['x-forwarded-for'] === undefined) return peerAddress(req);
  const address = clientAddress(req, (one, hop) => trusts(req, one, hop));
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}

/** Whether the peer itself is believed. */
export function trustsPeer(req: IncomingMessage, trusts: RequestTrusts): boolean {
  const peer = peerAddress(req);
  return peer !== undefined && trusts(req, peer, 0);
}

/** The names that Express' `trust proxy` has for address ranges. */
export const RANGES: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

function addressList(path: string, entries: readonly string[]): BlockList {
  if (!Array.isArray(entries)) {
    throw new TypeError(
      `${path} must be 'app', a boolean, a number, addresses or a function, received ${inspect(entries)}`,
    );
  }
  const ranges = entries.flatMap((entry: unknown, i) => {
    const text = typeof entry === 'string' ? entry.trim() : '';
    if (Object.hasOwn(RANGES, text)) return RANGES[text] as readonly string[];
    if (isRange(text)) return [text];
    throw new TypeError(`${path}[${i}] must be an address or a range, received ${inspect(entry)}`);
  });
  return rangeList(ranges);
}

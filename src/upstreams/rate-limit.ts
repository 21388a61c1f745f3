import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';
import { clientAddress } from '../exchange/client.js';
import type { RequestTrusts } from '../exchange/trust.js';
import type { Callback } from '../options.js';

/** What is decided for each request. */
export type PerRequest<T> = Callback<[req: IncomingMessage, res: ServerResponse], T | Promise<T>>;

/** How often a key was counted, and until when it is. */
export interface RateLimitInfo {
  readonly totalHits: number;
  readonly resetTime: Date | undefined;
}

/** Where requests are counted: a store of express-rate-limit. */
export interface RateLimitStore {
  /** Called once, before anything is counted. */
  init?(options: { readonly windowMs: number }): unknown;
  get?(key: string): RateLimitInfo | undefined | Promise<RateLimitInfo | undefined>;
  increment(key: string): RateLimitInfo | Promise<RateLimitInfo>;
  decrement(key: string): unknown;
  resetKey(key: string): unknown;
  resetAll?(): unknown;
  shutdown?(): unknown;
  /** Whether it counts for this process alone. */
  readonly localKeys?: boolean | undefined;
  /** What its keys begin with, where others use the same database. */
  readonly prefix?: string | undefined;
}

/** How much of an IPv6 address tells clients apart, in bits; `false` for all of it. */
export type Ipv6Subnet = number | false;

/**
 * The key of a client: its address, or the network of it that one subscriber is given. Proxies are
 * believed as far as they are trusted.
 */
export function clientKey(req: IncomingMessage, trusts: RequestTrusts, subnet: Ipv6Subnet): string {
  const address = clientAddress(req, (one, hop) => trusts(req, one, hop));
  if (address === undefined) return 'unknown';
  const host = isIP(address) === 0 ? withoutPort(address) : address;
  return isIP(host) === 6 ? ipKeyGenerator(host, subnet) : host;
}

const WITH_PORT = /^(?:\[([0-9a-f:.]+)\]|(\d+\.\d+\.\d+\.\d+))(?::\d+)?$/i;

/** Some proxies write the client's port as well, which is another one for each connection. */
function withoutPort(address: string): string {
  const match = WITH_PORT.exec(address);
  return match?.[1] ?? match?.[2] ?? address;
}

import type { LookupAddress } from 'node:dns';
import type { IncomingMessage } from 'node:http';
import { isIP, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Deadline } from '../deadline.js';
import { plainAddress } from '../exchange/client.js';
import {
  ConnectError,
  ConnectTimeoutError,
  ForbiddenTargetError,
  LoopError,
} from '../exchange/errors.js';
import { isPromise } from '../promises.js';
import { originOf, type RequestedTarget } from './requested-target.js';
import type { TargetRules } from './target-rules.js';

/** Resolves a name as `dns.lookup()` does when it is asked for all addresses. */
export type TargetLookup = (
  hostname: string,
  options: { readonly all: true },
  callback: (error: Error | null, addresses: LookupAddress[]) => void,
) => void;

/** What {@link permittedAddresses} goes by. */
export interface Permits {
  readonly rules: TargetRules;
  readonly lookup: TargetLookup;
  readonly timeoutMs: number;
}

/**
 * The addresses under which a request may reach its target. What is connected to afterwards is one of
 * them and never the name, so that no second answer of DNS can be another one.
 *
 * @throws ForbiddenTargetError when there is none that the rules permit.
 */
export async function permittedAddresses(
  target: RequestedTarget,
  req: IncomingMessage,
  { rules, lookup, timeoutMs }: Permits,
): Promise<LookupAddress[]> {
  if (rules.refusesUnresolved(target)) throw forbidden(target, []);
  const found = await resolve(target.host, lookup, timeoutMs);
  const permitted: LookupAddress[] = [];
  for (const one of found) {
    if (await rules.admit(target, one.address, req)) permitted.push(one);
  }
  if (permitted.length === 0) throw forbidden(target, found);
  if (permitted.some(({ address }) => leadsBack(address, target.port, req))) throw new LoopError();
  return permitted;
}

function forbidden(target: RequestedTarget, found: readonly LookupAddress[]): ForbiddenTargetError {
  const at = found.map(({ address }) => ` ${address}`).join();
  return new ForbiddenTargetError({
    cause: new Error(`No rule allows ${originOf(target)}${at && `, which is${at}`}`),
  });
}

function resolve(host: string, lookup: TargetLookup, timeoutMs: number): Promise<LookupAddress[]> {
  const family = isIP(host);
  if (family !== 0) return Promise.resolve([{ address: host, family }]);
  return new Promise((settle, reject) => {
    const giveUp = () =>
      reject(new ConnectTimeoutError({ cause: new Error(`No answer for ${host}`) }));
    const deadline = new Deadline(timeoutMs, giveUp);
    const fail = (cause: unknown) => {
      deadline.end();
      reject(new ConnectError({ cause }));
    };
    try {
      const asked: unknown = lookup(host, { all: true }, (error, addresses) => {
        if (error) return fail(error);
        if (!areAddresses(addresses)) return fail(new Error(`No addresses for ${host}`));
        deadline.end();
        settle(addresses.map(({ address }) => ({ address, family: isIP(address) })));
      });
      if (isPromise(asked)) asked.then(undefined, fail);
    } catch (error) {
      fail(error);
    }
  });
}

/** A resolver of the user's is not to be trusted with more than it is asked for. */
function areAddresses(found: unknown): found is LookupAddress[] {
  return Array.isArray(found) && found.length > 0 && found.every((one) => isIP(one?.address) !== 0);
}

/** Whether a connection would come in at the very server that the request came in at. */
function leadsBack(address: string, port: number, { socket }: IncomingMessage): boolean {
  if (port !== socket.localPort) return false;
  const to = plainAddress(address);
  if (to === plainAddress(socket.localAddress) || isUnspecified(to)) return true;
  const { server } = socket as { server?: Server };
  const bound = server?.address();
  if (typeof bound === 'object' && bound !== null && !isUnspecified(bound.address)) return false;
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return to?.startsWith('127.') || own.some((one) => one.address === to);
}

function isUnspecified(address: string | undefined): boolean {
  return address === '0.0.0.0' || address === '::';
}

import { isIP } from 'node:net';
import type { TargetLookup } from 'headrace';

/** A resolver that knows these names, and notes what it is asked. */
export interface Names {
  readonly lookup: TargetLookup;
  readonly asked: string[];
}

/** Makes a resolver of names and their addresses. */
export function names(known: Readonly<Record<string, string | readonly string[]>>): Names {
  const asked: string[] = [];
  const lookup: TargetLookup = (hostname, _options, callback) => {
    asked.push(hostname);
    const found = known[hostname];
    if (found === undefined) return callback(new Error(`ENOTFOUND ${hostname}`), []);
    const addresses = typeof found === 'string' ? [found] : found;
    callback(
      null,
      addresses.map((address) => ({ address, family: isIP(address) })),
    );
  };
  return { lookup, asked };
}

import type { BlockList } from 'node:net';
import { isRange, rangeList } from '../exchange/ranges.js';
import { RANGES } from '../exchange/trust.js';
import { inspect } from '../options.js';
import { facesOf, holds } from './address-guard.js';
import { unmapped } from './target-rules.js';

/**
 * A list of addresses, ranges and their names. `path` names the option in messages.
 *
 * @throws TypeError that names the entry that is none.
 */
export function addressRanges(path: string, entries: readonly string[]): BlockList {
  return rangeList(
    entries.flatMap((entry: unknown, i) => {
      const text = typeof entry === 'string' ? entry.trim() : '';
      if (Object.hasOwn(RANGES, text)) return RANGES[text] as readonly string[];
      if (isRange(text)) return [unmapped(text)];
      throw new TypeError(
        `${path}[${i}] must be an address or a range, received ${inspect(entry)}`,
      );
    }),
  );
}

/** Whether a client is in a list, by any address that its own may embed: for what is to be kept out. */
export function mayBeIn(list: BlockList, address: string): boolean {
  return facesOf(address).some((face) => holds(list, face));
}

/** Whether a client is in a list by its own address, IPv4 behind `::ffff:` in its own form. */
export function isIn(list: BlockList, address: string): boolean {
  return holds(list, facesOf(address)[0] as string);
}

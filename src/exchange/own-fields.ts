import { fieldNames } from '../options.js';
import { ALIASED, fieldInfo, HOP_BY_HOP, OWNED } from './fields.js';

/**
 * Throws unless `value` is an array of names for fields that a piece sets; returns them in lower case. Not those
 * that belong to a connection or frame a message; and letters, digits and dashes alone, since a client could
 * send another name that CGI-style servers fold into the same.
 */
export function ownFieldNames(path: string, value: readonly string[]): string[] {
  const names = fieldNames(path, value);
  for (const name of names) {
    if ((fieldInfo(name).flags & (HOP_BY_HOP | OWNED | ALIASED)) === 0) continue;
    throw new TypeError(
      `${path} cannot have "${name}": it must be a field of letters, digits and dashes`,
    );
  }
  return names;
}

/** What a field cannot carry, and `%`, which stands for it. Blanks at the ends would be lost. */
const UNFIT = /[^\x20-\x7e]|%|^ | $/gu;
const UNFIT_IN_LIST = /[^\x20-\x7e]|[%,]|^ | $/gu;

/**
 * A value as a field can carry it: text, numbers, `true` and `false`, and lists of these with commas between.
 * What is no printable ASCII is percent-encoded, and so is `%`, so that `decodeURIComponent()` gives it back.
 * `undefined` for everything else.
 */
export function fieldText(value: unknown): string | undefined {
  if (!Array.isArray(value)) return encoded(value, UNFIT);
  const parts = value.map((one) => encoded(one, UNFIT_IN_LIST));
  return parts.includes(undefined) ? undefined : parts.join(',');
}

function encoded(value: unknown, unfit: RegExp): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return undefined;
  return value.replace(unfit, (letter) =>
    Buffer.from(letter).toString('hex').toUpperCase().replace(/../g, '%$&'),
  );
}

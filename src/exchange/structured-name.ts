import { inspect } from '../options.js';

const TOKEN = /^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/;
const PRINTABLE = /^[\x20-\x7e]+$/;

/**
 * A name in a structured field: as a token where it is one, as a string otherwise (RFC 9651, 3.3).
 *
 * @throws TypeError that names `path` when it cannot be written.
 */
export function structuredName(path: string, name: unknown): string {
  if (typeof name !== 'string' || !PRINTABLE.test(name)) {
    throw new TypeError(`${path} must be printable ASCII, received ${inspect(name)}`);
  }
  return TOKEN.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`;
}

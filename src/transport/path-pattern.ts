import { inspect } from '../options.js';
import { type Reading, readingsOf } from './path-readings.js';

/** Any number of segments, and none as well. */
const ANY = '**';

/**
 * A pattern for paths, made once: `*` stands for some characters of a segment, `**` for segments. Whether it
 * matches is found without regular expressions, in time that grows with the path alone.
 */
export class PathPattern {
  /** Whether it matches every path there is. */
  readonly isUniversal: boolean;
  readonly #segments: readonly string[];
  readonly #folded: readonly string[];

  /** @throws TypeError that names `path`, the option, when it is not a pattern. */
  constructor(path: string, pattern: string) {
    this.#segments = segmentsOf(path, pattern);
    this.#folded = folded(this.#segments);
    this.isUniversal = this.#segments.length === 1 && this.#segments[0] === ANY;
  }

  /** Whether it matches a reading of a path, letter by letter. */
  matches(reading: Reading): boolean {
    return matches(reading, this.#segments, ANY, segmentMatches);
  }

  /** Whether it matches a reading that {@link folded} has made the same in either case. */
  matchesFolded(reading: Reading): boolean {
    return matches(reading, this.#folded, ANY, segmentMatches);
  }
}

/** Segments in letters of one case. */
export function folded(reading: Reading): Reading {
  return reading.map((segment) => segment.toLowerCase());
}

function segmentsOf(path: string, pattern: unknown): Reading {
  // A request's path comes as bytes, one for each character.
  const bytes = typeof pattern === 'string' ? Buffer.from(pattern).toString('latin1') : '';
  const [segments, ...others] = readingsOf(bytes) ?? [];
  if (
    segments === undefined ||
    others.length > 0 ||
    /[?#]/.test(bytes) ||
    segments.some((segment) => segment !== ANY && segment.includes(ANY))
  ) {
    throw new TypeError(
      `${path} must be a plain path in which "*" stands for a part of a segment and "**" for segments, ` +
        `received ${inspect(pattern)}`,
    );
  }
  return segments;
}

function segmentMatches(segment: string, pattern: string): boolean {
  if (!pattern.includes('*')) return segment === pattern;
  // Alone, it stands for a segment that has something in it.
  return segment !== '' && matches(segment, pattern, '*', Object.is);
}

/**
 * Whether `pattern`, in which `many` stands for any number of items, matches `items`. The last `many` alone is
 * tried at every length: whatever an earlier one could take, it can take as well.
 */
function matches<T extends string>(
  items: ArrayLike<T>,
  pattern: ArrayLike<T>,
  many: string,
  same: (item: T, wanted: T) => boolean,
): boolean {
  let at = 0;
  let i = 0;
  let lastMany = -1;
  let retryFrom = 0;
  while (i < items.length) {
    if (pattern[at] === many) {
      lastMany = at++;
      retryFrom = i;
    } else if (at < pattern.length && same(items[i] as T, pattern[at] as T)) {
      at++;
      i++;
    } else if (lastMany === -1) {
      return false;
    } else {
      at = lastMany + 1;
      i = ++retryFrom;
    }
  }
  while (pattern[at] === many) at++;
  return at === pattern.length;
}

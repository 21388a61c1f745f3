/** The directives of a `Cache-Control` field, by their names in lower case. */
export type Directives = ReadonlyMap<string, string>;

const NONE: Directives = new Map();

/** A directive: a token, and behind `=` a token or a quoted string. */
const DIRECTIVE = /([^\s,;="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?/g;

/** What longer times count as (RFC 9111, 1.2.2). */
const MAX_SECONDS = 2 ** 31;

/** Reads a `Cache-Control`. Of a directive that is there twice, the shorter time counts, as does its being there. */
export function directivesOf(value: string | undefined): Directives {
  if (value === undefined || value === '') return NONE;
  const directives = new Map<string, string>();
  for (const [, name = '', quoted, token] of value.matchAll(DIRECTIVE)) {
    const lower = name.toLowerCase();
    const argument = quoted ?? token ?? '';
    const before = directives.get(lower);
    if (before === undefined || Number(argument) < Number(before)) directives.set(lower, argument);
  }
  return directives;
}

/** The time that a directive names, in milliseconds; `undefined` without it, and 0 for what is no time. */
export function timeIn(directives: Directives, name: string): number | undefined {
  const argument = directives.get(name);
  return argument === undefined ? undefined : secondsIn(argument);
}

/** A number of seconds, in milliseconds; 0 for what is none. */
export function secondsIn(text: string): number {
  return /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) * 1_000 : 0;
}

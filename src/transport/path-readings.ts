import { isUtf8 } from 'node:buffer';

/** Most ways to read a path that are looked at, and most characters in all. Beyond, nobody means well. */
const MAX_READINGS = 16;
const MAX_CHARACTERS = 65_536;

/** One way in which a server may read a path: its segments, decoded. */
export type Reading = readonly string[];

/** Letters that every server reads alike. Sub-delimiters mean nothing to those that decode paths. */
const PLAIN = /^[\w/.~!$&'()*+,:@=-]*$/;
/** Segments that are, or might be taken for, another one: `..`, `.`, and `admin.` on Windows. */
const ODD_END = /\.(?:\/|$)|:\$/;

/**
 * Every way in which some server may read a path: with or without decoding once more, path parameters,
 * doubled slashes, backslashes, and what Windows cuts off. One reading is the rule.
 *
 * `undefined` when it cannot be told: `..` and `.` in any spelling, `//` in front, which can name a host,
 * malformed encodings, control characters, and paths that can be read in too many ways.
 */
export function readingsOf(path: string): readonly Reading[] | undefined {
  const end = path.search(/[?#]/);
  const text = end === -1 ? path : path.slice(0, end);
  if (text.charCodeAt(0) !== 0x2f) return undefined;
  if (PLAIN.test(text) && !text.includes('//') && !ODD_END.test(text)) return [segmentsOf(text)];
  const start = decoded(text);
  const all = start === undefined ? undefined : everyReading(start);
  return all?.map(segmentsOf);
}

/** The segments of a path. That it ends in a slash makes it no other one. */
function segmentsOf(text: string): string[] {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0x2f) end--;
  return end === 0 ? [] : text.slice(1, end).split('/');
}

/** Bytes that mean something when they are decoded, and something else when they are not. */
const STRUCTURAL = new Set(['/', '\\', ';', '%', '?', '#']);

/** A path as it is read with RFC 3986 alone: decoded, but for what would then have a meaning. */
function decoded(text: string): string | undefined {
  if (/%(?![\da-f]{2})/i.test(text)) return undefined;
  return utf8(
    text.replace(/%([\da-f]{2})/gi, (code, hex: string) => {
      const byte = String.fromCharCode(Number.parseInt(hex, 16));
      return STRUCTURAL.has(byte) ? code.toUpperCase() : byte;
    }),
  );
}

/** Bytes, one for each character, as the text that they are; `undefined` when they are none. */
function utf8(bytes: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\0-\x1f\x7f]/.test(bytes)) return undefined;
  if (!/[^\0-\x7f]/.test(bytes)) return bytes;
  const buffer = Buffer.from(bytes, 'latin1');
  return isUtf8(buffer) && buffer.length === bytes.length && !/[^\0-\xff]/.test(bytes)
    ? buffer.toString('utf8')
    : undefined;
}

/** What servers do to a path, each by itself. */
const STEPS: readonly ((text: string) => string | undefined)[] = [
  decodedAgain,
  // A program that decodes before it takes the path apart.
  (text) => text.replace(/[?#].*$/s, ''),
  // RFC 3986, 3.3: Java servers and others take these off.
  (text) => text.replace(/;[^/]*/g, ''),
  (text) => text.replaceAll('\\', '/'),
  (text) => text.replace(/\/{2,}/g, '/'),
  // Windows: `admin.`, `admin%20`, `admin::$DATA`.
  (text) => text.replace(/(?<=[^/. ])(?::{1,2}\$[^/]*|[. ]+)(?=\/|$)/g, ''),
  // Full-width letters and others that are kept as the usual ones.
  (text) => (/[^\0-\x7f]/.test(text) ? text.normalize('NFKC') : text),
];

function decodedAgain(text: string): string | undefined {
  if (!text.includes('%')) return text;
  const bytes = Buffer.from(text).toString('latin1');
  return utf8(
    bytes.replace(/%([\da-f]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    ),
  );
}

/** What the steps make of a path, in any order, each as often as it changes something. */
function everyReading(start: string): string[] | undefined {
  const found = new Set([start]);
  // A set is walked in the order of insertion, and on to what is added on the way.
  for (const text of found) {
    if (leadsAstray(text)) return undefined;
    for (const step of STEPS) {
      const next = step(text);
      if (next === undefined) return undefined;
      found.add(next);
    }
    if (found.size > Math.min(MAX_READINGS, MAX_CHARACTERS / text.length)) return undefined;
  }
  return [...found];
}

/** A segment of nothing but dots and blanks, in whose place some server puts another. */
const DOTS = /[/\\][. ]+(?:[/\\;]|$)/;

function leadsAstray(text: string): boolean {
  return DOTS.test(text) || /^[/\\]{2}/.test(text);
}

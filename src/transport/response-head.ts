import {
  fieldInfo,
  fieldNamed,
  HOP_BY_HOP,
  isAllowedTrailer,
  nominated,
} from '../exchange/fields.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import { emptyList } from '../lists.js';
import type { SocketWatcher } from './socket-watch.js';

/** How the body of a response is delimited, and its end-to-end fields as flat names and values. */
export class ResponseHead {
  constructor(
    readonly lines: string[],
    readonly chunked: boolean,
    /** `Content-Length`, where there is one. */
    readonly length: number | undefined,
    /** What was taken out beside the fixed list, in lower case; trailers lose it as well. */
    readonly taken: readonly string[] | undefined,
  ) {}

  /** Whether it says where its body ends, without the end of the connection. */
  get isDelimited(): boolean {
    return this.chunked || this.length !== undefined;
  }
}

/** A value as undici hands it over: bytes from HTTP/1, text from HTTP/2. */
type RawValue = Buffer | string | readonly (Buffer | string)[];

/** Raw fields: flat names and values. */
export type RawFields = readonly RawValue[];

/** The raw fields of a response; from HTTP/2 they can come as an object. */
export function rawFields(raw: unknown): RawFields {
  if (Array.isArray(raw)) return raw as RawFields;
  return Object.entries((raw ?? {}) as Record<string, RawValue>)
    .filter(([name]) => !name.startsWith(':'))
    .flat();
}

const DIGITS = /^\d+$/;
/** With a tab behind it, undici's parser takes it for another coding. */
const CHUNKED = /^chunked *$/i;
const BLANK = { space: 0x20, tab: 0x09 } as const;

/** What the lines of a field say together; empty where there is none. */
export function rawValue(raw: RawFields, lower: string): string {
  const values: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    if (latin1(raw[i] as Buffer | string).toLowerCase() === lower)
      values.push(fieldValue(raw[i + 1] as RawValue));
  }
  return values.join(', ');
}

/** The head of a response, hop-by-hop fields taken out; a word that says why where it is unfit. */
export function responseHead(
  raw: RawFields,
  policy: Pick<HeaderOverlay, 'keep' | 'also'>,
  maxFields: number,
): ResponseHead | string {
  if (raw.length > maxFields * 2) return 'too many fields';
  const lines: string[] = emptyList();
  let connection: string | undefined;
  let chunked = false;
  let length: number | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as Buffer | string;
    const { spelling, lower, flags } =
      typeof name === 'string' ? fieldInfo(name) : fieldNamed(name);
    let value = fieldValue(raw[i + 1] as RawValue);
    if (flags & HOP_BY_HOP) {
      if (lower === 'transfer-encoding') {
        // Anything but one plain "chunked" is read differently by different servers (CWE-444).
        if (chunked || !CHUNKED.test(String(raw[i + 1]))) return 'unknown transfer coding';
        chunked = true;
      } else if (lower === 'connection') {
        connection = connection === undefined ? value : `${connection},${value}`;
      }
      if (!policy.keep.includes(lower)) continue;
    } else if (lower === 'content-length') {
      length = Number(value);
      if (!Number.isSafeInteger(length) || length < 0) return 'unknown length';
      // RFC 9110, 8.6 allows `05`, but not everybody reads it as 5.
      if (value !== `${length}`) {
        if (!DIGITS.test(value)) return 'unknown length';
        value = `${length}`;
      }
    }
    lines.push(spelling, value);
  }
  if (chunked && length !== undefined) return 'two framings';
  const named = nominated(connection);
  if (named === undefined && policy.also.length === 0) {
    return new ResponseHead(lines, chunked, length, undefined);
  }
  const taken = [...(named ?? []), ...policy.also];
  return new ResponseHead(without(lines, taken), chunked, length, taken);
}

/** What stands against passing on a response of this status and HTTP version, if anything does. */
export function objectionTo(
  status: number,
  { chunked }: Pick<ResponseHead, 'chunked'>,
  connection: Pick<SocketWatcher, 'minorVersion'> | undefined,
): string | undefined {
  if (status > 599) return `status ${status}`;
  if (connection === undefined) return undefined;
  const { minorVersion } = connection;
  if (minorVersion !== 0 && minorVersion !== 1) return 'not HTTP/1';
  if (minorVersion === 1) return undefined;
  // RFC 9112, 6.1 and RFC 9110, 7.8: HTTP/1.0 has neither transfer codings nor upgrades.
  if (status === 101) return '101 of HTTP/1.0';
  return chunked ? 'chunked HTTP/1.0' : undefined;
}

/** The fields of an interim response that may go on; RFC 9110, 7.6.1 counts for 1xx as well. */
export function interimLines(
  raw: RawFields,
  policy: Pick<HeaderOverlay, 'keep' | 'also'>,
): string[] {
  const head = responseHead(raw, policy, Number.POSITIVE_INFINITY);
  // An interim response has no body, so whatever it says of framing is dropped, not judged.
  return typeof head === 'string' ? [] : without(head.lines, ['content-length']);
}

/** The trailers that may go on, as pairs; `undefined` when there are none. `taken` is what the head has lost. */
export function trailerPairs(
  raw: RawFields,
  taken: readonly string[] | undefined,
): [string, string][] | undefined {
  if (raw.length === 0) return undefined;
  const pairs: [string, string][] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = latin1(raw[i] as Buffer | string);
    const lower = name.toLowerCase();
    if (!isAllowedTrailer(lower) || taken?.includes(lower)) continue;
    pairs.push([name, fieldValue(raw[i + 1] as RawValue)]);
  }
  return pairs.length === 0 ? undefined : pairs;
}

function without(lines: readonly string[], names: readonly string[]): string[] {
  const left: string[] = emptyList();
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    if (!names.includes(name.toLowerCase())) left.push(name, lines[i + 1] as string);
  }
  return left;
}

function latin1(bytes: Buffer | string): string {
  return typeof bytes === 'string' ? bytes : bytes.toString('latin1');
}

function fieldValue(value: RawValue): string {
  if (Array.isArray(value)) return value.map(latin1).join(', ');
  const one = value as Buffer | string;
  return typeof one === 'string' ? one : one.toString('latin1', 0, endOf(one));
}

/** Where a value ends: RFC 9110, 5.5 takes no blanks behind it for a part of it, and undici leaves them there. */
function endOf(bytes: Buffer): number {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === BLANK.space || bytes[end - 1] === BLANK.tab)) end--;
  return end;
}

import type { AccessRecord } from './access-record.js';

const UNSAFE = /[^\x20-\x7e]|["\\]/;
const EACH_UNSAFE = new RegExp(UNSAFE, 'g');

/** Text of a client as it can stand in a line: no control characters, no quotes, nothing but ASCII. */
export function escaped(text: string): string {
  return UNSAFE.test(text) ? text.replace(EACH_UNSAFE, escapeCode) : text;
}

function escapeCode(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0').toUpperCase()}`
    : `\\u${code.toString(16).padStart(4, '0').toUpperCase()}`;
}

/** A record as a few words: what stands beside the record in a log. */
export function summary({ method, url, status }: AccessRecord): string {
  return `${escaped(method)} ${escaped(url)} ${status}`;
}

/** A record in the Common Log Format; `bytes` of the answer's body. */
export function commonLine(record: AccessRecord, bytes: number): string {
  const { client = '-', user = '-', method, url, httpVersion, status } = record;
  const line = `${escaped(method)} ${escaped(url)} HTTP/${httpVersion}`;
  const size = bytes === 0 ? '-' : bytes;
  const name = user === '' ? '""' : escaped(user).replaceAll(' ', '\\x20');
  return `${client} - ${name} [${date(record.startedAt)}] "${line}" ${status} ${size}`;
}

/** A record in the Combined Log Format: with referer and user agent. */
export function combinedLine(record: AccessRecord, bytes: number): string {
  const { referer = '-', userAgent = '-' } = record;
  return `${commonLine(record, bytes)} "${escaped(referer)}" "${escaped(userAgent)}"`;
}

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec';
let second = Number.NaN;
let written = '';

/** `21/Nov/2026:09:30:00 +0000`. Lines of the same second share the text. */
function date(ms: number): string {
  const now = Math.floor(ms / 1_000);
  if (now === second) return written;
  const [year, month, day, time] = new Date(now * 1_000).toISOString().split(/[-T.]/) as string[];
  const at = (Number(month) - 1) * 3;
  second = now;
  written = `${day}/${MONTHS.slice(at, at + 3)}/${year}:${time} +0000`;
  return written;
}

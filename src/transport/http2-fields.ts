import type { OutgoingHttpHeaders } from 'node:http2';
import { HTTP1_ONLY } from '../exchange/fields.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { SendOptions } from './carrier.js';

/** The fields of a request as HTTP/2 has them. */
export function http2Fields(
  { method, path, headers }: SendOptions,
  upstream: Upstream,
): OutgoingHttpHeaders {
  const { protocol, origin } = upstream;
  const fields: OutgoingHttpHeaders = {
    ':method': method,
    ':scheme': protocol.slice(0, -1),
    ':authority': origin.slice(protocol.length + 2),
    ':path': path,
  };
  const flat = headers as readonly (string | readonly string[])[];
  for (let i = 0; i < flat.length; i += 2) {
    const lower = (flat[i] as string).toLowerCase();
    const value = flat[i + 1] as string | readonly string[];
    if (HTTP1_ONLY.has(lower)) continue;
    if (lower === 'host') fields[':authority'] = String(value);
    else fields[lower] = typeof value === 'string' ? value : [...value];
  }
  return fields;
}

/** Raw fields without those that stand for the status line. */
export function withoutPseudo(raw: readonly string[]): string[] {
  const fields: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!name.startsWith(':')) fields.push(name, raw[i + 1] as string);
  }
  return fields;
}

/** How many bytes names and values are together. */
export function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, { length }) => sum + length, 0);
}

/** The length of the body that a head tells; NaN where it tells none. */
export function statedLength(raw: readonly string[]): number {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i] === 'content-length') return Number(raw[i + 1]);
  }
  return Number.NaN;
}

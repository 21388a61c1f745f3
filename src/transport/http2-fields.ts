import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { OutgoingHttpHeaders } from 'node:http2';
import { HTTP1_ONLY } from '../exchange/fields.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { SendOptions } from './carrier.js';

/**
 * The fields of a request as HTTP/2 has them. Node looks at none of them, and sends the low byte of each
 * character: what undici would refuse is refused here.
 *
 * @throws TypeError when there is something in them that cannot be sent.
 */
export function http2Fields(
  { method, path, headers }: SendOptions,
  upstream: Upstream,
): OutgoingHttpHeaders {
  const { protocol, origin } = upstream;
  // A token, as names are.
  validateHeaderName(method);
  const fields: OutgoingHttpHeaders = {
    ':method': method,
    ':scheme': protocol.slice(0, -1),
    ':authority': origin.slice(protocol.length + 2),
    ':path': path,
  };
  const flat = headers as readonly (string | readonly string[])[];
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const value = flat[i + 1] as string | readonly string[];
    validateHeaderName(name);
    if (typeof value === 'string') validateHeaderValue(name, value);
    else for (const line of value) validateHeaderValue(name, line);
    const lower = name.toLowerCase();
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

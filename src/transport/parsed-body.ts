import type { IncomingMessage } from 'node:http';
import { asUtf8, charsetOf, isJson } from '../exchange/charset.js';
import { inspect } from '../options.js';

/** A body written out again. */
export interface EncodedBody {
  readonly bytes: Buffer;
  /** The new `Content-Type`, where the old one would be wrong about the charset. */
  readonly contentType: string | undefined;
}

/**
 * Writes out again what `express.json()`, `urlencoded()`, `text()` or `raw()` has left in `req.body`,
 * edits included. `undefined` when nothing there can be written as this content type.
 */
export function parsedBody(
  req: IncomingMessage,
  type: string | undefined,
): EncodedBody | undefined {
  const { body } = req as IncomingMessage & { body?: unknown };
  if (body === undefined) return undefined;
  if (body instanceof Uint8Array) {
    return {
      bytes: Buffer.from(body.buffer, body.byteOffset, body.byteLength),
      contentType: undefined,
    };
  }
  if (isJson(type)) {
    const text = typeof body === 'string' && isJsonText(body) ? asItCame(req, body) : toJson(body);
    return text === undefined ? undefined : utf8(text, type);
  }
  if (typeof body === 'string') return encodeText(body, type);
  if (isForm(type) && typeof body === 'object' && body !== null)
    return utf8(encodeForm(body), type);
  return undefined;
}

/** Why `parsedBody()` wrote nothing. Of what is in the body, nothing is told: it may be a secret. */
export function unwritable(req: IncomingMessage, type: string | undefined): string {
  const { body } = req as IncomingMessage & { body?: unknown };
  if (body === undefined) return 'nothing was left in req.body that can be sent';
  const kind = typeof body === 'object' ? 'an object' : `a ${typeof body}`;
  const given =
    type === undefined ? 'there is no Content-Type' : `Content-Type is ${inspect(type)}`;
  return `req.body is ${body === null ? 'null' : kind}, but ${given}`;
}

function encodeText(text: string, type: string | undefined): EncodedBody {
  const charset = charsetOf(type);
  if ((charset === 'iso-8859-1' || charset === 'latin1') && isLatin1(text)) {
    return { bytes: Buffer.from(text, 'latin1'), contentType: undefined };
  }
  return utf8(text, type);
}

function isLatin1(text: string): boolean {
  return Buffer.from(text, 'latin1').toString('latin1') === text;
}

function utf8(text: string, type: string | undefined): EncodedBody {
  const charset = charsetOf(type);
  const right = charset === undefined || charset === 'utf-8' || charset === 'utf8';
  return { bytes: Buffer.from(text), contentType: right ? undefined : asUtf8(type as string) };
}

/** There is no JSON for functions and symbols, though the type says nothing of it. */
function toJson(value: unknown): string | undefined {
  return JSON.stringify(value);
}

/**
 * JSON text that text() has left, or a JSON string that json({ strict: false }) has parsed: `123` and `"123"`
 * are the same in `req.body`. The length of what came can tell; where it does not, it is taken for text.
 */
function asItCame({ headers }: IncomingMessage, text: string): string {
  const string = JSON.stringify(text);
  const length = headers['content-encoding'] === undefined ? headers['content-length'] : undefined;
  return Number(length) === Buffer.byteLength(string) ? string : text;
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function isForm(type: string | undefined): boolean {
  return type !== undefined && /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(type);
}

/** Nested values as `a[b]=c`, repeated ones as `a=1&a=2`: what body-parser reads back the same. */
function encodeForm(body: object): string {
  const pairs: string[] = [];
  for (const [key, value] of Object.entries(body)) addPairs(pairs, key, value);
  return pairs.join('&');
}

function addPairs(pairs: string[], key: string, value: unknown): void {
  if (Array.isArray(value)) {
    const repeatable = value.length > 1 && value.every((item) => typeof item !== 'object');
    value.forEach((item, i) => {
      addPairs(pairs, repeatable ? key : `${key}[${i}]`, item);
    });
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) addPairs(pairs, `${key}[${name}]`, item);
  } else {
    pairs.push(
      `${formText(key)}=${formText(value === null || value === undefined ? '' : String(value))}`,
    );
  }
}

function formText(text: string): string {
  return encodeURIComponent(text).replace(/%20/g, '+');
}

import type { IncomingMessage } from 'node:http';
import { appTrusts, clientAddress, peerAddress } from '../../exchange/client.js';
import { type Callback, inspect, known } from '../../options.js';

/** What of a request is hashed. A request without it goes by the client's address. */
export type RequestKey =
  /** The client's address, as far as Express' `trust proxy` lets it be known. */
  | 'address'
  /** The value of a header field. */
  | { readonly header: string }
  /** The value of a cookie, as the client wrote it. */
  | { readonly cookie: string }
  /** What a function says. */
  | Callback<[req: IncomingMessage], string | undefined>;

/** Reads a key; `undefined` when the request has none. */
export type KeyReader = (req: IncomingMessage) => string | undefined;

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** @throws TypeError that names `path` when `key` is none of the four. */
export function keyReader(path: string, key: RequestKey): KeyReader {
  if (key === 'address') return addressOf;
  if (typeof key === 'function') return (req) => nonEmpty(said(path, key(req))) ?? addressOf(req);
  if (typeof key !== 'object' || key === null || 'header' in key === 'cookie' in key) {
    const wanted = '"address", { header }, { cookie } or a function';
    throw new TypeError(`${path} must be ${wanted}, received ${inspect(key)}`);
  }
  if ('header' in key) {
    const { header } = known(path, key, ['header']);
    const lower = fieldName(`${path}.header`, header).toLowerCase();
    return (req) => headerOf(req, lower) ?? addressOf(req);
  }
  const { cookie } = known(path, key, ['cookie']);
  const name = fieldName(`${path}.cookie`, cookie);
  return (req) => cookieOf(req.headers.cookie, name) ?? addressOf(req);
}

/** A number, or a promise, would have all requests go to one upstream. */
function said(path: string, key: unknown): string | undefined {
  if (key === undefined || typeof key === 'string') return key;
  throw new TypeError(`${path}() must return a string or undefined, received ${inspect(key)}`);
}

/** The address of the client. */
function addressOf(req: IncomingMessage): string | undefined {
  if (req.headers['x-forwarded-for'] === undefined) return nonEmpty(peerAddress(req));
  return nonEmpty(clientAddress(req, (address, hop) => appTrusts(req, address, hop)));
}

function headerOf(req: IncomingMessage, lower: string): string | undefined {
  const value = req.headers[lower];
  return nonEmpty(Array.isArray(value) ? value.join(', ') : value);
}

function cookieOf(cookies: string | undefined, name: string): string | undefined {
  if (cookies === undefined) return undefined;
  for (const pair of cookies.split(';')) {
    const at = pair.indexOf('=');
    if (at !== -1 && pair.slice(0, at).trim() === name) return nonEmpty(pair.slice(at + 1).trim());
  }
  return undefined;
}

function fieldName(path: string, name: unknown): string {
  if (typeof name === 'string' && NAME.test(name)) return name;
  throw new TypeError(`${path} must be a name, received ${inspect(name)}`);
}

/** Nothing tells those apart who have an empty key: they would all share one upstream. */
function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

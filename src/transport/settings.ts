import type { ConnectionOptions } from 'node:tls';
import type { Dispatcher } from 'undici';
import { flag, inspect, milliseconds, wholeNumber } from '../options.js';

/** How requests are sent: the part of `proxyPass`'s options that every way of sending shares. */
export interface TransportOptions {
  /**
   * What the upstream sees as `Host`: its own name, the client's, or a given one.
   *
   * @default 'upstream'
   */
  readonly host?: 'upstream' | 'client' | (string & {}) | undefined;
  /**
   * Longest wait for a connection, TLS handshake included, in milliseconds.
   *
   * @default 5_000
   */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Longest wait for the head of the response, in milliseconds; it begins anew with each 1xx.
   *
   * @default 30_000
   */
  readonly headersTimeoutMs?: number | undefined;
  /**
   * Longest time that a body may stand still, in milliseconds: the upstream's response, the client's
   * upload, and the client's reading alike.
   *
   * @default 60_000
   */
  readonly bodyTimeoutMs?: number | undefined;
  /**
   * Most connections to one upstream; requests beyond them wait.
   *
   * @default 256
   */
  readonly connections?: number | undefined;
  /**
   * How long an idle connection is kept, in milliseconds. A shorter `Keep-Alive` of the upstream wins.
   *
   * @default 30_000
   */
  readonly keepAliveMs?: number | undefined;
  /** TLS towards the upstream: `ca`, `cert`, `key`, `servername`, `rejectUnauthorized` and so on. */
  readonly tls?: ConnectionOptions | undefined;
  /**
   * Offers HTTP/2 to `https:` upstreams.
   *
   * @default false
   */
  readonly http2?: boolean | undefined;
  /** An undici dispatcher (7 or 8) to send with, in place of headrace's own connections. */
  readonly dispatcher?: Dispatcher | undefined;
  /** Longest request body, in bytes; longer ones are answered with 413. No limit by default. */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Longest response head, in bytes of names and values; longer ones are answered with 502.
   *
   * @default 16_384
   */
  readonly maxHeaderBytes?: number | undefined;
  /**
   * Most fields in a response head; more are answered with 502.
   *
   * @default 256
   */
  readonly maxHeaderFields?: number | undefined;
  /**
   * Lets TRACE through. It shows a client what the proxy added to its request.
   *
   * @default false
   */
  readonly allowTrace?: boolean | undefined;
}

/** The names in {@link TransportOptions}, for the check for unknown ones. */
export const TRANSPORT_OPTIONS = [
  'host',
  'connectTimeoutMs',
  'headersTimeoutMs',
  'bodyTimeoutMs',
  'connections',
  'keepAliveMs',
  'tls',
  'http2',
  'dispatcher',
  'maxBodyBytes',
  'maxHeaderBytes',
  'maxHeaderFields',
  'allowTrace',
] as const satisfies readonly (keyof TransportOptions)[];

/** {@link TransportOptions}, checked and complete. */
export interface TransportSettings {
  readonly host: string;
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly connections: number;
  readonly keepAliveMs: number;
  readonly tls: ConnectionOptions | undefined;
  readonly http2: boolean;
  readonly dispatcher: Dispatcher | undefined;
  readonly maxBodyBytes: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaderFields: number;
  readonly allowTrace: boolean;
}

/** Checks transport options on behalf of a factory and fills in the defaults. */
export function transportSettings(factory: string, options: TransportOptions): TransportSettings {
  const {
    host = 'upstream',
    connectTimeoutMs = 5_000,
    headersTimeoutMs = 30_000,
    bodyTimeoutMs = 60_000,
    connections = 256,
    keepAliveMs = 30_000,
    tls,
    http2 = false,
    dispatcher,
    maxBodyBytes = Number.POSITIVE_INFINITY,
    maxHeaderBytes = 16_384,
    maxHeaderFields = 256,
    allowTrace = false,
  } = options;
  checkHost(`${factory}: host`, host);
  milliseconds(`${factory}: connectTimeoutMs`, connectTimeoutMs);
  milliseconds(`${factory}: headersTimeoutMs`, headersTimeoutMs);
  milliseconds(`${factory}: bodyTimeoutMs`, bodyTimeoutMs);
  milliseconds(`${factory}: keepAliveMs`, keepAliveMs);
  wholeNumber(`${factory}: connections`, connections, 1);
  if (maxBodyBytes !== Number.POSITIVE_INFINITY)
    wholeNumber(`${factory}: maxBodyBytes`, maxBodyBytes);
  wholeNumber(`${factory}: maxHeaderBytes`, maxHeaderBytes, 1);
  wholeNumber(`${factory}: maxHeaderFields`, maxHeaderFields, 1);
  flag(`${factory}: http2`, http2);
  flag(`${factory}: allowTrace`, allowTrace);
  if (tls !== undefined && (typeof tls !== 'object' || tls === null)) {
    throw new TypeError(`${factory}: tls must be an object, received ${inspect(tls)}`);
  }
  if (dispatcher !== undefined && typeof dispatcher?.dispatch !== 'function') {
    throw new TypeError(
      `${factory}: dispatcher must be an undici dispatcher, received ${inspect(dispatcher)}`,
    );
  }
  return {
    host,
    connectTimeoutMs,
    headersTimeoutMs,
    bodyTimeoutMs,
    connections,
    keepAliveMs,
    tls,
    http2,
    dispatcher,
    maxBodyBytes,
    maxHeaderBytes,
    maxHeaderFields,
    allowTrace,
  };
}

const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::\d{1,5})?$/i;

function checkHost(path: string, host: unknown): void {
  if (typeof host !== 'string' || !HOST.test(host)) {
    throw new TypeError(
      `${path} must be 'upstream', 'client' or a host, received ${inspect(host)}`,
    );
  }
}

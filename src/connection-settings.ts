import type { LookupAddress } from 'node:dns';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import type { Dispatcher } from 'undici';
import { inspect, milliseconds, wholeNumber } from './options.js';
import { checkTls } from './tls-settings.js';

/** How an upstream is connected to. */
export interface ConnectionOptions {
  /**
   * Longest wait for a connection, TLS handshake included, in milliseconds.
   *
   * @default 5_000
   */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Most connections to one upstream; requests beyond them wait.
   *
   * @default 256
   */
  readonly connections?: number | undefined;
  /**
   * How long a request waits for one of the `connections` to come free, in milliseconds. Then it is answered
   * with 503.
   *
   * @default 30_000
   */
  readonly queueTimeoutMs?: number | undefined;
  /**
   * How long an idle connection is kept, in milliseconds. A shorter `Keep-Alive` of the upstream wins.
   *
   * @default 30_000
   */
  readonly keepAliveMs?: number | undefined;
  /** TLS towards the upstream: `ca`, `cert`, `key`, `servername`, `rejectUnauthorized` and so on. */
  readonly tls?: TlsOptions | undefined;
  /**
   * Offers HTTP/2 to `https:` upstreams, which choose. `'prior-knowledge'` speaks nothing else, to
   * `http:` upstreams as well (h2c).
   *
   * @default false
   */
  readonly http2?: boolean | 'prior-knowledge' | undefined;
  /** An undici dispatcher (7 or 8) to send with, in place of headrace's own connections. */
  readonly dispatcher?: AnyDispatcher | undefined;
  /**
   * Longest response head, in bytes of names and values; longer ones are answered with 502.
   *
   * @default 16_384
   */
  readonly maxHeaderBytes?: number | undefined;
}

/** What is asked of a dispatcher and of a handler; undici 7 and 8 agree on it, but not on the rest. */
export interface AnyDispatcher {
  dispatch(
    options: Dispatcher.DispatchOptions,
    handler: Pick<
      Dispatcher.DispatchHandler,
      'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'
    >,
  ): boolean;
}

/** The names in {@link ConnectionOptions}, for the check for unknown ones. */
export const CONNECTION_OPTIONS = [
  'connectTimeoutMs',
  'connections',
  'queueTimeoutMs',
  'keepAliveMs',
  'tls',
  'http2',
  'dispatcher',
  'maxHeaderBytes',
] as const satisfies readonly (keyof ConnectionOptions)[];

/** Of all options of a piece, those that say how to connect; `undefined` where there are none. */
export function connectionOptionsOf(options: ConnectionOptions): ConnectionOptions | undefined {
  const names: readonly string[] = CONNECTION_OPTIONS;
  const own = Object.entries(options).filter(([name]) => names.includes(name));
  return own.length === 0 ? undefined : Object.fromEntries(own);
}

/** {@link ConnectionOptions}, checked and complete. */
export interface ConnectionSettings {
  readonly connectTimeoutMs: number;
  readonly connections: number;
  readonly queueTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly tls: TlsOptions | undefined;
  readonly http2: boolean | 'prior-knowledge';
  readonly dispatcher: AnyDispatcher | undefined;
  readonly maxHeaderBytes: number;
  /** The only addresses that may be connected to, whatever DNS says by then. */
  readonly addresses?: readonly LookupAddress[];
}

/** Checks connection options on behalf of a factory and fills in the defaults. */
export function connectionSettings(
  factory: string,
  options: ConnectionOptions,
): ConnectionSettings {
  const {
    connectTimeoutMs = 5_000,
    connections = 256,
    queueTimeoutMs = 30_000,
    keepAliveMs = 30_000,
    tls,
    http2 = false,
    dispatcher,
    maxHeaderBytes = 16_384,
  } = options;
  milliseconds(`${factory}: connectTimeoutMs`, connectTimeoutMs);
  wholeNumber(`${factory}: connections`, connections, 1);
  milliseconds(`${factory}: queueTimeoutMs`, queueTimeoutMs);
  milliseconds(`${factory}: keepAliveMs`, keepAliveMs);
  if (typeof http2 !== 'boolean' && http2 !== 'prior-knowledge') {
    throw new TypeError(
      `${factory}: http2 must be true, false or "prior-knowledge", received ${inspect(http2)}`,
    );
  }
  wholeNumber(`${factory}: maxHeaderBytes`, maxHeaderBytes, 1);
  if (tls !== undefined) checkTls(`${factory}: tls`, tls);
  if (dispatcher !== undefined && typeof dispatcher?.dispatch !== 'function') {
    throw new TypeError(
      `${factory}: dispatcher must be an undici dispatcher, received ${inspect(dispatcher)}`,
    );
  }
  return {
    connectTimeoutMs,
    connections,
    queueTimeoutMs,
    keepAliveMs,
    tls,
    http2,
    dispatcher,
    maxHeaderBytes,
  };
}

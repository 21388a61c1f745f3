import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  type ConnectionSettings,
  connectionSettings,
} from '../connection-settings.js';
import { validHost } from '../exchange/client.js';
import { flag, inspect, milliseconds, wholeNumber } from '../options.js';

/** How requests are sent: the part of `proxyPass`'s options that every way of sending shares. */
export interface TransportOptions extends ConnectionOptions {
  /**
   * What the upstream sees as `Host`: its own name, the client's, or a given one.
   *
   * @default 'upstream'
   */
  readonly host?: 'upstream' | 'client' | (string & {}) | undefined;
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
   * Ends a tunnel (WebSocket and its kin) when nothing has gone either way for so long, in milliseconds.
   * No limit by default.
   */
  readonly tunnelIdleMs?: number | undefined;
  /** Longest request body, in bytes; longer ones are answered with 413. No limit by default. */
  readonly maxBodyBytes?: number | undefined;
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
  'headersTimeoutMs',
  'bodyTimeoutMs',
  'tunnelIdleMs',
  'maxBodyBytes',
  'maxHeaderFields',
  'allowTrace',
  ...CONNECTION_OPTIONS,
] as const satisfies readonly (keyof TransportOptions)[];

/** {@link TransportOptions}, checked and complete. */
export interface TransportSettings {
  readonly host: string;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly tunnelIdleMs: number | undefined;
  readonly maxBodyBytes: number;
  readonly maxHeaderFields: number;
  readonly allowTrace: boolean;
  /** For upstreams that bring no settings of their own. */
  readonly connection: ConnectionSettings;
}

/** Checks transport options on behalf of a factory and fills in the defaults. */
export function transportSettings(factory: string, options: TransportOptions): TransportSettings {
  const {
    host = 'upstream',
    headersTimeoutMs = 30_000,
    bodyTimeoutMs = 60_000,
    tunnelIdleMs,
    maxBodyBytes = Number.POSITIVE_INFINITY,
    maxHeaderFields = 256,
    allowTrace = false,
    ...connection
  } = options;
  checkHost(`${factory}: host`, host);
  milliseconds(`${factory}: headersTimeoutMs`, headersTimeoutMs);
  milliseconds(`${factory}: bodyTimeoutMs`, bodyTimeoutMs);
  if (tunnelIdleMs !== undefined) milliseconds(`${factory}: tunnelIdleMs`, tunnelIdleMs);
  if (maxBodyBytes !== Number.POSITIVE_INFINITY) {
    wholeNumber(`${factory}: maxBodyBytes`, maxBodyBytes);
  }
  wholeNumber(`${factory}: maxHeaderFields`, maxHeaderFields, 1);
  flag(`${factory}: allowTrace`, allowTrace);
  return {
    host,
    headersTimeoutMs,
    bodyTimeoutMs,
    tunnelIdleMs,
    maxBodyBytes,
    maxHeaderFields,
    allowTrace,
    connection: connectionSettings(factory, connection),
  };
}

function checkHost(path: string, host: unknown): void {
  if (typeof host !== 'string' || validHost(host) === undefined) {
    throw new TypeError(
      `${path} must be 'upstream', 'client' or a host, received ${inspect(host)}`,
    );
  }
}

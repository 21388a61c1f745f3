import { createServer, type Server } from 'node:http';
import { milliseconds } from '../options.js';
import type { AnyServer } from './drain.js';

/** How long a server waits for its clients. */
export interface ServerTimeoutOptions {
  /**
   * Longest time for the head of a request, in milliseconds; then 408.
   *
   * @default 20_000
   */
  readonly headersTimeoutMs?: number | undefined;
  /**
   * Longest time for a whole request, its body included, in milliseconds; then 408.
   *
   * @default 300_000
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * How long an idle connection is kept, in milliseconds. The default is a little more than load balancers
   * keep theirs, so that none of them meets one that is being closed.
   *
   * @default 65_000
   */
  readonly keepAliveTimeoutMs?: number | undefined;
}

/** The names in {@link ServerTimeoutOptions}. */
export const SERVER_TIMEOUT_OPTIONS = [
  'headersTimeoutMs',
  'requestTimeoutMs',
  'keepAliveTimeoutMs',
] as const satisfies readonly (keyof ServerTimeoutOptions)[];

/** How often Node looks for requests that take too long; its own half minute would be most of the limit. */
const CHECK_MS = 5_000;

/** A server with the interval that Node reads when it begins to listen. */
type CheckingServer = Server & { connectionsCheckingInterval?: number };

/** Sets the timeouts of a server: those that are given, and where the server still has Node's defaults, ours. */
export function setTimeouts(target: AnyServer, timeouts: ServerTimeoutOptions): void {
  for (const name of SERVER_TIMEOUT_OPTIONS) {
    const given = timeouts[name];
    if (given !== undefined) milliseconds(`attach: ${name}`, given);
  }
  const {
    headersTimeoutMs = 20_000,
    requestTimeoutMs = 300_000,
    keepAliveTimeoutMs = 65_000,
  } = timeouts;
  const server = target as CheckingServer;
  // Which values are the defaults depends on the version of Node.
  const untouched: CheckingServer = createServer();
  if (timeouts.headersTimeoutMs !== undefined || server.headersTimeout === untouched.headersTimeout)
    server.headersTimeout = headersTimeoutMs;
  if (timeouts.requestTimeoutMs !== undefined || server.requestTimeout === untouched.requestTimeout)
    server.requestTimeout = requestTimeoutMs;
  if (
    timeouts.keepAliveTimeoutMs !== undefined ||
    server.keepAliveTimeout === untouched.keepAliveTimeout
  )
    server.keepAliveTimeout = keepAliveTimeoutMs;
  if (server.connectionsCheckingInterval === untouched.connectionsCheckingInterval) {
    server.connectionsCheckingInterval = CHECK_MS;
  }
}

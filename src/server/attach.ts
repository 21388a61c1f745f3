import type { IncomingMessage } from 'node:http';
import { type Callback, callable, inspect, known, milliseconds } from '../options.js';
import type { AnyServer } from './drain.js';
import { type App, ServerEvents } from './server-events.js';
import {
  SERVER_TIMEOUT_OPTIONS,
  type ServerTimeoutOptions,
  setTimeouts,
} from './server-timeouts.js';

export type { App };

/** Options for {@link attach}. */
export interface AttachOptions extends ServerTimeoutOptions {
  /**
   * Which upgrades go through the app. The others are left to whoever else listens for `upgrade` on the
   * server, such as a WebSocket server of your own. All of them by default.
   */
  readonly upgrades?: Callback<[req: IncomingMessage], boolean> | undefined;
  /**
   * How long `close()` waits for tunnels and answers in flight, in milliseconds; then it ends them.
   *
   * @default 30_000
   */
  readonly drainMs?: number | undefined;
}

/** An attached app. */
export interface Attached {
  /**
   * Takes no new connections, closes idle ones, lets answers in flight finish with `Connection: close`,
   * gives tunnels and answers `drainMs`, and resolves when all has ended.
   */
  close(): Promise<void>;
}

/**
 * Sends the events of a server that Express never sees through the app, as the requests that they are:
 * upgrades (WebSocket), CONNECT, and requests that wait for `100 Continue`. Every middleware works for
 * them as for any other request. The last get their 100 when something in the pipeline begins to read
 * the body, and not before: a request that is refused gets its 4xx alone.
 *
 * It also sets the timeouts of the server, where they are still those of Node.
 *
 * @example
 * const server = createServer(app);
 * const attached = attach(server, app);
 * server.listen(8080);
 * process.once('SIGTERM', () => attached.close());
 *
 * @throws TypeError or RangeError when server, app or an option is not what it should be.
 */
export function attach(server: AnyServer, app: App, options: AttachOptions = {}): Attached {
  if (typeof server !== 'object' || server === null || typeof server.on !== 'function') {
    throw new TypeError(
      `attach: server must be an http or https server, received ${inspect(server)}`,
    );
  }
  if ('insecureHTTPParser' in server && server.insecureHTTPParser === true) {
    throw new TypeError(
      'attach: server has insecureHTTPParser, which lets smuggled requests through',
    );
  }
  callable('attach: app', app);
  const {
    upgrades,
    drainMs = 30_000,
    ...timeouts
  } = known('attach', options, ['upgrades', 'drainMs', ...SERVER_TIMEOUT_OPTIONS]);
  if (upgrades !== undefined) callable('attach: upgrades', upgrades);
  milliseconds('attach: drainMs', drainMs, 0);
  setTimeouts(server, timeouts);

  const events = ServerEvents.of(server);
  events.add({ app, upgrades });
  return { close: () => events.close(drainMs) };
}

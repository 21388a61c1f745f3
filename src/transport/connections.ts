import type { LookupAddress } from 'node:dns';
import { isIP, type Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';
import type { AnyDispatcher, ConnectionSettings } from '../connection-settings.js';
import type { Upstream } from '../upstreams/upstream.js';
import { lookupIn, strayed } from './pinned-lookup.js';
import { watchSocket } from './socket-watch.js';

/** What a try says to undici; `connection` is noted by the connection that takes it. */
export interface SendOptions extends Dispatcher.DispatchOptions {
  /** The name that TLS asks for; undici takes it, though its types do not say so. */
  servername: string | undefined;
  /** The connection that took it; `undefined` before that, and with a dispatcher of the user's. */
  connection: Connection | undefined;
}

/** The connections to one upstream, made with one set of settings. */
export interface Connections {
  /** Sends over any connection, an idle one first. */
  dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): void;
  /** Sends over a connection that nobody has used before. */
  dispatchFresh(options: SendOptions, handler: Dispatcher.DispatchHandler): void;
  close(): Promise<void>;
}

/** The connections to an upstream; made when they are first needed. */
export function connectionsTo(upstream: Upstream, settings: ConnectionSettings): Connections {
  // What is stored under settings was stored here, by them.
  const known = upstream.connections.get(settings) as Connections | undefined;
  if (known !== undefined) return known;
  const made = settings.dispatcher
    ? borrowed(settings.dispatcher)
    : new OwnConnections(upstream, settings);
  upstream.connections.set(settings, made);
  return made;
}

class OwnConnections implements Connections {
  readonly #upstream: Upstream;
  readonly #settings: ConnectionSettings;
  readonly #connect: buildConnector.connector;
  readonly #pool: Pool;
  #fresh: Pool | undefined = undefined;

  constructor(upstream: Upstream, settings: ConnectionSettings) {
    this.#upstream = upstream;
    this.#settings = settings;
    this.#connect = connector(upstream, settings);
    this.#pool = this.#open(1);
  }

  dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    this.#pool.dispatch(options, handler);
  }

  dispatchFresh(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    // To undici, `pipelining: 0` is a pool that keeps no connection alive.
    this.#fresh ??= this.#open(0);
    this.#fresh.dispatch(options, handler);
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#fresh?.close()]);
  }

  #open(pipelining: 0 | 1): Pool {
    const settings = this.#settings;
    const connect = this.#connect;
    return new Pool(this.#upstream.origin, {
      connections: settings.connections,
      pipelining,
      connect,
      allowH2: settings.http2,
      keepAliveTimeout: settings.keepAliveMs,
      keepAliveMaxTimeout: settings.keepAliveMs,
      // undici refuses what is as long as this already.
      maxHeaderSize: settings.maxHeaderBytes + 1,
      factory: (origin, options) => new Connection(origin, options as Client.Options, connect),
    });
  }
}

/** One connection, which knows how much it has carried and how its socket fared. */
class Connection extends Client {
  /** Requests that the present socket has carried. */
  served = 0;
  /** Whether the present socket ended with a reset. */
  wasReset = false;
  /** The version of the response now arriving is HTTP/1 with this minor one. */
  minorVersion: number | undefined = 1;
  /** Whether the next bytes begin a response. */
  awaitsHead = false;

  #socket: Socket | undefined = undefined;

  constructor(origin: URL, options: Client.Options, connect: buildConnector.connector) {
    super(origin, {
      ...options,
      connect: (target, done) =>
        connect(target, (...result) => {
          if (result[0] === null) this.#opened(result[1]);
          done(...result);
        }),
    });
  }

  /** Whether it has a socket: what fails then fails with that, and not while connecting. */
  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  /** Ends the socket under the request that it carries. HTTP/2 has streams for that. */
  cut(reason: Error): void {
    const socket: (Socket & { alpnProtocol?: string | false | null }) | undefined = this.#socket;
    if (socket?.alpnProtocol !== 'h2') socket?.destroy(reason);
  }

  override dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.connection = this;
    return super.dispatch(options, handler);
  }

  #opened(socket: Socket): void {
    this.#socket = socket;
    socket.once('close', () => {
      this.#socket = undefined;
    });
    this.served = 0;
    this.wasReset = false;
    watchSocket(socket, this);
  }
}

/** A dispatcher of the user's: theirs to configure and to close. */
function borrowed(dispatcher: AnyDispatcher): Connections {
  const dispatch = (options: SendOptions, handler: Dispatcher.DispatchHandler): void => {
    dispatcher.dispatch(options, handler);
  };
  return { dispatch, dispatchFresh: dispatch, close: async () => {} };
}

function connector(upstream: Upstream, settings: ConnectionSettings): buildConnector.connector {
  const connect = buildConnector({
    ...settings.tls,
    timeout: settings.connectTimeoutMs,
    allowH2: settings.http2,
    ...(settings.addresses && { lookup: lookupIn(settings.addresses) }),
    ...(upstream.socketPath === undefined ? {} : { socketPath: upstream.socketPath }),
  } as buildConnector.BuildOptions);
  const servername = settings.tls?.servername ?? upstream.servername;
  return (target, done) => {
    // The name to verify is the upstream's, never one that a request's Host could choose; and SNI
    // cannot carry addresses (RFC 6066, 3).
    const { servername: _, ...rest } = target;
    connect(
      servername === '' || isIP(servername) ? rest : { ...rest, servername },
      settings.addresses === undefined ? done : unlessStrayed(settings.addresses, done),
    );
  };
}

function unlessStrayed(
  addresses: readonly LookupAddress[],
  done: buildConnector.Callback,
): buildConnector.Callback {
  return (...result) => {
    const [error, socket] = result;
    const refusal = error === null ? strayed(socket, addresses) : undefined;
    if (refusal === undefined) return done(...result);
    socket?.destroy();
    done(refusal, null);
  };
}

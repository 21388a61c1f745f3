import type { Socket } from 'node:net';
import { type buildConnector, Client, type Dispatcher, Pool } from 'undici';
import type { AnyDispatcher, ConnectionSettings } from '../connection-settings.js';
import type { ConnectionCounts, Upstream } from '../upstreams/upstream.js';
import type { Awaited, Carrier, Line, SendOptions } from './carrier.js';
import { connector } from './connector.js';
import { Http2Connections } from './http2-connections.js';
import { limitByUndici, rawHandler } from './raw-handler.js';
import { rounds, type Waiter } from './rounds.js';
import { unwatchSocket, watchSocket } from './socket-watch.js';

/** The connections to one upstream, made with one set of settings. */
export interface Connections {
  /** Whether the head of an upload leaves, or may leave, before any of its body. */
  readonly sendsHeadsAlone: boolean;
  /** How long a request may wait until it is sent. */
  readonly queueTimeoutMs: number;
  /** Sends over any connection, an idle one first. */
  dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): void;
  /** Sends without waiting in line: over a connection that nobody has used before, or as a stream of its own. */
  dispatchFresh(options: SendOptions, handler: Dispatcher.DispatchHandler): void;
  close(): Promise<void>;
  /** How many there are, and what waits for one; not known of a dispatcher of the user's. */
  counts?(): ConnectionCounts;
}

/** The connections to an upstream; made when they are first needed. */
export function connectionsTo(upstream: Upstream, settings: ConnectionSettings): Connections {
  // What is stored under settings was stored here, by them.
  const known = upstream.connections.get(settings) as Connections | undefined;
  if (known !== undefined) return known;
  const made = settings.dispatcher
    ? borrowed(settings.dispatcher, settings)
    : ownConnections(upstream, settings);
  upstream.connections.set(settings, made);
  return made;
}

function ownConnections(upstream: Upstream, settings: ConnectionSettings): Connections {
  const http1 = new OwnConnections(upstream, settings);
  const { http2 } = settings;
  // Without TLS there is no ALPN to choose by (RFC 9113, 3.1).
  const offered = http2 === 'prior-knowledge' || (http2 && upstream.protocol === 'https:');
  return offered ? new Http2Connections(upstream, settings, http1) : http1;
}

class OwnConnections implements Connections {
  readonly sendsHeadsAlone = false;
  readonly queueTimeoutMs: number;
  readonly #upstream: Upstream;
  readonly #settings: ConnectionSettings;
  readonly #connect: buildConnector.connector;
  readonly #pool: Pool;
  #fresh: Pool | undefined = undefined;

  constructor(upstream: Upstream, settings: ConnectionSettings) {
    this.#upstream = upstream;
    this.#settings = settings;
    this.queueTimeoutMs = settings.queueTimeoutMs;
    this.#connect = connector(upstream, settings, false);
    this.#pool = this.#open(1);
  }

  dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    this.#pool.dispatch(options, rawHandler(options, handler));
  }

  dispatchFresh(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    // To undici, `pipelining: 0` is a pool that keeps no connection alive.
    this.#fresh ??= this.#open(0);
    this.#fresh.dispatch(options, rawHandler(options, handler));
  }

  counts(): ConnectionCounts {
    const pools = this.#fresh === undefined ? [this.#pool] : [this.#pool, this.#fresh];
    const counts = { open: 0, idle: 0, waiting: 0 };
    for (const { stats } of pools) {
      counts.open += stats.connected;
      counts.idle += stats.free;
      counts.waiting += stats.pending;
    }
    return counts;
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
      allowH2: false,
      // Kept by rounds, or by what each request says.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: settings.keepAliveMs,
      keepAliveMaxTimeout: settings.keepAliveMs,
      // undici refuses what is as long as this already.
      maxHeaderSize: settings.maxHeaderBytes + 1,
      factory: (origin, options) => new Connection(origin, options as Client.Options, connect),
    });
  }
}

/** One connection, which knows how its socket fared. */
class Connection extends Client implements Carrier, Line, Waiter {
  // All of the present socket.
  isReused = false;
  wasReset = false;
  minorVersion: number | undefined = 1;
  awaitsHead = false;
  hasBegun = false;
  answer: Awaited | undefined = undefined;
  place = -1;
  waiting: { resume(): void } | undefined = undefined;
  spent: { noteRead(bytes: Buffer): void } | undefined = undefined;
  readonly line: Line = this;

  #hasEnded = false;
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

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  get isDry(): boolean {
    return this.#hasEnded && this.#socket?.readableLength === 0;
  }

  noteRead(bytes: Buffer | null): void {
    if (bytes !== null) {
      this.spent?.noteRead(bytes);
      return;
    }
    this.#hasEnded = true;
    if (this.isDry) this.waiting?.resume();
  }

  look(): boolean {
    if (this.answer === undefined) return false;
    if (this.#socket !== undefined) this.answer.look(this.#socket);
    return true;
  }

  cut(reason: Error): void {
    this.#socket?.destroy(reason);
  }

  letGo(socket: Socket): void {
    this.#lost();
    unwatchSocket(socket);
  }

  override dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.connection = this;
    // Noted here, and not by who is answered: what it has carried may have been a probe.
    this.isReused = this.isOpen;
    return super.dispatch(options, handler);
  }

  #opened(socket: Socket): void {
    this.#socket = socket;
    rounds.add(this);
    socket.once('close', () => {
      // One that has been given away may close long after the next one was opened.
      if (this.#socket === socket) this.#lost();
    });
    this.isReused = false;
    this.wasReset = false;
    this.waiting = undefined;
    this.spent = undefined;
    this.#hasEnded = false;
    watchSocket(socket, this);
  }

  #lost(): void {
    this.#socket = undefined;
    rounds.remove(this);
  }
}

/** A dispatcher of the user's: theirs to configure and to close. */
function borrowed(dispatcher: AnyDispatcher, { queueTimeoutMs }: ConnectionSettings): Connections {
  const dispatch = (options: SendOptions, handler: Dispatcher.DispatchHandler): void => {
    limitByUndici(options);
    dispatcher.dispatch(options, handler);
  };
  return {
    sendsHeadsAlone: true,
    queueTimeoutMs,
    dispatch,
    dispatchFresh: dispatch,
    close: async () => {},
  };
}

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type buildConnector, type Dispatcher, errors } from 'undici';
import type { ConnectionSettings } from '../connection-settings.js';
import type { ConnectionCounts, Upstream } from '../upstreams/upstream.js';
import type { SendOptions } from './carrier.js';
import type { Connections } from './connections.js';
import { connector } from './connector.js';
import { Http2Queue } from './http2-queue.js';
import { type Http2Line, Http2Request } from './http2-request.js';
import { Http2Session, type SessionOwner } from './http2-session.js';

/**
 * The connections to an upstream that may speak HTTP/2. They are ours and not undici's, whose HTTP/2
 * sends one upload at a time and loses requests at GOAWAY: see docs/decisions/048. Where the upstream
 * chooses HTTP/1.1, or a connection is to be switched to another protocol, undici has it.
 */
export class Http2Connections implements Connections, SessionOwner, Http2Line {
  readonly queueTimeoutMs: number;
  readonly #upstream: Upstream;
  readonly #settings: ConnectionSettings;
  readonly #connect: buildConnector.connector;
  readonly #http1: Connections;
  readonly #sessions: Http2Session[] = [];
  readonly #queue = new Http2Queue();
  /** Sessions that have been opened. */
  #opened = 0;
  #connecting = false;
  #placing = false;
  #choseHttp1 = false;
  #closing: (() => void) | undefined = undefined;
  #closed: Promise<void> | undefined = undefined;

  constructor(upstream: Upstream, settings: ConnectionSettings, http1: Connections) {
    this.#upstream = upstream;
    this.#settings = settings;
    this.queueTimeoutMs = settings.queueTimeoutMs;
    this.#connect = connector(upstream, settings, true);
    this.#http1 = http1;
  }

  get sendsHeadsAlone(): boolean {
    return !this.#choseHttp1;
  }

  dispatch(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.#choseHttp1 || options.upgrade) return this.#http1.dispatch(options, handler);
    this.#line(options, handler, false);
  }

  /** Streams share a session: what must not wait in line takes any, and goes before all that waits. */
  dispatchFresh(options: SendOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.#choseHttp1 || options.upgrade) return this.#http1.dispatchFresh(options, handler);
    this.#line(options, handler, true);
  }

  counts(): ConnectionCounts {
    const { open = 0, idle = 0, waiting = 0 } = this.#http1.counts?.() ?? {};
    const sessions = this.#sessions.filter((one) => !one.isOver);
    return {
      open: open + sessions.length,
      idle: idle + sessions.filter(({ isIdle }) => isIdle).length,
      waiting: waiting + this.#queue.size,
    };
  }

  close(): Promise<void> {
    this.#closed ??= new Promise<void>((resolve) => {
      this.#closing = resolve;
      this.#endIfIdle();
    }).then(() => this.#http1.close());
    return this.#closed;
  }

  opened(session: Http2Session): void {
    session.number = ++this.#opened;
    this.#connecting = false;
  }

  freed(): void {
    // What is placed can end at once. It is placed in a loop: a call for each would fill the stack.
    if (this.#placing) return;
    this.#place();
    if (this.#queue.size > 0 && !this.#connecting) this.#grow();
    this.#endIfIdle();
  }

  leave(request: Http2Request): void {
    if (this.#queue.delete(request)) this.#endIfIdle();
  }

  closed(session: Http2Session, error: Error | undefined): void {
    this.#sessions.splice(this.#sessions.indexOf(session), 1);
    if (session.number === 0) this.#refuse(error ?? new errors.SocketError('other side closed'));
    else this.freed();
  }

  takesBack(request: Http2Request): boolean {
    request.newerThan = this.#opened;
    this.#queue.addFirst(request);
    return true;
  }

  #line(options: SendOptions, handler: Dispatcher.DispatchHandler, isFirst: boolean): void {
    const { maxHeaderBytes } = this.#settings;
    const request = new Http2Request(options, handler, this.#upstream, maxHeaderBytes, this);
    if (this.#closed !== undefined) return request.fail(new errors.ClientClosedError());
    if (isFirst) this.#queue.addFirst(request);
    else this.#queue.add(request);
    this.freed();
  }

  /** Hands on what sessions have room for. */
  #place(): void {
    this.#placing = true;
    try {
      this.#queue.place(this.#sessions);
    } finally {
      this.#placing = false;
    }
  }

  /** Opens one more session. Where there can be no more, what has waited for one takes what there is. */
  #grow(): void {
    const { length } = this.#sessions.filter((one) => !one.isEnding);
    if (length >= this.#settings.connections) {
      if (this.#queue.takeAny()) this.#place();
      return;
    }
    this.#connecting = true;
    const { hostname, host, protocol, port } = new URL(this.#upstream.origin);
    try {
      this.#connect({ hostname, host, protocol, port }, (error, socket) => {
        if (error !== null) this.#refuse(error);
        else this.#open(socket);
      });
    } catch (error) {
      this.#refuse(error as Error);
    }
  }

  #open(socket: Socket | TLSSocket): void {
    const known = this.#settings.http2 === 'prior-knowledge';
    const isTls = 'alpnProtocol' in socket;
    if (isTls && socket.alpnProtocol !== 'h2') {
      socket.destroy();
      if (known) this.#refuse(new Error('the upstream does not speak HTTP/2'));
      else this.#fallBack();
      return;
    }
    this.#sessions.push(new Http2Session(this.#upstream.origin, socket, this.#settings, this));
  }

  /** The upstream has chosen HTTP/1.1, and is taken at its word from now on. */
  #fallBack(): void {
    this.#connecting = false;
    this.#choseHttp1 = true;
    for (const { options, handler } of this.#queue.clear()) {
      options.connection = undefined;
      this.#http1.dispatch(options, handler);
    }
    this.#endIfIdle();
  }

  /** There is no new session to be had. What can wait for one of those that are there, does. */
  #refuse(error: Error): void {
    this.#connecting = false;
    if (this.#sessions.some((one) => !one.isEnding)) this.#queue.takeAny();
    else for (const request of this.#queue.clear()) request.fail(error);
    this.#place();
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#closing === undefined || this.#connecting || this.#queue.size > 0) return;
    for (const session of this.#sessions) session.close();
    if (this.#sessions.length === 0) this.#closing();
  }
}

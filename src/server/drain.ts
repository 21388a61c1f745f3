import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';

/** A server that an app can be attached to. */
export type AnyServer = Server | TlsServer | Http2Server | Http2SecureServer;

/**
 * How long a connection on which nothing is in flight is kept at the end: a client that was answered a
 * moment ago has its next request on the way, and that must find somebody.
 */
const GRACE_MS = 30;
/**
 * How old a connection may be for its first request to be still on the way: clients send nothing to say
 * that they are about to, and may not send a request again that was lost on a connection of its own.
 */
const FIRST_REQUEST_MS = 500;
/** A last stream that is none: GOAWAY with it says that another one will follow (RFC 9113, 6.8). */
const NO_LAST_STREAM = 2 ** 31 - 1;

/** A connection that is open. */
interface Connection {
  /** The answers that are to come. An array: a `Set` that gains and loses one for each request keeps dead ones alive. */
  readonly answers: ServerResponse[];
  /** Until when its first request is awaited. No longer once that has come. */
  newUntil: number;
  /** The answer that was told to say that the connection closes. */
  last: ServerResponse | undefined;
  /** Whether it is somebody else's by now, a WebSocket served in this process for example. */
  isElsewhere: boolean;
}

/**
 * Knows what is in flight on each connection of a server. Node's own `closeIdleConnections()` takes a
 * connection for busy on which nothing, or half a request, has come; such a one would never end. And
 * of a connection that was upgraded, Node no longer knows.
 */
export class Drain {
  readonly #connections = new Map<Socket, Connection>();
  /** Below TLS and HTTP/2: what has been accepted, and is there until the other side has agreed that it ends. */
  readonly #accepted = new Set<Socket>();
  /** Of those, the ones that have yet to agree on keys, by the other end's address. */
  readonly #handshakes = new Map<string, Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #server: AnyServer;
  readonly #event: 'connection' | 'secureConnection';
  readonly #onAnswerClosed: (this: ServerResponse) => void;
  #closing = false;
  #timer: NodeJS.Timeout | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;

  constructor(server: AnyServer) {
    this.#server = server;
    const settle = (res: ServerResponse): void => this.#settle(res);
    this.#onAnswerClosed = function () {
      settle(this);
    };
    this.#event = 'setSecureContext' in server ? 'secureConnection' : 'connection';
    const events = server as Server;
    events.on('connection', this.#onAccept);
    events.on(this.#event, this.#onConnection);
    events.on('session', this.#onSession);
    // Before the app, which may answer at once.
    events.prependListener('request', this.onRequest);
  }

  /**
   * Closes what is idle in a moment, the rest as it becomes so, and what is left after `drainMs` all
   * the same. Resolves when nothing is left.
   */
  begin(drainMs: number): Promise<void> {
    this.#closing = true;
    for (const [socket, connection] of this.#connections) {
      announce(connection);
      this.#closeSoon(socket, connection);
    }
    for (const [end, socket] of this.#handshakes) this.#giveUpSoon(end, socket);
    for (const session of this.#sessions) this.#endSoon(session);
    if (this.#isEmpty) return Promise.resolve();
    this.#timer = setTimeout(() => this.#cut(), drainMs);
    this.#timer.unref();
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /** Stops listening to the server. */
  end(): void {
    clearTimeout(this.#timer);
    const events = this.#server as Server;
    events.off('connection', this.#onAccept);
    events.off(this.#event, this.#onConnection);
    events.off('session', this.#onSession);
    events.off('request', this.onRequest);
  }

  /** Counts an answer that is to come. */
  readonly onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    // Sessions of HTTP/2 know by themselves which streams are under way.
    if ('stream' in req) return;
    const { socket } = req;
    // It may have connected before anybody listened.
    if (!this.#connections.has(socket)) this.#onConnection(socket);
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    connection.newUntil = 0;
    connection.answers.push(res);
    if (this.#closing) announce(connection);
    res.on('close', this.#onAnswerClosed);
  };

  /** Somebody else takes a connection, and what is in flight on it is not for us to know: it has until the end. */
  leave(socket: Socket): void {
    const connection = this.#connections.get(socket);
    if (connection !== undefined) connection.isElsewhere = true;
  }

  get #isEmpty(): boolean {
    return this.#accepted.size + this.#connections.size + this.#sessions.size === 0;
  }

  readonly #onAccept = (socket: Socket): void => {
    this.#accepted.add(socket);
    const end = this.#event === 'secureConnection' ? otherEnd(socket) : undefined;
    if (end !== undefined) this.#handshakes.set(end, socket);
    socket.once('close', () => {
      this.#accepted.delete(socket);
      if (end !== undefined && this.#handshakes.get(end) === socket) this.#handshakes.delete(end);
      if (this.#isEmpty) this.#onEmpty?.();
    });
    if (this.#closing && end !== undefined) this.#giveUpSoon(end, socket);
  };

  readonly #onConnection = (socket: Socket & { alpnProtocol?: unknown }): void => {
    if (this.#handshakes.size > 0) this.#handshakes.delete(otherEnd(socket) ?? '');
    const isSession = socket.alpnProtocol === 'h2' || isClearHttp2(this.#server);
    if (isSession) return;
    const newUntil = performance.now() + FIRST_REQUEST_MS;
    const connection: Connection = { answers: [], newUntil, last: undefined, isElsewhere: false };
    this.#connections.set(socket, connection);
    socket.once('close', () => {
      this.#connections.delete(socket);
      if (this.#isEmpty) this.#onEmpty?.();
    });
    if (this.#closing) this.#closeSoon(socket, connection);
  };

  readonly #onSession = (session: ServerHttp2Session): void => {
    this.#sessions.add(session);
    session.once('close', () => {
      this.#sessions.delete(session);
      if (this.#isEmpty) this.#onEmpty?.();
    });
    if (this.#closing) this.#endSoon(session);
  };

  #settle(res: ServerResponse): void {
    const { socket } = res.req;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    const { answers } = connection;
    const place = answers.indexOf(res);
    if (place !== -1) answers.splice(place, 1);
    if (!this.#closing || answers.length > 0) return;
    // Nobody has told the client when the head was out before, and it may go on.
    if (res.shouldKeepAlive && res.writableFinished) this.#closeSoon(socket, connection);
    else socket.destroySoon();
  }

  #closeSoon(socket: Socket, connection: Connection): void {
    afterGrace(socket, Math.max(GRACE_MS, connection.newUntil - performance.now()), () => {
      if (connection.answers.length === 0 && !connection.isElsewhere) socket.destroySoon();
    });
  }

  /** Whoever has not agreed on keys by now is not about to send a request. */
  #giveUpSoon(end: string, socket: Socket): void {
    afterGrace(socket, FIRST_REQUEST_MS, () => {
      if (this.#handshakes.get(end) === socket) socket.destroy();
    });
  }

  /** The first GOAWAY tells the client to go elsewhere, the second what it has to send again there. */
  #endSoon(session: ServerHttp2Session): void {
    if (session.closed || session.destroyed) return;
    session.goaway(0, NO_LAST_STREAM);
    afterGrace(session, GRACE_MS, () => session.close());
  }

  #cut(): void {
    for (const socket of this.#connections.keys()) socket.destroy();
    for (const session of this.#sessions) session.destroy();
    // A session that has been asked to close waits for the other side, which may have stopped reading.
    for (const socket of this.#accepted) socket.destroy();
  }
}

/** Whether all connections of a server are sessions of HTTP/2, which knows no TLS. */
function isClearHttp2(server: AnyServer): boolean {
  return 'updateSettings' in server && !('setSecureContext' in server);
}

/** Calls back when the moment has passed, and what had come by then has been read. */
function afterGrace(ended: Socket | ServerHttp2Session, graceMs: number, then: () => void): void {
  const timer = setTimeout(() => setImmediate(then), graceMs);
  timer.unref();
  (ended as Socket).once('close', () => clearTimeout(timer));
}

/** The address of the other end, by which a socket and TLS on it are known as one; pipes have none. */
function otherEnd({ remoteAddress, remotePort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}

/** Has the last answer say `Connection: close`, where there is still time to: it ends what is behind it. */
function announce(connection: Connection): void {
  const { answers, last } = connection;
  const next = answers[answers.length - 1];
  if (next === undefined || next.headersSent || next === last) return;
  if (last !== undefined && !last.headersSent) last.shouldKeepAlive = true;
  if (!next.shouldKeepAlive) return;
  next.shouldKeepAlive = false;
  connection.last = next;
}

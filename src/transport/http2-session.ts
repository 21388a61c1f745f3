import { type ClientHttp2Session, connect } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { errors } from 'undici';
import type { ConnectionSettings } from '../connection-settings.js';
import { Deadline } from '../deadline.js';
import type { Http2Request, Http2Sender } from './http2-request.js';

/** Streams on one connection, where the upstream would take more. */
const MAX_STREAMS = 100;
/** What an upstream may send ahead, on one stream and on all of a connection. */
const STREAM_WINDOW_BYTES = 262_144;
const SESSION_WINDOW_BYTES = 1_048_576;
/** Most fields that Node reads; how many are too many, the transport decides. */
const MAX_FIELDS = 1_000;
/** How long the upstream has to close its side of a connection that is over. */
const PARTING_MS = 1_000;
/** HTTP/2 numbers streams, and has only so many numbers. */
const MAX_SERVED = 2 ** 29;

/** Who opened a session, and is told of it. */
export interface SessionOwner {
  /** The upstream lets streams be opened. */
  opened(session: Http2Session): void;
  /** A stream has ended, and there may be room for another. */
  freed(): void;
  /** The session is over; with an error when it did not end in good order. */
  closed(session: Http2Session, error: Error | undefined): void;
  /** Whether a request that a session could not bring through is sent over another. */
  takesBack(request: Http2Request): boolean;
}

/** One HTTP/2 connection to an upstream, and the streams on it. */
export class Http2Session implements Http2Sender {
  /** Which one it is, counted from 1; 0 until it is open. */
  number = 0;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #settings: ConnectionSettings;
  readonly #owner: SessionOwner;
  #limit = 0;
  #streams = 0;
  #served = 0;
  #idle: NodeJS.Timeout | undefined = undefined;
  #parting: NodeJS.Timeout | undefined = undefined;
  #error: Error | undefined = undefined;

  constructor(
    origin: string,
    socket: Socket | TLSSocket,
    settings: ConnectionSettings,
    owner: SessionOwner,
  ) {
    this.#socket = socket;
    this.#settings = settings;
    this.#owner = owner;
    this.#session = connect(origin, {
      createConnection: () => socket,
      maxHeaderListPairs: MAX_FIELDS,
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        // HTTP/2 counts 32 bytes more for each field; what counts here, the request counts itself.
        maxHeaderListSize: settings.maxHeaderBytes + 32 * MAX_FIELDS,
      },
    });
    this.#listen(this.#session);
  }

  /** How many more streams it can take. */
  get room(): number {
    return this.isEnding ? 0 : this.#limit - this.#streams;
  }

  /** Whether it carries nothing. */
  get isIdle(): boolean {
    return this.#streams === 0;
  }

  /** Whether all that is left of it is to wait for the upstream to close as well. */
  get isOver(): boolean {
    return this.isEnding && this.isIdle;
  }

  /** Whether it takes no streams any more. */
  get isEnding(): boolean {
    return this.#session.closed || this.#session.destroyed || this.#served >= MAX_SERVED;
  }

  send(request: Http2Request): void {
    this.#streams++;
    this.#served++;
    clearTimeout(this.#idle);
    this.#session.ref();
    if (!request.send(this.#session, this)) this.ended(false);
  }

  ended(slow: boolean): void {
    this.#streams--;
    // A connection that has died without a word looks just like this, and would hold up everything.
    if (slow || this.#served >= MAX_SERVED) this.close();
    else if (this.#streams === 0) this.#rest();
    this.#part();
    this.#owner.freed();
  }

  takesBack(request: Http2Request, lost: boolean): boolean {
    if (request.tries > 1 || !request.isUntouched) return false;
    // A connection that was in use before has died under it: see mayGoAgain().
    const died = this.#session.destroyed && this.#served > 1 && request.options.replayable;
    return (!lost || died) && this.#owner.takesBack(request);
  }

  /** Takes no new streams, and ends with the last of those under way. */
  close(): void {
    clearTimeout(this.#idle);
    if (!this.#session.destroyed) this.#session.close();
    this.#part();
  }

  /** Node waits for the other side to close as well, for as long as that takes. */
  #part(): void {
    if (!this.isOver || this.#socket.destroyed || this.#parting !== undefined) return;
    this.#session.unref();
    this.#parting = setTimeout(() => this.#socket.destroy(), PARTING_MS);
    this.#parting.unref();
  }

  #listen(session: ClientHttp2Session): void {
    session.once('connect', () => session.setLocalWindowSize(SESSION_WINDOW_BYTES));
    const deadline = new Deadline(this.#settings.connectTimeoutMs, () => {
      session.destroy(new errors.ConnectTimeoutError('no stream may be opened'));
    });
    session.on('remoteSettings', ({ maxConcurrentStreams = MAX_STREAMS }) => {
      this.#limit = Math.min(maxConcurrentStreams, MAX_STREAMS);
      // One that takes no streams yet is not open: others beside it would take no more.
      if (this.number === 0 && this.#limit > 0) {
        deadline.end();
        this.#owner.opened(this);
        this.#rest();
      }
      this.#owner.freed();
    });
    session.on('error', (error: Error) => {
      this.#error = error;
    });
    session.once('close', () => {
      deadline.end();
      clearTimeout(this.#idle);
      clearTimeout(this.#parting);
      this.#owner.closed(this, this.#error);
    });
  }

  /** Nothing is under way: it is kept for a while, and keeps no process alive. */
  #rest(): void {
    if (this.#streams > 0 || this.#session.destroyed) return;
    this.#session.unref();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), this.#settings.keepAliveMs);
    this.#idle.unref();
  }
}

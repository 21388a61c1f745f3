import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { SocketWatcher } from './socket-watch.js';

/** How long an answer may keep waiting. */
export interface Limits {
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
}

/** What a try says to undici; `connection` is noted by the connection that takes it. */
export interface SendOptions extends Dispatcher.DispatchOptions {
  /** How long its answer may keep waiting, whoever sees to that. */
  limits: Limits;
  /** The name that TLS asks for; undici takes it, though its types do not say so. */
  servername: string | undefined;
  /** Whether sending it twice does no more than sending it once, and can be done. */
  replayable: boolean;
  /** The connection that took it; `undefined` before that, and with a dispatcher of the user's. */
  connection: Carrier | undefined;
}

/** What carries a request, as far as the response has to know of it. */
export interface Carrier extends SocketWatcher {
  /** Whether it was open before it was given the request, which it may close under. */
  readonly isReused: boolean;
  /** Whether it is connected: what fails then fails with that, and not while connecting. */
  readonly isOpen: boolean;
  /** Itself, where all that it reads meanwhile is of this one response. */
  readonly line: Line | undefined;
  /** Ends the connection under the request that it carries. */
  cut(reason: Error): void;
  /** What it carries, and has to end when that takes too long. */
  answer?: Awaited | undefined;
  /** Takes the request out of the line in which it waits, if there is one that it can leave. */
  leave?(reason: Error): void;
  /** Gives its socket away, which has switched to another protocol. */
  letGo?(socket: Socket): void;
}

/** Whether a request waits for a connection that others are using. */
export function isInLine({ connection }: SendOptions): boolean {
  return connection === undefined || (connection.leave !== undefined && !connection.isOpen);
}

/** An answer that is waited for, or is on its way. */
export interface Awaited {
  /** Ends it, and its socket, when it has taken too long. */
  look(socket: Socket): void;
}

/** A connection that carries one response at a time. */
export interface Line {
  /** Whether nothing more can come than what has been read. */
  readonly isDry: boolean;
  /** The body that has undici wait: an end that finds it waiting breaks the process (nodejs/undici#5360). */
  waiting: { resume(): void } | undefined;
  /** Told of what is read. */
  spent: { noteRead(bytes: Buffer): void } | undefined;
}

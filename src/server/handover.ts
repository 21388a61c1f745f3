import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { ClientEnd } from '../exchange/client-end.js';
import { ignore } from '../ignore.js';

/** How much of what a client sends behind a refused request is read, and how long: it must see the answer. */
const LINGER_BYTES = 1_048_576;
const LINGER_MS = 2_000;

/** Node keeps the answer that is being written on the socket. */
export interface ServedSocket extends Socket {
  _httpMessage?: ServerResponse | null;
}

/**
 * An answer on a connection that Node has let go of, as it does before it emits `upgrade` or `connect`.
 * Whatever Node would do for any other answer has to be done here.
 */
export class Handover implements ClientEnd {
  readonly res: ServerResponse;
  readonly #req: IncomingMessage;
  readonly #socket: Socket;
  readonly #onEnd = (): void => this.#leave();
  readonly #onTimeout = (): void => this.#stall();

  constructor(req: IncomingMessage, socket: Socket) {
    this.#req = req;
    this.#socket = socket;
    const res = new ServerResponse(req);
    this.res = res;
    res.shouldKeepAlive = false;
    res.assignSocket(socket);
    // Node clears its own flag in a listener that it has taken off by now.
    Object.defineProperty(res, 'writableNeedDrain', { get: () => socket.writableNeedDrain });
    res.on('finish', () => this.#finish());
    socket.on('end', this.#onEnd);
    socket.on('timeout', this.#onTimeout);
    // Only who reads is told that the other side has left. What comes waits in the socket's buffer.
    socket.read(0);
  }

  take(): Socket | undefined {
    if (this.#socket.destroyed) return undefined;
    this.#letGo();
    return this.#socket;
  }

  #letGo(): void {
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('timeout', this.#onTimeout);
  }

  /** What `res.setTimeout()` has asked for. Whoever hears of it says what becomes of the connection. */
  #stall(): void {
    if (!this.res.emit('timeout', this.#socket)) this.#socket.destroy();
  }

  /** As with any other request, a client that ends its side before it has an answer wants none. */
  #leave(): void {
    this.#socket.destroy();
  }

  #finish(): void {
    const { res } = this;
    this.#letGo();
    res.detachSocket(this.#socket);
    this.#req.resume();
    process.nextTick(() => {
      res.destroyed = true;
      res.emit('close');
    });
    closeGently(this.#socket);
  }
}

/** Answers a request that no app is to see, and closes. */
export function refuse(socket: Socket, status: number): void {
  const text = `${STATUS_CODES[status]}\n`;
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n` +
      `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  closeGently(socket);
}

/**
 * Takes a connection over from Node: from here on nobody else hears of its errors. Calls back when the
 * answers to earlier requests of a pipeline have been written.
 */
export function takeOver(socket: Socket, head: Buffer, free: () => void): void {
  socket.on('error', ignore);
  socket.on('drain', tellAnswer);
  if (head.length > 0) socket.unshift(head);
  whenFree(socket, free);
}

function whenFree(socket: ServedSocket, free: () => void): void {
  const before = socket._httpMessage;
  if (before) before.once('close', () => whenFree(socket, free));
  else if (!socket.destroyed && socket.writable) free();
}

function tellAnswer(this: ServedSocket): void {
  this._httpMessage?.emit('drain');
}

/**
 * Ends a connection behind an answer. A socket that is closed with bytes unread is reset, and a reset
 * takes the answer with it: so what still comes is read and dropped, within bounds.
 */
function closeGently(socket: Socket): void {
  let left = LINGER_BYTES;
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    // A reset now could overtake the answer.
    if (left < 0) socket.pause();
  });
  socket.end();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

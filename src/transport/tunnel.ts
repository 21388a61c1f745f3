import type { Socket } from 'node:net';
import { ResetError } from '../exchange/errors.js';
import type { Exchange, InFlight } from '../exchange/exchange.js';
import { ignore } from '../ignore.js';
import type { Upstream } from '../upstreams/upstream.js';
import { flushHead } from './flush-head.js';
import { giveBackRead } from './spent-memory.js';

/** How long a side may keep the last bytes waiting when the other one has gone. */
const LAST_BYTES_MS = 30_000;
/** How long a connection is silent before it is asked whether its peer is still there. */
const KEEP_ALIVE_MS = 60_000;

/** The far end of a tunnel. */
export interface FarEnd {
  /**
   * A connected socket that nobody else reads, writes or listens to. Bytes that came early are put
   * back with `socket.unshift()` before.
   */
  readonly socket: Socket;
  /** Where it leads, if that is an upstream: its counters go up with the bytes. */
  readonly upstream?: Upstream | undefined;
  /** Ends the tunnel when nothing has gone either way for so long. No limit by default. */
  readonly idleMs?: number | undefined;
  /**
   * How long this one or the client may keep the last bytes waiting when the other has gone; for tests.
   *
   * @default 30_000
   */
  readonly lastBytesMs?: number | undefined;
}

/**
 * Joins the client's connection and another one, byte for byte, until both have ended. Call it when the
 * head (101, or 200 for CONNECT: see {@link writeConnected}) has been written to `exchange.res`, and
 * while `exchange.open`.
 *
 * An end of either side is passed on and leaves the other direction open. When a side breaks or closes,
 * the other one ends as soon as it has what was on its way. Then `res` closes, and `exchange.outcome` is
 * `upgraded`, with the bytes each way. `exchange.inFlight.abandon()` ends it before.
 */
export function openTunnel(exchange: Exchange, far: FarEnd): void {
  const client = exchange.clientEnd?.take();
  if (client === undefined) {
    far.socket.destroy();
    return;
  }
  exchange.isTunnel = true;
  exchange.watch();
  exchange.inFlight = new Tunnel(exchange, client, far);
}

/** Keeps a socket that waits for its tunnel: it must neither end by itself nor break the process. */
export function holdSocket(socket: Socket): void {
  socket.allowHalfOpen = true;
  socket.on('error', ignore);
}

/** Writes the head that says to a client that its CONNECT has succeeded; fields set on `res` go with it. */
export function writeConnected({ res }: Exchange): void {
  // RFC 9110, 9.3.6: no framing. Node leaves out of its own accord what has been removed once.
  for (const name of ['Connection', 'Content-Length', 'Transfer-Encoding']) res.removeHeader(name);
  res.writeHead(200, 'Connection established');
  flushHead(res);
}

const TUNNEL = Symbol('tunnel');

/** One of the two sockets. The listeners find their tunnel on it: closures would cost more than the rest. */
interface End extends Socket {
  [TUNNEL]: Tunnel;
}

class Tunnel implements InFlight {
  readonly #exchange: Exchange;
  readonly #client: End;
  readonly #far: End;
  readonly #upstream: Upstream | undefined;
  readonly #lastBytesMs: number;
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(exchange: Exchange, client: Socket, far: FarEnd) {
    const { socket, upstream, idleMs = 0, lastBytesMs = LAST_BYTES_MS } = far;
    this.#exchange = exchange;
    this.#upstream = upstream;
    this.#lastBytesMs = lastBytesMs;
    this.#client = Object.assign(client, { [TUNNEL]: this });
    this.#far = Object.assign(socket, { [TUNNEL]: this });
    // All that passes, passes through this one: its timeout is that of the tunnel.
    client.setTimeout(idleMs);
    client.on('timeout', onTimeout);
    join(this.#far);
    join(this.#client);
  }

  /** Takes a chunk across; the sender waits while the receiver is full. */
  carry(from: End, chunk: Buffer): void {
    const { length } = chunk;
    if (from === this.#client) {
      this.#exchange.bytesSent += length;
      if (this.#upstream !== undefined) this.#upstream.bytesSent += length;
    } else {
      this.#exchange.bytesReceived += length;
      if (this.#upstream !== undefined) this.#upstream.bytesReceived += length;
    }
    const to = this.other(from);
    if (!to.write(chunk, giveBackRead(chunk, from, to))) from.pause();
  }

  other(end: End): End {
    return end === this.#client ? this.#far : this.#client;
  }

  /** Notes what a side broke with: the first error is the cause, the others come of it. */
  broke(end: End, cause: Error): void {
    const exchange = this.#exchange;
    if (end === this.#far) exchange.failure ??= new ResetError({ cause, upstream: this.#upstream });
  }

  /** A side has closed: the other one gets what is on its way, and closes too. */
  closed(end: End): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const other = this.other(end);
    if (other.destroyed) return;
    other.destroySoon();
    if (other.destroyed) return;
    this.#timer = setTimeout(destroy, this.#lastBytesMs, other);
    this.#timer.unref();
  }

  abandon(): void {
    // The client has closed its connection. What it said before that is still on its way to the other side.
    if (this.#client.destroyed) return this.closed(this.#client);
    this.#far.destroy();
    this.#client.destroy();
  }
}

function join(end: End): void {
  end.allowHalfOpen = true;
  end.setNoDelay(true);
  // A peer that vanished without a word would be waited for for ever.
  end.setKeepAlive(true, KEEP_ALIVE_MS);
  end.on('drain', onDrain);
  end.on('end', onEnd);
  end.on('error', onError);
  end.on('close', onClose);
  end.on('data', onData);
  if (end.destroyed) onClose.call(end);
  else if (end.readableEnded) onEnd.call(end);
  else end.resume();
}

function onData(this: End, chunk: Buffer): void {
  this[TUNNEL].carry(this, chunk);
}

function onDrain(this: End): void {
  this[TUNNEL].other(this).resume();
}

function onEnd(this: End): void {
  this[TUNNEL].other(this).end();
}

function onError(this: End, error: Error): void {
  this[TUNNEL].broke(this, error);
}

function onClose(this: End): void {
  this[TUNNEL].closed(this);
}

function onTimeout(this: End): void {
  this[TUNNEL].abandon();
}

function destroy(socket: Socket): void {
  socket.destroy();
}

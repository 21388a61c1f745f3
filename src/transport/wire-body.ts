import { AsyncResource } from 'node:async_hooks';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Deadline } from '../deadline.js';
import type { ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { UpstreamResponse, WriteHead } from '../exchange/upstream-response.js';
import { emptyList } from '../lists.js';
import { addTrailers, endFailed, flushCompressed, sendWhole, unsent } from './answer.js';
import { breakOff } from './break-off.js';
import type { Line } from './carrier.js';
import { flushHead } from './flush-head.js';
import { lingerOnUpload } from './linger.js';
import { SpentMemory } from './spent-memory.js';

/** Bytes held before anybody asks for them; then the upstream waits. */
const HOLD_BYTES = 65_536;
/** Bytes waiting for the client; then the upstream waits. */
const SEND_AHEAD_BYTES = 262_144;

/** Who takes the body: nobody yet, an edit, the client, or nobody any more. */
type Reader = Readable | ServerResponse | 'nobody' | 'drain';

/** The try that a body belongs to. */
export interface BodyOwner {
  /** The client has not read for as long as a body may stand still. */
  stalled(): void;
}

/**
 * A body on its way from undici to whoever takes it. Until somebody does, it is held, within bounds;
 * that lets a small one leave in one write with its head.
 */
export class WireBody {
  /** Bytes that have come. */
  received = 0;
  readonly #exchange: Exchange;
  readonly #timeoutMs: number;
  readonly #owner: BodyOwner;
  #controller: Dispatcher.DispatchController | undefined = undefined;
  #line: Line | undefined = undefined;
  #spent: SpentMemory | undefined = undefined;
  #reader: Reader = 'nobody';
  /** The request's own asynchronous context, for listeners of its reader: undici's is of whoever connected. */
  #context: AsyncResource | undefined = undefined;
  readonly #held: Buffer[] = emptyList();
  #whole = false;
  #trailers: [string, string][] | undefined = undefined;
  #paused = false;
  #waited = false;
  #stall: Deadline | undefined = undefined;

  constructor(exchange: Exchange, timeoutMs: number, owner: BodyOwner) {
    this.#exchange = exchange;
    this.#timeoutMs = timeoutMs;
    this.#owner = owner;
  }

  /** Takes what the body is paused and resumed by, and its connection, where that has nothing else to carry. */
  begin(controller: Dispatcher.DispatchController, line: Line | undefined): void {
    this.#controller = controller;
    this.#line = line;
  }

  take(chunk: Buffer): void {
    // undici flushes its parser with nothing when a body goes on.
    if (chunk.length === 0) return;
    this.received += chunk.length;
    this.#exchange.bytesReceived += chunk.length;
    const reader = this.#reader;
    if (reader === 'drain') return;
    if (reader === 'nobody') {
      this.#held.push(chunk);
      if (this.received > HOLD_BYTES) this.#pause();
    } else {
      this.#context?.runInAsyncScope(this.#hand, this, reader, chunk);
    }
  }

  #hand(reader: Readable | ServerResponse, chunk: Buffer): void {
    if (reader instanceof Readable) {
      if (!reader.push(chunk)) this.#pause();
    } else {
      const full = !this.#send(reader, chunk) && Object.hasOwn(reader, 'write');
      flushCompressed(reader);
      // Middleware that has put its own `write` there, as compression() does, keeps a queue of its own.
      if (full || reader.writableLength > SEND_AHEAD_BYTES) this.#waitForClient(reader);
    }
  }

  /** All of it has come. */
  finish(trailers?: [string, string][]): void {
    this.#whole = true;
    this.#trailers = trailers;
    this.#letGo();
    this.#context?.runInAsyncScope(this.#tellEnd, this, undefined);
  }

  #tellEnd(error: ProxyError | undefined): void {
    const reader = this.#reader;
    if (typeof reader === 'string') return;
    if (reader instanceof Readable) {
      if (error === undefined) reader.push(null);
      else reader.destroy(error);
    } else if (error === undefined) {
      this.#end(reader);
    } else {
      this.#exchange.settle('failed', error);
      breakOff(reader);
    }
  }

  /** No more of it comes. */
  breakOff(error: ProxyError): void {
    this.#letGo();
    this.#context?.runInAsyncScope(this.#tellEnd, this, error);
  }

  /** Whoever takes it wants more. */
  resume(): void {
    this.#stopWaiting();
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#line !== undefined) this.#line.waiting = undefined;
    this.#controller?.resume();
  }

  /** Lets the rest go by. */
  drain(): void {
    this.#held.length = 0;
    this.#reader = 'drain';
    this.resume();
  }

  /** Sends head and body to the client; `length` is that of the body, where the head has told it. */
  relayTo(
    res: ServerResponse,
    response: UpstreamResponse,
    writeHead: WriteHead,
    length: number | undefined,
  ): void {
    const held = this.#held.splice(0);
    if (this.#whole) {
      writeHead(res, response, this.#trailers === undefined ? this.received : undefined);
      for (let i = 0; i < held.length - 1; i++) res.write(held[i] as Buffer);
      if (this.#trailers !== undefined) addTrailers(res, this.#trailers);
      sendWhole(this.#exchange, held[held.length - 1]);
      return;
    }
    writeHead(res, response, length);
    if (held.length === 0) flushHead(res);
    if (this.#line !== undefined) {
      this.#spent = SpentMemory.of(res);
      this.#line.spent = this.#spent;
    }
    for (const chunk of held) this.#send(res, chunk);
    if (held.length > 0) flushCompressed(res);
    this.#handOver(res);
    this.resume();
  }

  /** The body as a stream; `release` is called when its reader has had enough. */
  stream(release: () => void, failure: ProxyError | undefined): Readable {
    const readable = new Readable({
      read: () => this.resume(),
      destroy: (error, done) => {
        release();
        done(error);
      },
    });
    for (const chunk of this.#held.splice(0)) readable.push(chunk);
    if (failure !== undefined) readable.destroy(failure);
    else if (this.#whole) readable.push(null);
    else this.#handOver(readable);
    return readable;
  }

  #handOver(reader: Readable | ServerResponse): void {
    this.#reader = reader;
    this.#context = new AsyncResource('HeadraceBody');
  }

  /** Whether there is room for more. */
  #send(res: ServerResponse, chunk: Buffer): boolean {
    const spent = this.#spent?.before(chunk);
    return (spent === undefined ? res.write(chunk) : res.write(chunk, spent)) !== false;
  }

  #end(res: ServerResponse): void {
    try {
      if (this.#trailers !== undefined) addTrailers(res, this.#trailers);
      res.end();
    } catch (error) {
      return endFailed(this.#exchange, error);
    }
    lingerOnUpload(res.req, res);
    // What is left in our own buffers must not wait for ever either.
    unsent.add(this.#exchange, this.#context);
  }

  #pause(): void {
    // What there is has come: there is nothing to wait for.
    if (this.#line?.isDry) return;
    this.#paused = true;
    if (this.#line !== undefined) this.#line.waiting = this;
    this.#controller?.pause();
  }

  #waitForClient(res: ServerResponse): void {
    this.#pause();
    if (!this.#paused) return;
    if (!this.#waited) {
      this.#waited = true;
      // Not by `this`: compression() puts the listener on a stream of its own.
      res.on('drain', () => this.resume());
    }
    this.#stall ??= new Deadline(this.#timeoutMs, () => this.#owner.stalled());
  }

  /** Its connection carries something else from here on, or nothing any more. */
  #letGo(): void {
    this.#stopWaiting();
    if (this.#line !== undefined) this.#line.spent = undefined;
  }

  #stopWaiting(): void {
    if (this.#stall === undefined) return;
    this.#stall.end();
    this.#stall = undefined;
  }
}

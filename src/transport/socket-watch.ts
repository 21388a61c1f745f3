import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { noteWritten } from './spent-memory.js';

/** What is to be known of a connection's socket beyond what undici tells. */
export interface SocketWatcher {
  /** Set when the socket ends with a reset, where undici may report a clean end. */
  wasReset: boolean;
  /** Of the response's version, which undici does not tell; `undefined` when it is no HTTP/1 at all. */
  minorVersion: number | undefined;
  /** Told of what was read before undici is, and with null of the end. */
  noteRead?(bytes: Buffer | null): void;
  /** Set by the transport when a request has gone out, cleared here at the first bytes after it. */
  awaitsHead: boolean;
  /** Set at the first bytes behind a request, whatever they are. */
  hasBegun: boolean;
}

/** How long a connection whose sending side broke may still say why. */
const LAST_WORDS_MS = 1_000;

const HEAD_END = Buffer.from('\r\n\r\n');

/** How many unasked `100 Continue` are skipped before one response. */
const MAX_SKIPPED = 8;

/** How much of an interim response is held until it is whole. */
const MAX_HELD_BYTES = 16_384;

/**
 * Stands between a socket and undici for what undici 7, and mostly 8, get wrong for a proxy and
 * give no hook for: see each function.
 */
export function watchSocket(socket: Socket, watcher: SocketWatcher): void {
  const watched: WatchedSocket = Object.assign(socket, { [WATCHER]: watcher });
  watched.prependListener('error', noteReset);
  inspectHeads(watched, watcher);
  followWrites(watched);
}

/** Leaves a socket as it was: it no longer speaks HTTP, and its connection may have got another one. */
export function unwatchSocket(socket: Socket): void {
  socket.off('error', noteReset);
  const own: { push?: unknown; _write?: unknown; _writev?: unknown } = socket;
  delete own.push;
  delete own._write;
  delete own._writev;
}

const WATCHER = Symbol('watcher');

type WatchedSocket = Socket & { [WATCHER]: SocketWatcher };

/** A body that ends with the connection looks whole to undici when a reset cut it. */
function noteReset(this: WatchedSocket): void {
  this[WATCHER].wasReset = true;
}

/**
 * Looks at the head of each response for its version, and skips `100 Continue` that nobody asked for:
 * RFC 9110, 15.2 lets a client ignore it, undici breaks the connection.
 */
function inspectHeads(socket: Socket, watcher: SocketWatcher): void {
  const push = socket.push;
  let early: Buffer | undefined;
  let skipped = 0;
  socket.push = function pushInspected(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    watcher.noteRead?.(chunk);
    if (!watcher.awaitsHead) return push.call(this, chunk, encoding);
    if (chunk === null) {
      if (early !== undefined) push.call(this, early);
      return push.call(this, null);
    }
    watcher.hasBegun = true;
    let bytes = early === undefined ? chunk : Buffer.concat([early, chunk]);
    early = undefined;
    while (isInterim(bytes)) {
      const end = bytes.indexOf(HEAD_END) + HEAD_END.length;
      if (end < HEAD_END.length) break;
      if (!isContinue(bytes) || ++skipped > MAX_SKIPPED) push.call(this, bytes.subarray(0, end));
      bytes = bytes.subarray(end);
    }
    if (mayBeginHead(bytes) || (isInterim(bytes) && bytes.length < MAX_HELD_BYTES)) {
      if (bytes.length > 0) early = bytes;
      return true;
    }
    skipped = 0;
    watcher.awaitsHead = false;
    watcher.minorVersion = minorVersion(bytes);
    return push.call(this, bytes, encoding);
  };
}

/** In `HTTP/1.0 200 `, version and status stand in fixed places. */
const STATUS_LENGTH = 13;

const DIGIT = { zero: 0x30, one: 0x31 } as const;

/** Whether a status may yet follow. Bytes that are no HTTP are not kept waiting for more of them. */
function mayBeginHead(bytes: Buffer): boolean {
  return bytes.length < STATUS_LENGTH && 'HTTP/1.'.startsWith(bytes.toString('latin1', 0, 7));
}

function minorVersion(head: Buffer): number | undefined {
  const isHttp1 = head[0] === 0x48 && head[5] === DIGIT.one;
  return isHttp1 ? (head[7] as number) - DIGIT.zero : undefined;
}

/** Whether another head follows: 101 is the last one, and `1000` is no status. */
function isInterim(head: Buffer): boolean {
  if (head.length < STATUS_LENGTH || head[9] !== DIGIT.one) return false;
  const isSwitch = head[10] === DIGIT.zero && head[11] === DIGIT.one;
  return !isSwitch && (head[12] === 0x20 || head[12] === 0x0d);
}

function isContinue(head: Buffer): boolean {
  return head[10] === DIGIT.zero && head[11] === DIGIT.zero;
}

/**
 * Tells of what has been written. An upstream that refuses an upload answers and closes; our next write
 * then fails and Node destroys the socket with the answer still unread. So a failed write is held back
 * until the reading side has ended too, or a second has passed.
 */
function followWrites(socket: Socket): void {
  const { _write: write, _writev: writev } = socket as Socket & Writes;
  // A stream writes one thing at a time.
  let written: unknown;
  let done: WriteDone;
  const writtenOrBroken: WriteDone = (error) => {
    const what = written;
    written = undefined;
    if (!error) tellWritten(what);
    if (!error || socket.readableEnded || socket.destroyed) return done(error);
    listenOn(socket, () => done(error));
  };
  socket._write = function writeWatched(chunk, encoding, callback): void {
    written = chunk;
    done = callback;
    write.call(this, chunk, encoding, writtenOrBroken);
  };
  if (writev === undefined) return;
  socket._writev = function writevWatched(chunks, callback): void {
    written = chunks;
    done = callback;
    writev.call(this, chunks, writtenOrBroken);
  };
}

/** Of several chunks that go together, streams make a list. */
function tellWritten(written: unknown): void {
  if (!Array.isArray(written)) return noteWritten(written);
  for (const { chunk } of written as { chunk: unknown }[]) noteWritten(chunk);
}

type WriteDone = (error?: Error | null) => void;
type Writes = Pick<Writable, '_write' | '_writev'>;

function listenOn(socket: Socket, giveUp: () => void): void {
  const timer = setTimeout(giveUp, LAST_WORDS_MS);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', giveUp);
}

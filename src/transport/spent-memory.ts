import { channel } from 'node:diagnostics_channel';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

/** Below this, memory is left to the garbage collector: what is small costs it nothing. */
const WORTH_BYTES = 16_384;

/** Told by a write when its bytes have left, or why they have not. */
export type Written = (error?: Error | null) => void;

/** What Node has from 21 on; before that there is no way to give memory back. */
type Transferable = ArrayBufferLike & { transfer?(length: number): unknown };

/** Shows the chunks of bodies to whoever has subscribed, and they may keep them. */
const shown = channel('undici:request:bodyChunkReceived');
const shownUpload = channel('undici:request:bodyChunkSent');
/** Others may have put their own in its place, and may keep what goes through it. */
const { write } = ServerResponse.prototype;

/**
 * Gives memory back that one connection has read into and another one has written from. Every read takes
 * up to 64 KiB of it, outside of V8's heap. Left alone, it piles up until V8 looks through its whole heap
 * for the sake of it, and new memory has to come from the system meanwhile: that takes as long as all the rest.
 *
 * What was read at once may be several chunks of a body, and what frames them. So the memory of one read
 * is free when something of a later one has been written.
 */
export class SpentMemory {
  /** Where a read has memory for itself, which not all versions of Node give to TLS. */
  #read: ArrayBufferLike | undefined = undefined;
  #last: ArrayBufferLike | undefined = undefined;

  /** For chunks that go to this answer and to nobody else; `undefined` where others may see them. */
  static of(res: ServerResponse): SpentMemory | undefined {
    const { socket } = res;
    if (res.write !== write || shown.hasSubscribers) return undefined;
    return socket instanceof Socket && !Object.hasOwn(socket, 'write')
      ? new SpentMemory()
      : undefined;
  }

  /** Told of each read, before anybody looks into it. */
  noteRead(bytes: Buffer): void {
    this.#read = isWhole(bytes) ? bytes.buffer : undefined;
  }

  /** What the write of the next chunk is to call. */
  before({ buffer }: Buffer): Written | undefined {
    const last = this.#last;
    if (buffer === last) return undefined;
    this.#last = buffer === this.#read ? buffer : undefined;
    return last && giveBack(last);
  }
}

/** What hands on the chunks of an upload. Others may have put their own in its place, and keep what they see. */
const HANDS_ON = ['emit', 'on', 'push', 'read'] as const;
/** Chunks of uploads that nobody needs when they have been written. Weak: not every way there tells of it. */
const spendable = new WeakSet<Buffer>();

/** Whether nobody sees what comes of an upload until somebody else listens to it. */
export function isUnseen(req: IncomingMessage): boolean {
  // Over HTTP/2, several streams share what has been read.
  if (!(req instanceof IncomingMessage) || shownUpload.hasSubscribers) return false;
  if (req.listenerCount('data') + req.listenerCount('readable') > 0) return false;
  return HANDS_ON.every((name) => req[name] === IncomingMessage.prototype[name]);
}

/**
 * Has the memory of a chunk given back when a connection has written it. Node's parser has copied the chunk
 * there, so that it is nobody else's.
 */
export function spendWhenWritten(chunk: Buffer): void {
  if (isWhole(chunk)) spendable.add(chunk);
}

/** Told of what a connection to an upstream has written. */
export function noteWritten(bytes: unknown): void {
  if (!(bytes instanceof Buffer) || !spendable.delete(bytes) || shownUpload.hasSubscribers) return;
  const memory: Transferable = bytes.buffer;
  memory.transfer?.(0);
}

/** What the write of a chunk from one socket to the other is to call, where that was all of a read. */
export function giveBackRead(chunk: Buffer, from: Socket, to: Socket): Written | undefined {
  if (!isWhole(chunk)) return undefined;
  // Others may listen to the sender, and may keep what they hear.
  const isOurs = from.listenerCount('data') === 1 && to instanceof Socket;
  return isOurs ? giveBack(chunk.buffer) : undefined;
}

function isWhole({ buffer, length }: Buffer): boolean {
  return length >= WORTH_BYTES && length === buffer.byteLength;
}

function giveBack(memory: Transferable): Written | undefined {
  if (memory.transfer === undefined) return undefined;
  return (error) => {
    // Of a write that has failed, the system may still hold on to the memory.
    if (!error && memory.byteLength > 0 && !shown.hasSubscribers) memory.transfer?.(0);
  };
}

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers';
import { isHttp2 } from './answers.js';

/** Whether it is an answer's turn: those to earlier requests of its connection have left. */
export function hasTurn(res: ServerResponse): boolean {
  return isHttp2(res) || res.socket !== null;
}

/** Calls back as soon as it is. For an answer whose connection ends before, that is never. */
export function onTurn(res: ServerResponse, call: () => void): void {
  const { assignSocket } = res;
  res.assignSocket = function assignInTurn(socket: Socket): void {
    assignSocket.call(res, socket);
    call();
  };
}

/** The answers on each connection that wait for those to earlier requests of a pipeline. */
const queues = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Has an answer close with its connection while it waits behind another one: Node tells only the answer
 * that has the socket, and those behind it would never end. Costs nothing for an answer that has it already.
 */
export function closeWithConnection(res: ServerResponse): void {
  if (hasTurn(res)) return;
  const { socket } = res.req;
  let queue = queues.get(socket);
  if (queue === undefined) {
    queue = new Set();
    queues.set(socket, queue);
    socket.once('close', closeQueued);
  }
  queue.add(res);
  res.once('close', leaveQueue);
}

/** From Node 24 on, it tells them by itself, a moment after the end of the connection. */
function closeQueued(this: Socket): void {
  setImmediate(closeRest, this);
}

function closeRest(socket: Socket): void {
  for (const res of queues.get(socket) ?? []) {
    // Node itself tells those whose turn has come since, and those that have just been written.
    if (res.socket !== null || res.writableFinished) continue;
    res.destroyed = true;
    res.emit('close');
  }
}

/** A connection may live for days: it keeps nothing of what it has answered. */
function leaveQueue(this: ServerResponse): void {
  queues.get(this.req.socket)?.delete(this);
}

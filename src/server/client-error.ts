import type { Server } from 'node:http';
import type { ServedSocket } from './handover.js';
import { refuse } from './handover.js';

/** What Node's parser says, with the status that tells a client of it; 400 for all that begins like its codes. */
const STATUSES: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};
const PARSER_CODE = /^HPE_/;

/** Connections whose bytes are no HTTP any more. */
const broken = new WeakSet<ServedSocket>();

/**
 * Ends a connection behind bytes that are no HTTP, or half a request that took too long. Left alone, Node would put
 * its refusal in the place of an answer to an earlier request of that connection, or break that answer off.
 */
export function endBehindAnswers(this: Server, error: Error, socket: ServedSocket): void {
  // Whoever else listens is in charge, as without us.
  if (this.listenerCount('clientError') > 1) return;
  const status = statusOf(error);
  const leaves = socket.readableEnded || !socket.writable;
  if (status === undefined || leaves) return void socket.destroy(error);
  if (broken.has(socket)) return;
  broken.add(socket);
  endInTurn(socket, status, error);
}

function endInTurn(socket: ServedSocket, status: number, error: Error): void {
  const answer = socket._httpMessage;
  if (answer?.req.complete) {
    answer.once('close', () => endInTurn(socket, status, error));
  } else if (answer) {
    // It is this request that is broken, and its answer may have begun.
    if (!answer.headersSent) refuse(socket, status);
    socket.destroy(error);
  } else if (socket.writable) {
    refuse(socket, status);
  }
}

function statusOf(error: Error & { code?: unknown }): number | undefined {
  const code = String(error.code);
  return STATUSES[code] ?? (PARSER_CODE.test(code) ? 400 : undefined);
}

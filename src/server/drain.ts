import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';

/**
 * Knows what is in flight on each connection of a server. Node's own `closeIdleConnections()` takes a
 * connection for busy on which nothing, or half a request, has come; such a one would never end. And
 * of a connection that was upgraded, Node no longer knows.
 */
export class Drain {
  readonly #answers = new Map<Socket, Set<ServerResponse>>();
  readonly #server: Server | TlsServer;
  readonly #event: 'connection' | 'secureConnection';
  #closing = false;
  #timer: NodeJS.Timeout | undefined = undefined;
  #onEmpty: (() => void) | undefined = undefined;

  constructor(server: Server | TlsServer) {
    this.#server = server;
    this.#event = 'setSecureContext' in server ? 'secureConnection' : 'connection';
    server.on(this.#event, this.#onConnection);
    server.on('request', this.onRequest);
  }

  /**
   * Closes what is idle now, the rest as it becomes so, and what is left after `drainMs` all the same.
   * Resolves when nothing is left.
   */
  begin(drainMs: number): Promise<void> {
    this.#closing = true;
    for (const [socket, answers] of this.#answers) {
      if (answers.size === 0) socket.destroy();
      for (const res of answers) announce(res);
    }
    if (this.#answers.size === 0) return Promise.resolve();
    this.#timer = setTimeout(() => this.#cut(), drainMs);
    this.#timer.unref();
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /** Stops listening to the server. */
  end(): void {
    clearTimeout(this.#timer);
    this.#server.off(this.#event, this.#onConnection);
    this.#server.off('request', this.onRequest);
  }

  /** Counts an answer that is to come. */
  readonly onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    const { socket } = req;
    // It may have connected before anybody listened.
    if (!this.#answers.has(socket)) this.#onConnection(socket);
    this.#answers.get(socket)?.add(res);
    if (this.#closing) announce(res);
    res.on('close', () => this.#settle(socket, res));
  };

  readonly #onConnection = (socket: Socket): void => {
    this.#answers.set(socket, new Set());
    socket.once('close', () => {
      this.#answers.delete(socket);
      if (this.#answers.size === 0) this.#onEmpty?.();
    });
  };

  readonly #settle = (socket: Socket, res: ServerResponse): void => {
    const answers = this.#answers.get(socket);
    if (answers === undefined) return;
    answers.delete(res);
    if (this.#closing && answers.size === 0) socket.destroySoon();
  };

  #cut(): void {
    for (const socket of this.#answers.keys()) socket.destroy();
  }
}

/** Says `Connection: close`, where there is still time to say it. */
function announce(res: ServerResponse): void {
  if (!res.headersSent) res.shouldKeepAlive = false;
}

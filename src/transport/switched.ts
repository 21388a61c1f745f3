import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { ResetError, UpgradeError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { wasOffered } from '../exchange/upgrade-protocols.js';
import type { UpstreamResponse, WriteHead } from '../exchange/upstream-response.js';
import { flushHead } from './flush-head.js';
import type { OutgoingRequest } from './request.js';
import { type RawFields, rawValue } from './response-head.js';
import { holdSocket, openTunnel } from './tunnel.js';

/** An upstream's connection that has switched to another protocol, while its 101 is on its way. */
export class Switched {
  readonly #socket: Socket;
  readonly #protocol: string;
  #isTunnel = false;

  /**
   * Takes the socket over from undici.
   *
   * @throws UpgradeError when the upstream has switched to something else than it was asked to.
   */
  constructor(socket: Socket, { connection, upgrade, upstream }: OutgoingRequest, raw: RawFields) {
    connection?.letGo?.(socket);
    holdSocket(socket);
    this.#socket = socket;
    this.#protocol = rawValue(raw, 'upgrade');
    if (!upgrade || !wasOffered(String(upgrade), this.#protocol)) {
      throw new UpgradeError({ upstream });
    }
  }

  /** Sends the 101, and joins the two connections behind it. */
  tunnel(
    exchange: Exchange,
    response: UpstreamResponse,
    writeHead: WriteHead,
    idleMs: number | undefined,
  ): void {
    const { upstream } = response;
    const socket = this.#socket;
    if (socket.destroyed) throw new ResetError({ upstream });
    const res: ServerResponse = exchange.res;
    response.headers.set('Connection', 'Upgrade').set('Upgrade', this.#protocol);
    writeHead(res, response);
    flushHead(res);
    this.#isTunnel = true;
    openTunnel(exchange, { socket, upstream, idleMs });
  }

  /** Ends it, unless it has become a tunnel. */
  destroy(): void {
    if (!this.#isTunnel) this.#socket.destroy();
  }
}

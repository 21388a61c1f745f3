import type { ServerResponse } from 'node:http';
import type { Attempt } from '../exchange/attempt.js';
import type { BodyInit } from '../exchange/body-bytes.js';
import { ModifyResponseError, ResetError } from '../exchange/errors.js';
import type { Exchange, Next } from '../exchange/exchange.js';
import { UpstreamResponse, type WriteHead } from '../exchange/upstream-response.js';
import type { Upstream } from '../upstreams/upstream.js';
import { deliver, fail } from './deliver.js';
import type { Dialled } from './dial.js';
import { openTunnel, writeConnected } from './tunnel.js';

/**
 * Sends the answer to a CONNECT. One that somebody made up in place of a connection must not be a 2xx: to
 * the client that is an open tunnel, and what comes behind it the other end's first bytes.
 */
export function deliverConnect(
  exchange: Exchange,
  response: UpstreamResponse,
  next: Next | undefined,
): void {
  if (response instanceof ConnectResponse || response.status > 299) {
    return deliver(exchange, response, next);
  }
  response.discard();
  const cause = new Error('Only a connection answers CONNECT with 2xx');
  const { upstream } = exchange;
  fail(exchange, new ModifyResponseError({ cause, upstream }), next, { done: deliverConnect });
}

/**
 * A connection that CONNECT has brought, as a response: so limits, breakers, retries, edits and logs treat
 * it like any other. To send it is to open the tunnel.
 */
export class ConnectResponse extends UpstreamResponse {
  override readonly upstream: Upstream;
  override readonly attempt: Attempt;
  readonly #exchange: Exchange;
  readonly #dialled: Dialled;
  readonly #idleMs: number | undefined;

  constructor(exchange: Exchange, dialled: Dialled, idleMs: number | undefined) {
    super();
    this.#exchange = exchange;
    this.#dialled = dialled;
    this.#idleMs = idleMs;
    this.upstream = dialled.upstream;
    this.attempt = dialled.attempt;
    this.hasBody = false;
  }

  override get body(): BodyInit | undefined {
    return super.body;
  }

  /** A tunnel has no body that could be replaced; a refusal that an edit makes of it has. */
  override set body(body: BodyInit) {
    if (!this.#isTunnel) super.body = body;
  }

  override relayTo(res: ServerResponse, writeHead: WriteHead): void {
    const { socket, upstream } = this.#dialled;
    if (!this.#isTunnel) {
      socket.destroy();
      return super.relayTo(res, writeHead);
    }
    if (socket.destroyed) throw new ResetError({ upstream });
    for (const [name, value] of this.headers) res.appendHeader(name, value);
    writeConnected(this.#exchange);
    openTunnel(this.#exchange, { socket, upstream, idleMs: this.#idleMs });
  }

  /** RFC 9110, 9.3.6: to the client, any 2xx is a tunnel, and nothing else is. */
  get #isTunnel(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  protected override release(): void {
    this.#dialled.socket.destroy();
  }
}

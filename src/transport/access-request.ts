import type { IncomingMessage } from 'node:http';
import { clientOrigin, validHost } from '../exchange/client.js';
import type { Exchange } from '../exchange/exchange.js';
import type { Identity } from '../exchange/identity.js';
import { type RequestTrusts, trustedAddress, trustsPeer } from '../exchange/trust.js';
import { forbidden } from './forbidden.js';
import { folded } from './path-pattern.js';
import { type Reading, readingsOf } from './path-readings.js';

/** What a condition or a policy of one's own is told of a request. */
export interface AccessFacts {
  readonly req: IncomingMessage;
  readonly exchange: Exchange;
  readonly method: string;
  /**
   * The path that will be sent, decoded and without its query. Where servers could read it in several ways,
   * asking for it refuses the request.
   */
  readonly path: string;
  /** The host that the client asked for, in lower case and without a port. */
  readonly host: string | undefined;
  /** The address of the client. */
  readonly address: string | undefined;
  /** Who the client has proved to be. */
  readonly identity: Identity | undefined;
}

/** A request as rules see it. What no rule asks for is not found out. */
export class AccessRequest implements AccessFacts {
  readonly exchange: Exchange;
  readonly #trusts: RequestTrusts;
  #readings: readonly Reading[] | null | undefined = undefined;
  #folded: readonly Reading[] | undefined = undefined;

  constructor(exchange: Exchange, trusts: RequestTrusts) {
    this.exchange = exchange;
    this.#trusts = trusts;
  }

  get req(): IncomingMessage {
    return this.exchange.req;
  }

  get method(): string {
    return this.exchange.method;
  }

  get path(): string {
    const [reading, ...others] = this.readings ?? [];
    if (reading !== undefined && others.length === 0) return `/${reading.join('/')}`;
    throw forbidden('AMBIGUOUS_PATH', `${this.exchange.path} can be read in several ways`);
  }

  get host(): string | undefined {
    const { req } = this;
    const named =
      req.method === 'CONNECT'
        ? validHost(req.url)
        : clientOrigin(req, trustsPeer(req, this.#trusts)).host;
    return named?.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase();
  }

  get address(): string | undefined {
    return trustedAddress(this.req, this.#trusts);
  }

  get identity(): Identity | undefined {
    return this.exchange.identity;
  }

  /** Every way in which its path may be read; `undefined` when that cannot be told. */
  get readings(): readonly Reading[] | undefined {
    if (this.#readings === undefined) this.#readings = readingsOf(this.exchange.path) ?? null;
    return this.#readings ?? undefined;
  }

  /** The same in lower case. */
  get foldedReadings(): readonly Reading[] | undefined {
    this.#folded ??= this.readings?.map(folded);
    return this.#folded;
  }
}

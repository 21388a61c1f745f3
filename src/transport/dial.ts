import type { LookupAddress } from 'node:dns';
import { connect, type Socket } from 'node:net';
import { Deadline } from '../deadline.js';
import { type Attempt, beginAttempt } from '../exchange/attempt.js';
import {
  ClientClosedError,
  ConnectError,
  ConnectTimeoutError,
  isProxyError,
  type ProxyError,
} from '../exchange/errors.js';
import type { Exchange, InFlight } from '../exchange/exchange.js';
import { ignore } from '../ignore.js';
import type { Upstream } from '../upstreams/upstream.js';
import { lookupIn, strayed } from './pinned-lookup.js';
import type { RequestedTarget } from './requested-target.js';

/** A connection for a tunnel, and the try that has brought it. */
export interface Dialled {
  readonly socket: Socket;
  readonly upstream: Upstream;
  readonly attempt: Attempt;
}

/** Connects to a target at one of these addresses. It counts as a try at the exchange's upstream. */
export function dial(
  exchange: Exchange,
  target: RequestedTarget,
  addresses: readonly LookupAddress[],
  timeoutMs: number,
): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    const call = new Call(exchange, resolve, reject);
    call.begin(target, addresses, timeoutMs);
  });
}

class Call implements InFlight {
  readonly #exchange: Exchange;
  readonly #upstream: Upstream;
  readonly #attempt: Attempt;
  readonly #resolve: (dialled: Dialled) => void;
  readonly #reject: (error: ProxyError) => void;
  #socket: Socket | undefined = undefined;
  #deadline: Deadline | undefined = undefined;

  constructor(
    exchange: Exchange,
    resolve: (dialled: Dialled) => void,
    reject: (error: ProxyError) => void,
  ) {
    this.#exchange = exchange;
    // forwardProxy() has set it, and whoever takes it away gets the TypeError that this deserves.
    this.#upstream = exchange.upstream as Upstream;
    this.#attempt = beginAttempt(this.#upstream);
    this.#resolve = resolve;
    this.#reject = reject;
    exchange.attempts.push(this.#attempt);
    this.#upstream.requests += 1;
    exchange.inFlight = this;
  }

  begin(
    { host, port }: RequestedTarget,
    addresses: readonly LookupAddress[],
    timeoutMs: number,
  ): void {
    const lookup = lookupIn(addresses);
    const socket = connect({ host, port, lookup, allowHalfOpen: true, noDelay: true });
    this.#socket = socket;
    this.#deadline = new Deadline(timeoutMs, () => {
      socket.destroy(new ConnectTimeoutError({ upstream: this.#upstream }));
    });
    socket.once('error', this.#fail);
    socket.once('connect', () => {
      const refusal = strayed(socket, addresses);
      if (refusal !== undefined) socket.destroy(refusal);
      else this.#succeed(socket);
    });
  }

  /** The client has gone before there was anything to tell it. */
  abandon(): void {
    this.#socket?.destroy(new ClientClosedError({ upstream: this.#upstream }));
  }

  #succeed(socket: Socket): void {
    this.#end();
    // What breaks before somebody has taken it is seen when they do.
    socket.on('error', ignore);
    socket.off('error', this.#fail);
    this.#attempt.headAt = performance.now();
    this.#attempt.status = 200;
    this.#upstream.noteAnswer(200, this.#attempt.headAt - this.#attempt.startedAt);
    this.#resolve({ socket, upstream: this.#upstream, attempt: this.#attempt });
  }

  readonly #fail = (cause: Error): void => {
    this.#end();
    const upstream = this.#upstream;
    const error = isProxyError(cause) ? cause : new ConnectError({ cause, upstream });
    this.#attempt.error = error;
    upstream.noteFailure(error.code);
    this.#reject(error);
  };

  #end(): void {
    this.#deadline?.end();
    if (this.#exchange.inFlight === this) this.#exchange.inFlight = undefined;
  }
}

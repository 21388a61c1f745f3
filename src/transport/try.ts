import type { Dispatcher } from 'undici';
import { Deadline } from '../deadline.js';
import type { Attempt } from '../exchange/attempt.js';
import type { Exchange } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { isInLine } from './carrier.js';
import type { Connections } from './connections.js';
import { log, logTry } from './log.js';
import type { OutgoingRequest } from './request.js';
import type { TransportSettings } from './settings.js';

/** A call that waits for its response, over all the tries it takes. A class and no literal: see decision 92. */
export class Call {
  readonly exchange: Exchange;
  readonly settings: TransportSettings;
  readonly resolve: (response: UpstreamResponse) => void;
  readonly reject: (error: unknown) => void;

  constructor(
    exchange: Exchange,
    settings: TransportSettings,
    resolve: (response: UpstreamResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.exchange = exchange;
    this.settings = settings;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/** What is tried, and how. */
export class Try {
  readonly call: Call;
  readonly request: OutgoingRequest;
  readonly connections: Connections;
  /** Whether a connection was closed under it before: this time, it gets one of its own. */
  readonly again: boolean;
  #wait: Deadline | undefined = undefined;

  constructor(call: Call, request: OutgoingRequest, connections: Connections, again = false) {
    this.call = call;
    this.request = request;
    this.connections = connections;
    this.again = again;
  }

  get exchange(): Exchange {
    return this.call.exchange;
  }

  get settings(): TransportSettings {
    return this.call.settings;
  }

  /** Hands the request to undici, or to what stands in its place; whether it has to wait in a line. */
  dispatch(handler: Dispatcher.DispatchHandler): boolean {
    const { connections, request, again } = this;
    if (log.enabled) logTry(request, '→');
    if (again) connections.dispatchFresh(request, handler);
    else connections.dispatch(request, handler);
    return isInLine(request);
  }

  /** Calls back when it has waited for too long to be sent. */
  limitWait(over: () => void): void {
    this.#wait = new Deadline(this.connections.queueTimeoutMs, over);
  }

  /** It does not wait any more. */
  endWait(): void {
    this.#wait?.end();
  }

  /** The same once more, on a connection of its own. */
  anew(): Try {
    const request = { ...this.request, connection: undefined };
    return new Try(this.call, request, this.connections, true);
  }
}

/** Notes that a request begins to leave. Of a body in one piece, only what is kept can be sent again now. */
export function noteSent(one: Try, attempt: Attempt): void {
  const { exchange, request } = one;
  one.endWait();
  attempt.sentAt = performance.now();
  const { body, upstream } = request;
  if (!Buffer.isBuffer(body)) return;
  exchange.bytesSent += body.length;
  upstream.bytesSent += body.length;
  if (exchange.unsentUpload === undefined) return;
  exchange.unsentUpload = undefined;
  if (exchange.upload === undefined) return;
  exchange.upload.keep(body);
  exchange.upload.ended = true;
}

import type { IncomingMessage } from 'node:http';
import { Deadline } from '../deadline.js';
import { BodyTimeoutError, ClientClosedError } from '../exchange/errors.js';
import type { Exchange, InFlight } from '../exchange/exchange.js';

/** Whether nothing of an upload is there yet, not even its end. Who else listens to it has it hurry past. */
export function isToCome(req: IncomingMessage): boolean {
  return (
    req.readableLength === 0 &&
    !req.readableDidRead &&
    !req.complete &&
    !req.destroyed &&
    req.listenerCount('data') === 0
  );
}

/**
 * Waits for the first bytes of an upload. Given to a connection before, the request would hold it while the
 * client says nothing: from others, and until the upstream closes it for being idle, which looks like a failure.
 */
export class UploadStart implements InFlight {
  readonly #exchange: Exchange;
  readonly #go: () => void;
  readonly #fail: (error: unknown) => void;
  readonly #deadline: Deadline;
  readonly #onReadable = (): void => {
    this.#end();
    this.#go();
  };

  constructor(
    exchange: Exchange,
    timeoutMs: number,
    go: () => void,
    fail: (error: unknown) => void,
  ) {
    this.#exchange = exchange;
    this.#go = go;
    this.#fail = fail;
    exchange.inFlight = this;
    this.#deadline = new Deadline(timeoutMs, () => {
      this.#end();
      fail(new BodyTimeoutError(undefined, 408));
    });
    exchange.req.on('readable', this.#onReadable);
  }

  /** The client has gone, or somebody else has answered it: what still comes is nobody's. */
  abandon(): void {
    const { req, upstream } = this.#exchange;
    this.#end();
    req.resume();
    this.#fail(new ClientClosedError({ upstream }));
  }

  #end(): void {
    this.#deadline.end();
    this.#exchange.req.off('readable', this.#onReadable);
    if (this.#exchange.inFlight === this) this.#exchange.inFlight = undefined;
  }
}

import { AsyncResource } from 'node:async_hooks';
import { setImmediate } from 'node:timers';
import type { Exchange } from '../exchange/exchange.js';

/** When so many wait, they leave at once: in a long turn, the first must not wait for hundreds. */
const MOST_WAITING = 32;

/** Kept from the start: a test that puts its own clock in place of timers must not hold up answers. */
const atEndOfTurn = setImmediate;

/** Ends the answer of an exchange; `context` is that of its request. */
export type Leave = (exchange: Exchange, last: Buffer | undefined, context: AsyncResource) => void;

/**
 * Answers that have become ready in one turn of the event loop leave at its end, one behind the other. Each
 * write of its own wakes whoever reads at the other end of the connection; where that is on the same machine,
 * waking costs as much as writing.
 */
export class Departures {
  readonly #leave: Leave;
  /** Emptied, and not made anew: see decision 92. */
  readonly #waiting: Departure[] = [];

  constructor(leave: Leave) {
    this.#leave = leave;
  }

  add(exchange: Exchange, last: Buffer | undefined): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) atEndOfTurn(leaveAll, this);
    waiting.push(new Departure(exchange, last));
    if (waiting.length === MOST_WAITING) this.leaveTogether();
  }

  leaveTogether(): void {
    const leaving = this.#waiting.splice(0);
    for (let i = 0; i < leaving.length; i++) (leaving[i] as Departure).run(this.#leave);
  }
}

/** One answer, which leaves in the asynchronous context of its request: its listeners may ask for that. */
class Departure extends AsyncResource {
  readonly #exchange: Exchange;
  readonly #last: Buffer | undefined;

  constructor(exchange: Exchange, last: Buffer | undefined) {
    super('HeadraceDeparture');
    this.#exchange = exchange;
    this.#last = last;
  }

  run(leave: Leave): void {
    this.runInAsyncScope(leave, undefined, this.#exchange, this.#last, this);
  }
}

function leaveAll(departures: Departures): void {
  departures.leaveTogether();
}

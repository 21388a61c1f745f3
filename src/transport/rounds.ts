import { AsyncResource } from 'node:async_hooks';
import { clearInterval, setInterval } from 'node:timers';

/** How often what is waited for is looked at: a limit is up to two of these late, and never early. */
const ROUND_MS = 50;

/** Kept from the start: a test that puts its own clock in place of timers must not take the limits away. */
const every = setInterval;
const noMore = clearInterval;

/** Something that may wait too long. */
export interface Waiter {
  /** Where it is in the list of all; -1 when it is not in it. */
  place: number;
  /** Ends what has waited too long; whether there is anything that it waits for. */
  look(): boolean;
}

/**
 * The limits of what connections wait for. Timers would have to be set and cleared several times for each request; here
 * it notes which round it is, and in each round all connections are looked at. A process that stood still counts as one.
 */
class Rounds extends AsyncResource {
  /** The number of the round. */
  now = 0;
  readonly #all: Waiter[] = [];
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor() {
    // Its context is nobody's: that of a request would be kept for as long as there are requests.
    super('HeadraceRounds', { requireManualDestroy: true });
    // There is nothing to close: what looks for handles left open is not to count it.
    this.emitDestroy();
  }

  add(waiter: Waiter): void {
    if (waiter.place === -1) waiter.place = this.#all.push(waiter) - 1;
  }

  remove(waiter: Waiter): void {
    const { place } = waiter;
    if (place === -1) return;
    waiter.place = -1;
    const last = this.#all.pop() as Waiter;
    if (last === waiter) return;
    this.#all[place] = last;
    last.place = place;
  }

  /** Somebody begins to wait. */
  begin(): void {
    if (this.#timer === undefined) this.runInAsyncScope(this.#start, this);
  }

  /** Whether what has begun, or moved, in round `since` has stood still for `ms`. */
  isOver(since: number, ms: number): boolean {
    return (this.now - since - 1) * ROUND_MS >= ms;
  }

  #start(): void {
    this.#timer = every(makeRound, ROUND_MS);
    this.#timer.unref();
  }

  make(): void {
    this.now += 1;
    let waiting = false;
    // Backwards: who is ended may leave the list at once.
    for (let i = this.#all.length - 1; i >= 0; i--) waiting = this.#all[i]?.look() || waiting;
    if (waiting) return;
    noMore(this.#timer);
    this.#timer = undefined;
  }
}

/** Those of this process. */
export const rounds = new Rounds();

function makeRound(): void {
  rounds.make();
}

import { MAX_TIMER_MS } from '../options.js';

/** Somebody who waits to be let through a {@link Gate}; told exactly one of the two, unless it gives up. */
export interface Waiter {
  /** A place is free and is the waiter's now. */
  admitted(): void;
  /** It has waited for as long as anybody may. */
  refused(): void;
}

/** How many a {@link Gate} lets through, and who may wait. */
export interface GateSettings {
  /** Places. */
  readonly limit: number;
  /** How many may wait for one. */
  readonly size: number;
  /** How long. */
  readonly timeoutMs: number;
  readonly now: () => number;
  /** Counts over all gates of one kind. */
  readonly total: { inFlight: number; waiting: number };
}

/** A turn in the queue of a {@link Gate}: what its waiter gives up with. */
export interface Turn {
  readonly waiter: Waiter;
  readonly deadline: number;
  before: Turn | undefined;
  behind: Turn | undefined;
  over: boolean;
}

/**
 * Lets so many through at a time; a bounded number of others wait in the order in which they came. A
 * place that is given back goes to the first of them at once, so that nobody overtakes. All wait equally
 * long, so the first is also the first to be refused, and one timer serves the whole queue.
 */
export class Gate {
  readonly #settings: GateSettings;
  readonly #whenIdle: (() => void) | undefined;
  #inFlight = 0;
  #waiting = 0;
  #first: Turn | undefined = undefined;
  #last: Turn | undefined = undefined;
  #timer: NodeJS.Timeout | undefined = undefined;

  /** `whenIdle` is called each time that the last one has left. */
  constructor(settings: GateSettings, whenIdle?: () => void) {
    this.#settings = settings;
    this.#whenIdle = whenIdle;
  }

  /** Places that are taken. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether somebody who comes now is let through. */
  get hasRoom(): boolean {
    return this.#inFlight < this.#settings.limit;
  }

  /** Takes a place, where one is free. */
  enter(): boolean {
    if (!this.hasRoom) return false;
    this.#inFlight += 1;
    this.#settings.total.inFlight += 1;
    return true;
  }

  /** Gives a place back. */
  leave(): void {
    const turn = this.#first;
    if (turn !== undefined) {
      this.#remove(turn);
      turn.waiter.admitted();
      return;
    }
    this.#inFlight -= 1;
    this.#settings.total.inFlight -= 1;
    if (this.#inFlight === 0) this.#whenIdle?.();
  }

  /** Takes a turn at the end of the queue; `undefined` when that is full. */
  wait(waiter: Waiter): Turn | undefined {
    const { size, timeoutMs, now, total } = this.#settings;
    if (this.#waiting >= size) return undefined;
    const deadline = now() + timeoutMs;
    const turn: Turn = { waiter, deadline, before: this.#last, behind: undefined, over: false };
    if (this.#last === undefined) this.#first = turn;
    else this.#last.behind = turn;
    this.#last = turn;
    this.#waiting += 1;
    total.waiting += 1;
    if (this.#timer === undefined) this.#wake(timeoutMs);
    return turn;
  }

  /** Gives a turn up before it has come. */
  giveUp(turn: Turn): void {
    if (!turn.over) this.#remove(turn);
  }

  #remove(turn: Turn): void {
    turn.over = true;
    if (turn.before === undefined) this.#first = turn.behind;
    else turn.before.behind = turn.behind;
    if (turn.behind === undefined) this.#last = turn.before;
    else turn.behind.before = turn.before;
    this.#waiting -= 1;
    this.#settings.total.waiting -= 1;
    if (this.#waiting > 0 || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wake(delayMs: number): void {
    // A clock that was set back makes it long; a timer would take too long a delay for none.
    this.#timer = setTimeout(() => this.#refuseLate(), Math.min(delayMs, MAX_TIMER_MS));
    this.#timer.unref();
  }

  /** The timer was set for somebody who may be gone: then it is set again for whoever is first now. */
  #refuseLate(): void {
    this.#timer = undefined;
    const time = this.#settings.now();
    for (let turn = this.#first; turn !== undefined; turn = this.#first) {
      if (turn.deadline > time) return this.#wake(Math.ceil(turn.deadline - time));
      this.#remove(turn);
      turn.waiter.refused();
    }
  }
}

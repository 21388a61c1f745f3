import { isOver } from '../exchange/answers.js';
import { ClientClosedError, OverloadedError } from '../exchange/errors.js';
import type { Exchange, Send } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import type { Gate, Turn, Waiter } from './gate.js';
import type { Gates } from './gates.js';

/** What each exchange holds of the places behind some gates, and the giving back of it. */
export class Slots {
  readonly #gates: Gates;
  /** The newest slot of each exchange; they lead to the older ones. Weakly, for the sake of the garbage collector. */
  readonly #held = new WeakMap<Exchange, Slot>();

  constructor(gates: Gates) {
    this.#gates = gates;
  }

  /**
   * Sends once there is a place. It is the exchange's until the try fails, its response is discarded,
   * or the exchange ends.
   */
  send(exchange: Exchange, send: Send): Promise<UpstreamResponse> {
    const slot = this.#newSlot(exchange);
    // The client is gone or answered already: nothing would end what is begun now.
    if (isOver(exchange)) throw new ClientClosedError();
    const gate = this.#gates.of(exchange);
    if (gate === undefined) return send();
    if (slot.enter(gate)) return slot.hold(send());
    const other = this.#gates.elsewhere?.(exchange);
    if (other !== undefined && slot.enter(other)) return slot.hold(send());
    return waitAndSend(exchange, send, slot, gate);
  }

  /**
   * Sends from behind all other wrappers. One of them may have chosen another upstream: then the place is
   * exchanged for one there.
   */
  sendOn(exchange: Exchange, send: Send): Promise<UpstreamResponse> {
    const gate = this.#gates.of(exchange);
    const held = this.#held.get(exchange);
    if (gate === undefined || held === undefined || held.isAt(gate)) return send();
    held.release();
    const slot = this.#newSlot(exchange);
    if (slot.enter(gate)) return slot.hold(send());
    return waitAndSend(exchange, send, slot, gate);
  }

  /** What an earlier try has left open is given back before the next one asks for a place. */
  #newSlot(exchange: Exchange): Slot {
    const before = this.#held.get(exchange);
    const slot = new Slot(Slot.prune(before));
    this.#held.set(exchange, slot);
    if (before === undefined) exchange.onOutcome(this.#end);
    return slot;
  }

  readonly #end = (exchange: Exchange): void => {
    for (let slot = this.#held.get(exchange); slot !== undefined; slot = slot.older) slot.release();
    this.#held.delete(exchange);
  };
}

async function waitAndSend(
  exchange: Exchange,
  send: Send,
  slot: Slot,
  gate: Gate,
): Promise<UpstreamResponse> {
  const { upstream } = exchange;
  const admitted = await slot.wait(gate);
  if (isOver(exchange)) {
    // An answer of the app's that is slow to leave must not hold what it has no use for.
    slot.release();
    throw new ClientClosedError({ upstream });
  }
  if (admitted) return slot.hold(send());
  throw new OverloadedError({ upstream });
}

/** The place of one try: asked for, taken, given back. Whatever ends first gives it back, once. */
class Slot implements Waiter {
  older: Slot | undefined;
  #gate: Gate | undefined = undefined;
  #turn: Turn | undefined = undefined;
  #settle: ((admitted: boolean) => void) | undefined = undefined;
  #answered = false;

  constructor(older: Slot | undefined) {
    this.older = older;
  }

  /** Gives back what tries with an answer hold; those that are still under way keep their place. */
  static prune(newest: Slot | undefined): Slot | undefined {
    if (newest === undefined) return undefined;
    if (newest.#answered) newest.release();
    const older = Slot.prune(newest.older);
    if (newest.#gate === undefined) return older;
    newest.older = older;
    return newest;
  }

  /** Whether this or an older one is a place at a gate. */
  isAt(gate: Gate): boolean {
    return this.#gate === gate || this.older?.isAt(gate) === true;
  }

  enter(gate: Gate): boolean {
    if (!gate.enter()) return false;
    this.#gate = gate;
    return true;
  }

  /** Resolves with whether a place has come free in time. */
  wait(gate: Gate): Promise<boolean> | boolean {
    const turn = gate.wait(this);
    if (turn === undefined) return false;
    this.#gate = gate;
    this.#turn = turn;
    return new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  admitted(): void {
    this.#turn = undefined;
    this.#settle?.(true);
  }

  refused(): void {
    this.#turn = undefined;
    this.#gate = undefined;
    this.#settle?.(false);
  }

  /** Returns `pending` as it is, and gives the place back when that fails or its response is discarded. */
  hold(pending: Promise<UpstreamResponse>): Promise<UpstreamResponse> {
    const release = (): void => this.release();
    pending.then((response) => {
      this.#answered = true;
      response.onDiscard(release);
    }, release);
    return pending;
  }

  release(): void {
    const gate = this.#gate;
    if (gate === undefined) return;
    this.#gate = undefined;
    if (this.#turn === undefined) return gate.leave();
    gate.giveUp(this.#turn);
    this.refused();
  }
}

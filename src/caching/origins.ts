import type { Exchange } from '../exchange/exchange.js';

/** Tells apart what answers come from: an upstream or the pool of it, and how requests are sent there. */
export class Origins {
  readonly #numbers = new WeakMap<object, number>();
  /** How requests are sent to each; `null` where that is in several ways. */
  readonly #ways = new WeakMap<object, object | null>();
  #last = 0;

  /** Numbers for where a request goes and how. Of one that is not sent, the way is that of all others. */
  of({ pool, upstream, transport }: Exchange): [where: number, how: number] {
    // Somebody may have sent it elsewhere.
    const isOfPool = upstream === undefined || pool?.owns(upstream) === true;
    const where = pool !== undefined && isOfPool ? pool : upstream;
    return [this.#numberOf(where), this.#numberOf(where && this.#wayTo(where, transport))];
  }

  #wayTo(where: object, transport: object | undefined): object | undefined {
    const before = this.#ways.get(where);
    if (transport === undefined) return before ?? undefined;
    if (before !== transport) this.#ways.set(where, before === undefined ? transport : null);
    return transport;
  }

  #numberOf(one: object | undefined): number {
    if (one === undefined) return 0;
    const number = this.#numbers.get(one) ?? ++this.#last;
    this.#numbers.set(one, number);
    return number;
  }
}

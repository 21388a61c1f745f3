import type { Exchange } from '../exchange/exchange.js';
import type { Upstream } from './upstream.js';

/**
 * The upstreams that a request has been to, and until when each wants to be left alone: what it has
 * said last holds, wherever the request has been since.
 */
export class Tried {
  readonly #until = new Map<Upstream | undefined, number>();

  /** The request has been there; `until` is when that one may be asked again. */
  note(upstream: Upstream | undefined, until: number): void {
    this.#until.set(upstream, until);
  }

  /** When this one may be asked again, or for the first time. */
  askableFrom(upstream: Upstream | undefined): number {
    return this.#until.get(upstream) ?? 0;
  }

  /**
   * Whom the next try passes by: all that were tried, or at least the last one, and those that want to be
   * left alone for longer than until `latest`. `undefined` where the pool has nobody else.
   */
  passedBy({ pool, upstream }: Exchange, latest: number): readonly Upstream[] | undefined {
    const all: Upstream[] = [];
    const some: Upstream[] = [];
    for (const [one, until] of this.#until) {
      if (one === undefined) continue;
      all.push(one);
      if (one === upstream || until > latest) some.push(one);
    }
    return [all, some].find((except) => pool?.hasOthers(except));
  }
}

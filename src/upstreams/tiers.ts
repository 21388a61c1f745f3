import type { Upstream } from './upstream.js';

/** Upstreams of one priority. */
type Tier = readonly Upstream[];

/** Upstreams that may be chosen, by their priority: those to be used first, and then what is in reserve. */
export class Tiers {
  readonly #tiers: readonly Tier[];
  /** Those to be used now. */
  readonly first: Tier;

  /** Takes the usable ones of these. */
  constructor(upstreams: readonly Upstream[]) {
    const tiers = new Map<number, Upstream[]>();
    for (const upstream of upstreams) {
      if (!upstream.usable) continue;
      const tier = tiers.get(upstream.priority);
      if (tier === undefined) tiers.set(upstream.priority, [upstream]);
      else tier.push(upstream);
    }
    this.#tiers = [...tiers].sort(([one], [other]) => one - other).map(([, tier]) => tier);
    this.first = this.#tiers[0] ?? [];
  }

  /** Whether there are any without some. */
  hasOthers(except: readonly Upstream[]): boolean {
    return this.#tiers.some((tier) => tier.some((upstream) => !except.includes(upstream)));
  }

  /**
   * What the first tier that has anything left has without some; where none has, the first as a whole. A
   * tier that nothing is missing from stays the same array: strategies know it again.
   */
  without(except: readonly Upstream[]): Tier {
    for (const tier of this.#tiers) {
      const left = tier.filter((upstream) => !except.includes(upstream));
      if (left.length > 0) return left.length === tier.length ? tier : left;
    }
    return this.first;
  }
}

import { inspect, known, wholeNumber } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { HashRing } from './hash-ring.js';
import { murmur3 } from './murmur3.js';
import { keyReader, type RequestKey } from './request-key.js';
import { type Prepared, Roster } from './roster.js';
import { TotalLoad } from './total-load.js';

/** Options for {@link consistentHash}. */
export interface ConsistentHashOptions {
  /**
   * What keeps requests together: the client's address, a header field, a cookie, or what a function
   * of the request gives. Requests without it go by the client's address.
   *
   * @default 'address'
   */
  readonly key?: RequestKey | undefined;
  /**
   * Points on the ring for an upstream of weight 1. More of them spread the keys more evenly and make
   * each change of the pool dearer.
   *
   * @default 16
   */
  readonly replicas?: number | undefined;
  /**
   * How many times its share of all requests in flight an upstream may have, more than 1: what is too
   * much for it goes elsewhere. 1.25 is a good value. Without it there is no bound.
   */
  readonly boundedLoad?: number | undefined;
}

/** Places tried for a key before the ring is walked. */
const MAX_ATTEMPTS = 8;

/**
 * Gives equal keys to the same upstream. When one of n upstreams goes, only its keys move, about 1/n of
 * all; when one comes, it takes about 1/n. Gateways with the same list choose alike.
 *
 * @example
 * loadBalancer({ upstreams, strategy: consistentHash({ key: { cookie: 'session' } }) });
 */
export function consistentHash(options: ConsistentHashOptions = {}): Strategy {
  const {
    key = 'address',
    replicas = 16,
    boundedLoad,
  } = known('consistentHash', options, ['key', 'replicas', 'boundedLoad']);
  const keyOf = keyReader('consistentHash: key', key);
  wholeNumber('consistentHash: replicas', replicas, 1, 1_000);
  if (boundedLoad !== undefined) factor('consistentHash: boundedLoad', boundedLoad);

  const roster = new Roster<Owners>((candidates, before) => {
    before?.load?.release();
    return new Owners(candidates, replicas, boundedLoad);
  });
  let keyless = 0;
  return {
    pick(candidates, exchange) {
      if (candidates.length < 2) return candidates[0];
      const text = keyOf(exchange.req);
      const hash = text === undefined ? keyless++ : murmur3(text);
      return roster.for(candidates).ownerOf(hash, candidates);
    },
  };
}

/** Which upstream a key belongs to, and how busy they are where that is limited. */
class Owners implements Prepared {
  readonly candidates: readonly Upstream[];
  readonly load: TotalLoad | undefined;
  readonly #ring: HashRing;
  readonly #factor: number;

  constructor(candidates: readonly Upstream[], replicas: number, factor: number | undefined) {
    this.candidates = candidates;
    this.load = factor === undefined ? undefined : new TotalLoad(candidates);
    this.#ring = new HashRing(candidates, replicas);
    this.#factor = factor ?? 0;
  }

  /** The one of `candidates` that a key belongs to: all that this was made for, or some of them. */
  ownerOf(hash: number, candidates: readonly Upstream[]): Upstream | undefined {
    let point = 0;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      point = this.#ring.pointOf(hash, attempt);
      const upstream = this.#ring.ownerOf(point);
      if (this.#takes(upstream, candidates)) return upstream;
    }
    for (let step = 1; step <= this.#ring.size; step++) {
      const upstream = this.#ring.ownerOf((point + step) % this.#ring.size);
      if (this.#takes(upstream, candidates)) return upstream;
    }
    // All that are left are full, and the others were left out: the bound is for the pool as a whole.
    return candidates[(hash >>> 0) % candidates.length];
  }

  #takes(upstream: Upstream, candidates: readonly Upstream[]): boolean {
    if (candidates !== this.candidates && !candidates.includes(upstream)) return false;
    return this.load?.hasRoom(upstream, this.#factor) ?? true;
  }
}

function factor(path: string, value: number): void {
  if (typeof value !== 'number' || !(value > 1 && Number.isFinite(value))) {
    throw new RangeError(`${path} must be a number greater than 1, received ${inspect(value)}`);
  }
}

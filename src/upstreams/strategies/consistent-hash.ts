import { inspect, known, wholeNumber } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { HashRing, NOBODY } from './hash-ring.js';
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
   * Points on the ring for an upstream of weight 1, and at least for the one of the smallest weight. More
   * of them spread the keys more evenly and make each change of the pool dearer.
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

  /**
   * The one of `candidates` that a key belongs to: all that this was made for, or some of them. Then it
   * is the one that it would belong to if the others were gone, so that it stays there when they go.
   */
  ownerOf(hash: number, candidates: readonly Upstream[]): Upstream | undefined {
    if (candidates === this.candidates) return this.#find(hash, NOBODY, this.load);
    const gone = this.candidates.filter(leftOutOf(candidates));
    const load = this.load && new TotalLoad(candidates, { follows: false });
    return this.#find(hash, gone, load);
  }

  #find(hash: number, gone: readonly Upstream[], load: TotalLoad | undefined): Upstream {
    const ring = this.#ring;
    const home = ring.pointOf(hash, 0, gone);
    if (load === undefined) return ring.ownerOf(home);
    let point = home;
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      if (load.hasRoom(ring.ownerOf(point), this.#factor)) return ring.ownerOf(point);
      point = ring.pointOf(hash, attempt, gone);
    }
    for (let step = 0; step < ring.size; step++) {
      const upstream = ring.ownerOf((point + step) % ring.size);
      if (!gone.includes(upstream) && load.hasRoom(upstream, this.#factor)) return upstream;
    }
    // Only where weights have just been changed by hand: else somebody always has room.
    return ring.ownerOf(home);
  }
}

/** Which of a list an excerpt of it leaves out, asked in the order of the list. */
function leftOutOf(excerpt: readonly Upstream[]): (upstream: Upstream) => boolean {
  let found = 0;
  return (upstream) => {
    if (excerpt[found] !== upstream) return true;
    found += 1;
    return false;
  };
}

function factor(path: string, value: number): void {
  if (typeof value !== 'number' || !(value > 1 && Number.isFinite(value))) {
    throw new RangeError(`${path} must be a number greater than 1, received ${inspect(value)}`);
  }
}

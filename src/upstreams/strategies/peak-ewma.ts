import { callable, known, milliseconds } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { Roster } from './roster.js';
import { indexBelow, Sampler } from './sampler.js';

/** Options for {@link peakEwma}. */
export interface PeakEwmaOptions {
  /**
   * How long a slow answer is held against an upstream: after this time it weighs about a third.
   *
   * @default 10_000
   */
  readonly decayMs?: number | undefined;
  /**
   * The clock, in milliseconds; for tests.
   *
   * @default performance.now
   */
  readonly now?: (() => number) | undefined;
  /**
   * Numbers from 0 to 1; for tests.
   *
   * @default Math.random
   */
  readonly random?: (() => number) | undefined;
}

/** Up to so many upstreams are all compared; of more, two drawn at random. */
const ALL_COMPARED = 8;

/**
 * Of an upstream that has not answered yet: anything that has is better, once it has something to do.
 */
const UNKNOWN_MS = 60_000;

/**
 * Takes the upstream that is likely to answer first: by its latency times the requests it would have in
 * flight, for its weight. Latency jumps up to a slow answer and comes down slowly, so that a stall is
 * felt at once. Compares all of a few upstreams, and two drawn by weight of many.
 */
export function peakEwma(options: PeakEwmaOptions = {}): Strategy {
  const {
    decayMs = 10_000,
    now = () => performance.now(),
    random = Math.random,
  } = known('peakEwma', options, ['decayMs', 'now', 'random']);
  milliseconds('peakEwma: decayMs', decayMs);
  callable('peakEwma: now', now);
  callable('peakEwma: random', random);

  const roster = new Roster((candidates) => new Sampler(candidates));
  const peaks = new WeakMap<Upstream, Peak>();

  function costOf(upstream: Upstream, at: number): number {
    const latencyMs = peaks.get(upstream)?.latencyAt(at, decayMs);
    const { inFlight, weight } = upstream;
    if (latencyMs === undefined) return inFlight === 0 ? 0 : (UNKNOWN_MS * inFlight) / weight;
    return (latencyMs * (inFlight + 1)) / weight;
  }

  function cheapest(candidates: readonly Upstream[], at: number): Upstream | undefined {
    const start = indexBelow(candidates.length, random);
    let best: Upstream | undefined;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < candidates.length; i++) {
      const upstream = candidates[(start + i) % candidates.length] as Upstream;
      const cost = costOf(upstream, at);
      if (cost < lowest) {
        best = upstream;
        lowest = cost;
      }
    }
    return best;
  }

  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      if (candidates.length <= ALL_COMPARED) return cheapest(candidates, now());
      const sampler = roster.for(candidates);
      const one = sampler.draw(candidates, random);
      const other = sampler.drawOther(one, candidates, random);
      const at = now();
      return costOf(other, at) < costOf(one, at) ? other : one;
    },
    observe(upstream, latencyMs) {
      const peak = peaks.get(upstream);
      if (peak === undefined) peaks.set(upstream, new Peak(latencyMs, now()));
      else peak.observe(latencyMs, now(), decayMs);
    },
  };
}

/** A moving average that goes straight up to a peak and comes down exponentially. */
class Peak {
  #latencyMs: number;
  #at: number;

  constructor(latencyMs: number, at: number) {
    this.#latencyMs = latencyMs;
    this.#at = at;
  }

  observe(latencyMs: number, at: number, decayMs: number): void {
    const kept = Math.exp((this.#at - at) / decayMs);
    this.#latencyMs = Math.max(latencyMs, this.#latencyMs * kept + latencyMs * (1 - kept));
    this.#at = at;
  }

  /** It goes down while nothing is heard, or an upstream that was slow once would never be asked again. */
  latencyAt(at: number, decayMs: number): number {
    return this.#latencyMs * Math.exp((this.#at - at) / decayMs);
  }
}

import { callable, known, milliseconds } from '../../options.js';
import type { Strategy } from '../strategy.js';
import type { Upstream } from '../upstream.js';
import { indexBelow, randomSource } from './random-source.js';
import { Roster } from './roster.js';
import { Sampler } from './sampler.js';

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
   * @default a generator seeded by `Math.random`
   */
  readonly random?: (() => number) | undefined;
}

/** Up to so many upstreams are all compared; of more, two drawn at random. */
const ALL_COMPARED = 8;

/**
 * Takes the upstream that is likely to answer first: by its latency times the requests it would have in
 * flight, for its weight. Latency jumps up to a slow answer and comes down slowly, so that a stall is
 * felt at once. Compares all of a few upstreams, and two drawn by weight of many.
 */
export function peakEwma(options: PeakEwmaOptions = {}): Strategy {
  const {
    decayMs = 10_000,
    now = () => performance.now(),
    random,
  } = known('peakEwma', options, ['decayMs', 'now', 'random']);
  milliseconds('peakEwma: decayMs', decayMs);
  callable('peakEwma: now', now);
  if (random !== undefined) callable('peakEwma: random', random);
  const source = randomSource(random);

  const roster = new Roster((candidates) => new Sampler(candidates));
  const peaks = new WeakMap<Upstream, Peak>();

  function isBetter(a: Upstream, b: Upstream): boolean {
    const peakOfA = peaks.get(a);
    const peakOfB = peaks.get(b);
    const loadOfA = (a.inFlight + 1) / a.weight;
    const loadOfB = (b.inFlight + 1) / b.weight;
    if (peakOfA && peakOfB) {
      return peakOfA.latencyMs * loadOfA < peakOfB.latencyMs * loadOfB * peakOfB.since(peakOfA);
    }
    // One that has not answered yet gets a request to show what it can do, and no second one.
    if (peakOfA) return b.inFlight > 0;
    if (peakOfB) return a.inFlight === 0;
    return loadOfA < loadOfB;
  }

  function bestOf(candidates: readonly Upstream[]): Upstream {
    const start = indexBelow(candidates.length, source);
    let best = candidates[start] as Upstream;
    for (let i = 1; i < candidates.length; i++) {
      const upstream = candidates[(start + i) % candidates.length] as Upstream;
      if (isBetter(upstream, best)) best = upstream;
    }
    return best;
  }

  return {
    pick(candidates) {
      if (candidates.length < 2) return candidates[0];
      if (candidates.length <= ALL_COMPARED) return bestOf(candidates);
      const sampler = roster.for(candidates);
      const one = sampler.draw(candidates, source);
      const other = sampler.drawOther(one, candidates, source);
      return isBetter(other, one) ? other : one;
    },
    observe(upstream, latencyMs) {
      const peak = peaks.get(upstream);
      if (peak === undefined) peaks.set(upstream, new Peak(latencyMs, now(), decayMs));
      else peak.observe(latencyMs, now());
    },
  };
}

/** A moving average that goes straight up to a peak and comes down exponentially. */
class Peak {
  /** What it was when it was last heard of. */
  latencyMs: number;
  #at: number;
  readonly #decayMs: number;

  constructor(latencyMs: number, at: number, decayMs: number) {
    this.latencyMs = latencyMs;
    this.#at = at;
    this.#decayMs = decayMs;
  }

  observe(latencyMs: number, at: number): void {
    const kept = Math.exp((this.#at - at) / this.#decayMs);
    this.latencyMs = Math.max(latencyMs, this.latencyMs * kept + latencyMs * (1 - kept));
    this.#at = at;
  }

  /**
   * By how much another one has come down that was heard of before this one. What is not heard of goes
   * down, or an upstream that was slow once would never be asked again. What both have come down by
   * since makes no difference between them, so that a pick need not know the time.
   */
  since(other: Peak): number {
    return Math.exp((this.#at - other.#at) / this.#decayMs);
  }
}

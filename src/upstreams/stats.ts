import type { CircuitStatus } from './circuit.js';
import type { Bar, Upstream } from './upstream.js';

/** Buckets a power of two is divided into: values in one bucket differ by at most an eighth. */
const STEPS = 8;
/** From 1 µs to about 67 s; what is beyond counts as that. */
const OCTAVES = 27;

/**
 * Durations counted in buckets that grow with them: constant memory, constant cost, and quantiles that
 * are off by at most 6.25 %.
 */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(OCTAVES * STEPS);
  #total = 0;

  /** Counts one duration. */
  record(ms: number): void {
    const bucket = bucketOf(ms * 1_000);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#total += 1;
  }

  /** How many durations were counted. */
  get count(): number {
    return this.#total;
  }

  /** The duration in milliseconds below which the share `q` of all lies; 0 without any. */
  quantile(q: number): number {
    if (this.#total === 0) return 0;
    return quantileOf(this.#counts, Math.max(1, Math.ceil(q * this.#total)));
  }

  /**
   * How many were counted in each bucket; for whoever wants to know what has come since.
   *
   * @internal
   */
  get counts(): Readonly<Uint32Array> {
    return this.#counts;
  }
}

/** The duration in milliseconds up to which so many of all lie. */
export function quantileOf(counts: ArrayLike<number>, rank: number): number {
  let left = rank;
  for (let i = 0; i < counts.length; i++) {
    left -= counts[i] as number;
    if (left <= 0) return middleOf(i) / 1_000;
  }
  return middleOf(counts.length - 1) / 1_000;
}

function bucketOf(us: number): number {
  if (us < 1) return 0;
  const octave = 31 - Math.clz32(Math.min(us, 2 ** 31 - 1));
  if (octave >= OCTAVES) return OCTAVES * STEPS - 1;
  return octave * STEPS + Math.floor((us / 2 ** octave - 1) * STEPS);
}

function middleOf(bucket: number): number {
  const octave = Math.floor(bucket / STEPS);
  return 2 ** octave * (1 + ((bucket % STEPS) + 0.5) / STEPS);
}

/** What a pool knows of one upstream. */
export interface UpstreamStats {
  readonly url: string;
  readonly weight: number;
  readonly priority: number;
  /** Whether it may be chosen, what stands against it, and since when (`performance.now()`). */
  readonly usable: boolean;
  readonly bars: readonly Bar[];
  readonly since: number;
  /** The state of its circuit breaker, since when, and when it opened; `undefined` without a breaker. */
  readonly circuit: CircuitStatus | undefined;
  /** Tries made at it, those that failed by error code, and those not ended yet. */
  readonly requests: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly inFlight: number;
  /** Tries that came after another one for the same request, and answers with a status from 500 on. */
  readonly retries: number;
  readonly serverErrors: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Times to the head of a response, in milliseconds, off by at most 6.25 %. */
  readonly latencyMs: { readonly p50: number; readonly p90: number; readonly p99: number };
}

/** A snapshot of what is known of an upstream. */
export function upstreamStats(upstream: Upstream): UpstreamStats {
  const { url, weight, priority, usable, since, circuit, requests, inFlight, latency } = upstream;
  return {
    url,
    weight,
    priority,
    usable,
    bars: [...upstream.bars],
    since,
    circuit,
    requests,
    failures: Object.fromEntries(upstream.failures),
    inFlight,
    retries: upstream.retries,
    serverErrors: upstream.serverErrors,
    bytesSent: upstream.bytesSent,
    bytesReceived: upstream.bytesReceived,
    latencyMs: {
      p50: latency.quantile(0.5),
      p90: latency.quantile(0.9),
      p99: latency.quantile(0.99),
    },
  };
}

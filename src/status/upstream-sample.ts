import { BLAMELESS } from '../upstreams/passive-health.js';
import type { Upstream } from '../upstreams/upstream.js';
import { ClockTime } from './clock-time.js';
import { History, short } from './history.js';
import { Recent } from './recent.js';
import { levelOf, stateOf, type UpstreamReport, type UpstreamState } from './report.js';

/** Points of an upstream's little chart: five seconds each, five minutes together. */
const POINTS = 60;

/** What is remembered of one upstream between two looks at it. */
export class UpstreamSample {
  readonly upstream: Upstream;
  /** What tells it apart from the others of its pool. */
  readonly id: string;
  readonly #recent: Recent;
  readonly #buckets: Uint32Array;
  readonly #requestsPerSecond = new History(POINTS);
  readonly #errorsPerSecond = new History(POINTS);
  readonly #since = new ClockTime();
  readonly #circuitSince = new ClockTime();
  #requests: number;
  #errors: number;
  #answers: number;
  #state: UpstreamState;
  #stateSince: number;
  /** The moment of the latest change of its bars that is known. */
  #barsSince: number;
  #row = '';
  #rowOf = -1;
  #changedAt = -1;

  constructor(upstream: Upstream, id = upstream.url) {
    this.upstream = upstream;
    this.id = id;
    this.#buckets = Uint32Array.from(upstream.latency.counts);
    this.#recent = new Recent(this.#buckets.length);
    this.#requests = upstream.requests;
    this.#errors = errorsOf(upstream);
    this.#answers = upstream.latency.count;
    this.#state = stateOf(upstream, 0);
    this.#barsSince = upstream.since;
    this.#stateSince = upstream.since;
  }

  /** How many tries have failed by now. */
  get errors(): number {
    return this.#errors;
  }

  /** Counts what has happened since the last look, for itself and for its pool. */
  look(elapsedMs: number, pool: Recent): void {
    const { requests, latency } = this.upstream;
    const errors = errorsOf(this.upstream);
    this.#recent.fade(elapsedMs);
    this.#recent.count(requests - this.#requests, errors - this.#errors);
    pool.count(requests - this.#requests, errors - this.#errors);
    this.#requests = requests;
    this.#errors = errors;
    this.#judge();
    if (latency.count === this.#answers) return;
    this.#answers = latency.count;
    const { counts } = latency;
    for (let i = 0; i < counts.length; i++) {
      const count = counts[i] as number;
      // Unsigned, as the counts are: one that has run over goes on from 0.
      const more = (count - (this.#buckets[i] as number)) >>> 0;
      if (more === 0) continue;
      this.#buckets[i] = count;
      this.#recent.answered(i, more);
      pool.answered(i, more);
    }
  }

  /** Adds a point to its charts. */
  plot(times: number): void {
    this.#requestsPerSecond.push(this.#recent.requestsPerSecond, times);
    this.#errorsPerSecond.push(this.#recent.errorsPerSecond, times);
  }

  /** Its report as JSON: one and the same text for everybody who asks between two looks. */
  row(look: number): string {
    if (this.#rowOf !== look) {
      const row = JSON.stringify(this.#report());
      this.#rowOf = look;
      if (row !== this.#row) {
        this.#row = row;
        this.#changedAt = look;
      }
    }
    return this.#row;
  }

  /** The same with its charts. */
  rowWithHistory(look: number): string {
    const history = JSON.stringify({
      everyMs: 5_000,
      requestsPerSecond: this.#requestsPerSecond,
      errorsPerSecond: this.#errorsPerSecond,
    });
    return `${this.row(look).slice(0, -1)},"history":${history}}`;
  }

  /** Whether its report is another one than at the look before. */
  hasChanged(look: number): boolean {
    this.row(look);
    return this.#changedAt === look;
  }

  /** Notes a change of its state: at the moment of that of its bars, where that is what made it. */
  #judge(): void {
    const { since } = this.upstream;
    const state = stateOf(this.upstream, this.#recent.errorRatio);
    if (state !== this.#state) {
      this.#stateSince = since === this.#barsSince ? performance.now() : since;
    }
    this.#state = state;
    this.#barsSince = since;
  }

  #report(): UpstreamReport {
    const { upstream, id } = this;
    const { url, weight, priority, bars, circuit } = upstream;
    const { inFlight, requests, retries, bytesSent, bytesReceived } = upstream;
    const state = this.#state;
    return {
      id,
      url,
      weight,
      priority,
      state,
      level: levelOf(state),
      bars: [...bars],
      since: this.#since.of(this.#stateSince),
      circuit: circuit
        ? { state: circuit.state, since: this.#circuitSince.of(circuit.since) }
        : null,
      ...trafficOf(this.#recent),
      inFlight,
      requests,
      errors: this.#errors,
      retries,
      bytesSent,
      bytesReceived,
    };
  }
}

/** What is told of the last seconds. */
export function trafficOf(recent: Recent) {
  const quantile = (q: number): number | null => {
    const ms = recent.quantile(q);
    return ms === null ? null : short(ms);
  };
  return {
    requestsPerSecond: short(recent.requestsPerSecond),
    errorsPerSecond: short(recent.errorsPerSecond),
    errorRatio: short(recent.errorRatio),
    latencyMs: { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) },
  };
}

function errorsOf({ failures, serverErrors }: Upstream): number {
  let errors = serverErrors;
  for (const [code, count] of failures) if (!BLAMELESS.has(code)) errors += count;
  return errors;
}

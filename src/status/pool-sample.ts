import type { UpstreamPool } from '../upstreams/pool.js';
import { LatencyHistogram } from '../upstreams/stats.js';
import type { Upstream } from '../upstreams/upstream.js';
import { History } from './history.js';
import { Recent } from './recent.js';
import type { PoolReport } from './report.js';
import { trafficOf, UpstreamSample } from './upstream-sample.js';

/** Points of a pool's charts: one second each, five minutes together. */
const POINTS = 300;

/** What is remembered of one pool between two looks at it. */
export class PoolSample {
  readonly #name: string;
  readonly #pool: UpstreamPool;
  readonly #recent = new Recent(new LatencyHistogram().counts.length);
  readonly #history = {
    requestsPerSecond: new History(POINTS),
    errorsPerSecond: new History(POINTS),
    p50: new History(POINTS),
    p95: new History(POINTS),
    p99: new History(POINTS),
    inFlight: new History(POINTS),
  };
  /** The lists of the pool at the last look. It gets other ones whenever they change. */
  #list: readonly Upstream[] | undefined = undefined;
  #leaving: readonly Upstream[] | undefined = undefined;
  #listChangedAt = -1;
  #samples: UpstreamSample[] = [];
  #report: PoolReport;

  constructor(name: string, pool: UpstreamPool) {
    this.#name = name;
    this.#pool = pool;
    this.#follow(0);
    this.#report = this.#measure();
  }

  /** Counts what has happened since the last look. */
  look(look: number, elapsedMs: number, steps: number, points: number): void {
    this.#recent.fade(elapsedMs);
    // Those that are about to leave have their last say.
    for (const sample of this.#samples) {
      sample.look(elapsedMs, this.#recent);
      if (points > 0) sample.plot(points);
    }
    this.#follow(look);
    this.#report = this.#measure();
    const { requestsPerSecond, errorsPerSecond, latencyMs, inFlight } = this.#report;
    this.#history.requestsPerSecond.push(requestsPerSecond, steps);
    this.#history.errorsPerSecond.push(errorsPerSecond, steps);
    this.#history.p50.push(latencyMs.p50, steps);
    this.#history.p95.push(latencyMs.p95, steps);
    this.#history.p99.push(latencyMs.p99, steps);
    this.#history.inFlight.push(inFlight, steps);
  }

  /** Everything that is known of it, as JSON. */
  snapshot(look: number): string {
    const rows = this.#samples.map((sample) => sample.rowWithHistory(look));
    const history = JSON.stringify({ everyMs: 1_000, ...this.#history });
    return `${this.#head()},"history":${history},"upstreams":[${rows.join()}]}`;
  }

  /** What has changed at the last look, as JSON. */
  frame(look: number): string {
    const rows = this.#samples.filter((sample) => sample.hasChanged(look));
    const order =
      this.#listChangedAt === look
        ? `,"order":${JSON.stringify(this.#samples.map(({ id }) => id))}`
        : '';
    return `${this.#head()}${order},"upstreams":[${rows.map((one) => one.row(look)).join()}]}`;
  }

  #head(): string {
    return JSON.stringify(this.#report).slice(0, -1);
  }

  #follow(look: number): void {
    const { upstreams, draining } = this.#pool;
    if (upstreams === this.#list && draining === this.#leaving) return;
    const known = new Map(this.#samples.map((sample) => [sample.upstream, sample]));
    this.#list = upstreams;
    this.#leaving = draining;
    this.#listChangedAt = look;
    const all = [...upstreams, ...draining];
    const ids = new Set(all.map((one) => known.get(one)?.id));
    this.#samples = all.map((one) => {
      return known.get(one) ?? new UpstreamSample(one, freeId(one.url, ids));
    });
  }

  #measure(): PoolReport {
    const sums = {
      inFlight: 0,
      requests: 0,
      errors: 0,
      retries: 0,
      bytesSent: 0,
      bytesReceived: 0,
    };
    for (const { upstream, errors } of this.#samples) {
      sums.inFlight += upstream.inFlight;
      sums.requests += upstream.requests;
      sums.errors += errors;
      sums.retries += upstream.retries;
      sums.bytesSent += upstream.bytesSent;
      sums.bytesReceived += upstream.bytesReceived;
    }
    return {
      name: this.#name,
      eligible: this.#pool.eligible.length,
      of: this.#pool.upstreams.length,
      draining: this.#pool.draining.length,
      ...trafficOf(this.#recent),
      ...sums,
    };
  }
}

/** A URL, or that with a number behind it, which none of the ids is; it becomes one of them. */
function freeId(url: string, ids: Set<string | undefined>): string {
  let id = url;
  for (let i = 2; ids.has(id); i++) id = `${url}#${i}`;
  ids.add(id);
  return id;
}

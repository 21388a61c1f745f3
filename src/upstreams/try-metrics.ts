import type { Attempt } from '../exchange/attempt.js';
import { BucketHistogram } from '../exchange/bucket-histogram.js';
import type { Exchange } from '../exchange/exchange.js';
import type { AddSample, Labels, MetricFamily } from '../exchange/exposition.js';
import { upstreamLabel } from './upstream-label.js';

/** Upstreams that are remembered; a target function can name any number. */
const MAX_UPSTREAMS = 1_000;
/** Those not asked for so long are forgotten when there are too many. */
const FORGET_AFTER_MS = 600_000;
/** How often it is looked for those. */
const LOOK_EVERY_MS = 10_000;

/** What is counted of the tries at one upstream. */
class Tries {
  readonly labels: Labels;
  /** By the first digit of the status; 0 for those without an answer. */
  readonly byStatus = new Float64Array(10);
  readonly failures = new Map<string, number>();
  readonly timeToHead: BucketHistogram;
  readonly connecting: BucketHistogram;
  usedAt = 0;

  constructor(upstream: string, bounds: Float64Array) {
    this.labels = { upstream };
    this.timeToHead = new BucketHistogram(bounds);
    this.connecting = new BucketHistogram(bounds);
  }

  count({ startedAt, sentAt, headAt, status = 0, error }: Attempt): void {
    const digit = Math.min(9, Math.floor(status / 100));
    this.byStatus[digit] = (this.byStatus[digit] as number) + 1;
    if (sentAt !== undefined) this.connecting.record(sentAt - startedAt);
    if (headAt !== undefined) this.timeToHead.record(headAt - startedAt);
    // A client that left says nothing about the upstream.
    if (error !== undefined && error.code !== 'ERR_PROXY_CLIENT_CLOSED') {
      this.failures.set(error.code, (this.failures.get(error.code) ?? 0) + 1);
    }
  }
}

/** Counts tries at upstreams, whether they are in a pool or not. */
export class TryMetrics {
  readonly #bounds: Float64Array;
  readonly #upstreams = new Map<string, Tries>();
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(bounds: Float64Array) {
    this.#bounds = bounds;
  }

  /** Counts the tries of an exchange that has ended. */
  count({ attempts }: Exchange): void {
    for (const attempt of attempts) this.#at(attempt).count(attempt);
  }

  /** What it has counted. */
  get families(): MetricFamily[] {
    const each = (collect: (tries: Tries, add: AddSample) => void) => (add: AddSample) => {
      for (const tries of this.#upstreams.values()) collect(tries, add);
    };
    const labels = ['upstream'];
    return [
      {
        name: 'headrace_upstream_tries_total',
        help: 'Tries at an upstream, by the class of the status that came of them.',
        type: 'counter',
        labels: ['upstream', 'status'],
        collect: each(({ byStatus, labels }, add) => {
          byStatus.forEach((count, digit) => {
            const status = digit === 0 ? 'none' : `${digit}xx`;
            if (count > 0) add(count, { ...labels, status });
          });
        }),
      },
      {
        name: 'headrace_upstream_failures_total',
        help: 'Tries that failed, by the code of the error.',
        type: 'counter',
        labels: ['upstream', 'code'],
        collect: each(({ failures, labels }, add) => {
          for (const [code, count] of failures) add(count, { ...labels, code });
        }),
      },
      {
        name: 'headrace_upstream_time_to_head_seconds',
        help: 'From the beginning of a try to the head of the response.',
        type: 'histogram',
        labels,
        collect: each(({ timeToHead, labels }, add) => timeToHead.collect(add, labels)),
      },
      {
        name: 'headrace_upstream_connect_seconds',
        help: 'How long tries waited for a connection: for a new one to be made, or for one to come free.',
        type: 'histogram',
        labels,
        collect: each(({ connecting, labels }, add) => connecting.collect(add, labels)),
      },
    ];
  }

  #at({ upstream, startedAt }: Attempt): Tries {
    const label = upstreamLabel(upstream);
    const known = this.#upstreams.get(label);
    if (known !== undefined) {
      known.usedAt = startedAt;
      return known;
    }
    if (this.#upstreams.size >= MAX_UPSTREAMS) this.#forget(startedAt);
    const name = this.#upstreams.size < MAX_UPSTREAMS ? label : 'other';
    const tries = this.#upstreams.get(name) ?? new Tries(name, this.#bounds);
    tries.usedAt = startedAt;
    this.#upstreams.set(name, tries);
    return tries;
  }

  #forget(now: number): void {
    if (now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    for (const [name, { usedAt }] of this.#upstreams) {
      if (now - usedAt > FORGET_AFTER_MS) this.#upstreams.delete(name);
    }
  }
}

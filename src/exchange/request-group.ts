import { STATUS_CODES } from 'node:http';
import { BucketHistogram } from './bucket-histogram.js';
import { clientStatus } from './client-status.js';
import { ProxyErrorCode } from './error-codes.js';
import type { Exchange } from './exchange.js';
import type { Labels } from './exposition.js';
import type { OutcomeType } from './outcome.js';

const OUTCOMES: readonly OutcomeType[] = ['completed', 'failed', 'client-closed', 'upgraded'];

/** A count, with the labels that it is exposed with. */
export interface Count {
  readonly labels: Labels;
  value: number;
}

/** What is counted of the requests that have the same method, route and labels. */
export class RequestGroup {
  readonly labels: Labels;
  /** By status and outcome, as one number. */
  readonly #requests = new Map<number, Count>();
  readonly #failures = new Map<string, Count>();
  readonly duration: BucketHistogram;
  readonly timeToHead: BucketHistogram;
  sent = 0;
  received = 0;
  retries = 0;
  retriesRefused = 0;
  degraded = 0;

  constructor(labels: Labels, bounds: Float64Array) {
    this.labels = labels;
    this.duration = new BucketHistogram(bounds);
    this.timeToHead = new BucketHistogram(bounds);
  }

  /** Requests that have ended, by status and outcome. */
  get requests(): Iterable<Count> {
    return this.#requests.values();
  }

  /** What went wrong, by code. */
  get failures(): Iterable<Count> {
    return this.#failures.values();
  }

  /** Counts an exchange that has ended. */
  count(exchange: Exchange): void {
    const { attempts, startedAt, outcome } = exchange;
    if (outcome === undefined) return;
    const { type, durationMs, error } = outcome;
    this.#countRequest(statusOf(exchange), type);
    // A tunnel lasts as long as somebody talks, and its bytes are no bodies.
    if (type !== 'upgraded') {
      this.duration.record(durationMs);
      this.sent += outcome.bytesSent;
      this.received += outcome.bytesReceived;
    }
    if (attempts.length > 0) {
      const last = attempts[attempts.length - 1];
      if (last?.headAt !== undefined) this.timeToHead.record(last.headAt - startedAt);
      this.retries += attempts.length - 1;
    }
    if (exchange.isOutOfRetries) this.retriesRefused += 1;
    if (outcome.degraded) this.degraded += 1;
    if (error !== undefined) this.#countFailure(knownCode(error));
  }

  #countRequest(status: number, type: OutcomeType): void {
    const key = status * OUTCOMES.length + OUTCOMES.indexOf(type);
    let count = this.#requests.get(key);
    if (count === undefined) {
      const written = status < 10 ? `${status}xx` : String(status);
      count = { labels: { ...this.labels, status: written, outcome: type }, value: 0 };
      this.#requests.set(key, count);
    }
    count.value += 1;
  }

  #countFailure(code: string): void {
    let count = this.#failures.get(code);
    if (count === undefined) {
      count = { labels: { ...this.labels, code }, value: 0 };
      this.#failures.set(code, count);
    }
    count.value += 1;
  }
}

/** The code of an error; those that are not headrace's could be any text. */
function knownCode(error: unknown): string {
  const code = String((error as { code?: unknown } | null)?.code);
  return Object.hasOwn(ProxyErrorCode, code) ? code : 'other';
}

/** What the client has got. An upstream can make statuses up: of those, the first digit is enough. */
function statusOf(exchange: Exchange): number {
  const status = clientStatus(exchange);
  if (status === 499 || STATUS_CODES[status] !== undefined) return status;
  return Math.min(9, Math.max(0, Math.floor(status / 100)));
}

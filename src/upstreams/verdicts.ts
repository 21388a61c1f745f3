import { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import { ignore } from '../ignore.js';
import type { CircuitSettings, CircuitState } from './circuit.js';

/** What opossum divides its window into. */
const BUCKETS = 10;

/**
 * What opossum makes of the verdicts on a circuit that is closed or half-open. It counts them, and says
 * where they lead; the calls themselves never pass through it, and it gets no timer of its own.
 */
export class Verdicts {
  readonly #breaker: CircuitBreaker<[], never>;
  readonly #rotation = new EventEmitter();
  readonly #bucketMs: number;
  #bucket: CircuitBreaker.Bucket;
  #bucketAt: number;

  constructor(settings: CircuitSettings, state: 'closed' | 'half-open', now: number) {
    // An object of its own: opossum writes into what it is given.
    const options = {
      timeout: false,
      errorThresholdPercentage: settings.errorThresholdPercentage,
      volumeThreshold: settings.volumeThreshold,
      resetTimeout: settings.resetTimeoutMs,
      rollingCountTimeout: settings.windowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#rotation,
      state: { closed: state === 'closed', halfOpen: state === 'half-open' },
    };
    this.#breaker = new CircuitBreaker<[], never>(fail, options as CircuitBreaker.Options);
    this.#bucketMs = settings.windowMs / BUCKETS;
    this.#bucketAt = now;
    this.#bucket = this.#breaker.status.window[0] as CircuitBreaker.Bucket;
  }

  /** Counts one verdict, and returns the state that this leads to. It is of no more use once open. */
  count(good: boolean, now: number): CircuitState {
    this.#rotate(now);
    if (good) {
      // All that opossum makes of it, without the events and promises that nobody listens to.
      this.#bucket.fires += 1;
      this.#bucket.successes += 1;
      if (!this.#breaker.closed) this.#breaker.close();
      return 'closed';
    }
    this.#breaker.fire().catch(ignore);
    // With percentiles off, opossum still keeps a number for each call that nobody reads.
    this.#bucket.latencyTimes.length = 0;
    if (!this.#breaker.opened) return this.#breaker.closed ? 'closed' : 'half-open';
    // Ends the timer that opossum has set for half-opening: one timer serves all circuits.
    this.#breaker.shutdown();
    return 'open';
  }

  /** Makes up for the time that has gone by, in place of a timer that does so while nothing happens. */
  #rotate(now: number): void {
    const turns = Math.floor((now - this.#bucketAt) / this.#bucketMs);
    if (turns <= 0) return;
    this.#bucketAt += turns * this.#bucketMs;
    for (let i = Math.min(turns, BUCKETS); i > 0; i--) this.#rotation.emit('rotate');
    this.#bucket = this.#breaker.status.window[0] as CircuitBreaker.Bucket;
  }
}

/** What opossum calls in place of the upstream, to hear of a failure: what throws at once, it counts at once. */
function fail(): never {
  throw BAD;
}

const BAD = new Error('The upstream failed');

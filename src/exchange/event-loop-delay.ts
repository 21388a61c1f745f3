import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { bound, type MetricFamily } from './exposition.js';

const RESOLUTION_MS = 20;
/** What is told covers at least so much time, however many ask how often. */
const WINDOW_MS = 5_000;
const QUANTILES = [0.5, 0.9, 0.99, 1];

/** How late the event loop is: Node measures it by a timer, which keeps no process alive. */
export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #now: () => number;
  #since: number;
  #last: readonly number[] | undefined = undefined;

  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
    this.#histogram.enable();
  }

  /** Stops measuring. */
  close(): void {
    this.#histogram.disable();
  }

  /** The delays of the last window. */
  get family(): MetricFamily {
    return {
      name: 'headrace_event_loop_delay_seconds',
      help: 'How much later than due the event loop ran timers, over the last seconds.',
      type: 'summary',
      labels: [],
      collect: (add) => {
        this.#read().forEach((seconds, i) => {
          add(seconds, { quantile: bound(QUANTILES[i] as number) });
        });
      },
    };
  }

  #read(): readonly number[] {
    const now = this.#now();
    const isOver = Math.abs(now - this.#since) >= WINDOW_MS;
    if (this.#last !== undefined && !isOver) return this.#last;
    const delays = QUANTILES.map((q) => this.#quantile(q));
    if (isOver) {
      this.#last = delays;
      this.#since = now;
      this.#histogram.reset();
    }
    return delays;
  }

  /** Node counts the time between two runs of its timer; what is more than asked for is delay. */
  #quantile(q: number): number {
    if (this.#histogram.max === 0) return 0;
    const ns = q === 1 ? this.#histogram.max : this.#histogram.percentile(q * 100);
    return Math.max(0, ns / 1e9 - RESOLUTION_MS / 1_000);
  }
}

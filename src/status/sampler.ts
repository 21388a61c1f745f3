import type { UpstreamPool } from '../upstreams/pool.js';
import { PoolSample } from './pool-sample.js';

const STEP_MS = 1_000;

/** Steps in a point of an upstream's chart. */
const STEPS_IN_POINT = 5;

/** Most steps that a look stands for: beyond five minutes, there is nothing that could be shown of them. */
const MOST_STEPS = 300;

/** Looks at pools once a second, and knows how they were in the last five minutes. */
export class Sampler {
  readonly #pools: readonly PoolSample[];
  readonly #title: string;
  readonly #now: () => number;
  #at: number;
  #look = 0;
  #steps = 0;
  /** Steps and points that the last look stood for. */
  #latest = { steps: 0, points: 0 };
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(
    title: string,
    pools: Readonly<Record<string, UpstreamPool>>,
    now: () => number = () => performance.now(),
  ) {
    this.#title = title;
    this.#pools = Object.entries(pools).map(([name, pool]) => new PoolSample(name, pool));
    this.#now = now;
    this.#at = now();
  }

  /** Looks once a second until {@link stop}, and calls back each time. */
  start(onLook: () => void): void {
    this.#timer = setInterval(() => {
      if (this.look()) onLook();
    }, STEP_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks now. `false` when no time has gone by, which is what a clock says that was put back. */
  look(): boolean {
    const now = this.#now();
    const elapsedMs = now - this.#at;
    this.#at = now;
    if (!(elapsedMs > 0)) return false;
    // A process that was held up, or asleep, has left out steps.
    const steps = Math.min(Math.max(1, Math.round(elapsedMs / STEP_MS)), MOST_STEPS);
    const before = Math.floor(this.#steps / STEPS_IN_POINT);
    this.#steps += steps;
    const points = Math.floor(this.#steps / STEPS_IN_POINT) - before;
    this.#look += 1;
    this.#latest = { steps, points };
    for (const pool of this.#pools) pool.look(this.#look, elapsedMs, steps, points);
    return true;
  }

  /** Everything, as JSON: what a page needs to begin with. */
  snapshot(): string {
    const pools = this.#pools.map((pool) => pool.snapshot(this.#look));
    return `${this.#head({ title: this.#title })},"pools":[${pools.join()}]}`;
  }

  /** What has changed at the last look, as JSON. */
  frame(): string {
    const pools = this.#pools.map((pool) => pool.frame(this.#look));
    return `${this.#head(this.#latest)},"pools":[${pools.join()}]}`;
  }

  #head(more: object): string {
    return JSON.stringify({ ...more, at: new Date().toISOString() }).slice(0, -1);
  }
}

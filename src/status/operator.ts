import type { UpstreamPool } from '../upstreams/pool.js';
import type { Upstream } from '../upstreams/upstream.js';

/** How long an upstream is out that was ejected by hand. */
const EJECT_MS = 30_000;

/** Does by hand what health does by itself: takes upstreams out of use, and puts them back. */
export class Operator {
  readonly #pools: ReadonlyMap<string, UpstreamPool>;
  readonly #timers = new Map<Upstream, NodeJS.Timeout>();

  constructor(pools: Readonly<Record<string, UpstreamPool>>) {
    this.#pools = new Map(Object.entries(pools));
  }

  /** Does what is asked; what is wrong with that otherwise, as a status and a reason. */
  act(asked: URLSearchParams): [status: number, reason: string] | undefined {
    const pool = this.#pools.get(asked.get('pool') ?? '');
    const url = asked.get('upstream');
    const upstream = pool?.upstreams.find((one) => one.url === url);
    if (upstream === undefined) return [404, 'There is no such upstream in such a pool'];
    const action = asked.get('action');
    if (action === 'drain') this.#hold(upstream);
    else if (action === 'eject') this.#eject(upstream);
    else if (action === 'resume') this.#resume(upstream);
    else return [400, 'The action must be drain, eject or resume'];
    return undefined;
  }

  /** Puts those back whose time was not over: nobody would be left to do so. */
  close(): void {
    for (const upstream of [...this.#timers.keys()]) this.#release(upstream);
  }

  #hold(upstream: Upstream): void {
    clearTimeout(this.#timers.get(upstream));
    this.#timers.delete(upstream);
    upstream.bar('held');
  }

  #eject(upstream: Upstream): void {
    // One that is drained stays so until it is resumed.
    if (upstream.bars.has('held')) return;
    const timer = setTimeout(() => this.#release(upstream), EJECT_MS);
    timer.unref();
    this.#timers.set(upstream, timer);
    upstream.bar('held');
  }

  #resume(upstream: Upstream): void {
    this.#release(upstream);
    upstream.lift('ejected');
  }

  #release(upstream: Upstream): void {
    clearTimeout(this.#timers.get(upstream));
    this.#timers.delete(upstream);
    upstream.lift('held');
  }
}

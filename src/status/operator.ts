import type { UpstreamPool } from '../upstreams/pool.js';
import type { Upstream } from '../upstreams/upstream.js';

/** How long an upstream is out that was ejected by hand. */
const EJECT_MS = 30_000;

/** What puts those back that were ejected by hand; of all pages, since an upstream may be on several. */
const timers = new WeakMap<Upstream, NodeJS.Timeout>();

/** Does by hand what health does by itself: takes upstreams out of use, and puts them back. */
export class Operator {
  readonly #pools: ReadonlyMap<string, UpstreamPool>;
  readonly #ejected = new Map<Upstream, NodeJS.Timeout>();

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
    if (action === 'drain') hold(upstream);
    else if (action === 'eject') this.#eject(upstream);
    else if (action === 'resume') resume(upstream);
    else return [400, 'The action must be drain, eject or resume'];
    return undefined;
  }

  /** Puts those back whose time was not over: nobody would be left to do so. */
  close(): void {
    for (const [upstream, timer] of this.#ejected) {
      if (timers.get(upstream) === timer) release(upstream);
    }
    this.#ejected.clear();
  }

  #eject(upstream: Upstream): void {
    // One that is drained stays so until it is resumed.
    if (upstream.bars.has('held')) return;
    const timer = setTimeout(() => {
      this.#ejected.delete(upstream);
      release(upstream);
    }, EJECT_MS);
    timer.unref();
    this.#ejected.set(upstream, timer);
    timers.set(upstream, timer);
    upstream.bar('held');
  }
}

function hold(upstream: Upstream): void {
  clearTimeout(timers.get(upstream));
  timers.delete(upstream);
  upstream.bar('held');
}

function resume(upstream: Upstream): void {
  release(upstream);
  upstream.lift('ejected');
}

function release(upstream: Upstream): void {
  clearTimeout(timers.get(upstream));
  timers.delete(upstream);
  upstream.lift('held');
}

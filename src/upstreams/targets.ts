import { inspect } from '../options.js';
import { Upstream } from './upstream.js';

/** Targets that are kept with their connections; the oldest is closed for a new one beyond it. */
const MAX_KEPT = 1_000;

/** The upstreams behind targets that are named anew for each request. */
export class Targets {
  readonly #kept = new Map<string, Upstream>();

  /** The upstream for a target; the same one while it is kept. */
  get(target: string | URL, path: string): Upstream {
    const key = typeof target === 'string' ? target : (target as URL | undefined)?.href;
    if (key === undefined)
      throw new TypeError(`${path} must be an http(s) URL, received ${inspect(target)}`);
    return this.keep(key, () => new Upstream(target, path));
  }

  /** The upstream of a key; made when it is not there. */
  keep(key: string, make: () => Upstream): Upstream {
    let upstream = this.#kept.get(key);
    if (upstream === undefined) {
      upstream = make();
      this.#kept.set(key, upstream);
      if (this.#kept.size > MAX_KEPT) this.#closeOldest();
    }
    return upstream;
  }

  async close(): Promise<void> {
    const upstreams = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.all(upstreams.map((upstream) => upstream.close()));
  }

  #closeOldest(): void {
    for (const [key, upstream] of this.#kept) {
      this.#kept.delete(key);
      // What is in flight finishes; nobody waits for it here.
      void upstream.close();
      return;
    }
  }
}

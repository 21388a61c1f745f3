import { inspect } from '../options.js';
import { Upstream } from './upstream.js';

/** Targets that are kept with their connections; for one more, one is closed that was not asked for of late. */
const MAX_KEPT = 1_000;

interface Kept {
  readonly upstream: Upstream;
  /** Since it was last looked for one to close. */
  isUsed: boolean;
}

/** The upstreams behind targets that are named anew for each request. */
export class Targets {
  readonly #kept = new Map<string, Kept>();

  /** The upstream for a target; the same one while it is kept. */
  get(target: string | URL, path: string): Upstream {
    const key = typeof target === 'string' ? target : (target as URL | undefined)?.href;
    if (key === undefined)
      throw new TypeError(`${path} must be an http(s) URL, received ${inspect(target)}`);
    return this.keep(key, () => new Upstream(target, path));
  }

  /** The upstream of a key; made when it is not there. */
  keep(key: string, make: () => Upstream): Upstream {
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      kept.isUsed = true;
      return kept.upstream;
    }
    const upstream = make();
    if (this.#kept.size >= MAX_KEPT) this.#closeOne();
    this.#kept.set(key, { upstream, isUsed: false });
    return upstream;
  }

  async close(): Promise<void> {
    const kept = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.all(kept.map(({ upstream }) => upstream.close()));
  }

  /** The oldest that was not used since it was last looked here; those that were go behind the newest. */
  #closeOne(): void {
    for (const [key, kept] of this.#kept) {
      this.#kept.delete(key);
      if (!kept.isUsed) {
        // What is in flight finishes; nobody waits for it here.
        void kept.upstream.close();
        return;
      }
      kept.isUsed = false;
      this.#kept.set(key, kept);
    }
  }
}

import { callable, oneOf } from '../options.js';
import { callListener } from '../warnings.js';
import type { PoolListener, UpstreamPoolEvents } from './pool-options.js';

/** What a pool tells. */
const EVENTS: readonly string[] = Object.keys({
  change: true,
  ejected: true,
  recovered: true,
  circuit: true,
  drained: true,
  discoveryError: true,
} satisfies Record<keyof UpstreamPoolEvents, true>);

/** A listener, whatever it listens to. */
type Listener = (...args: readonly unknown[]) => unknown;

/** The listeners of a pool. One that throws must not pass for a source that fails, or take the process with it. */
export class PoolEvents {
  readonly #listeners = new Map<string, readonly Listener[]>();

  on<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): void {
    check('on', event, listener);
    this.#listeners.set(event, [...this.#of(event), listener as Listener]);
  }

  /** Takes a listener off, once for each time that it was put on. */
  off<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): void {
    check('off', event, listener);
    const listeners = this.#of(event);
    const at = listeners.lastIndexOf(listener as Listener);
    if (at !== -1) this.#listeners.set(event, listeners.toSpliced(at, 1));
  }

  /** Whether anybody wants to hear of it. */
  isHeard(event: keyof UpstreamPoolEvents): boolean {
    return this.#of(event).length > 0;
  }

  tell<K extends keyof UpstreamPoolEvents>(event: K, ...args: UpstreamPoolEvents[K]): void {
    for (const listener of this.#of(event)) {
      callListener(`A listener of pool.on('${event}') threw`, listener, ...args);
    }
  }

  #of(event: string): readonly Listener[] {
    return this.#listeners.get(event) ?? [];
  }
}

function check(method: 'on' | 'off', event: string, listener: unknown): void {
  oneOf(`pool.${method}(): the event`, event, EVENTS);
  callable(`pool.${method}('${event}'): the listener`, listener);
}

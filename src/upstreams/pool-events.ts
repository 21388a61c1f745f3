import { EventEmitter } from 'node:events';
import { warnOfThrown } from '../warnings.js';
import type { PoolListener, UpstreamPoolEvents } from './pool-options.js';

/** The listeners of a pool. One that throws must not pass for a source that fails, or take the process with it. */
export class PoolEvents {
  readonly #emitter = new EventEmitter();

  on<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): void {
    this.#emitter.on(event, listener);
  }

  off<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): void {
    this.#emitter.off(event, listener);
  }

  /** Whether anybody wants to hear of it. */
  isHeard(event: keyof UpstreamPoolEvents): boolean {
    return this.#emitter.listenerCount(event) > 0;
  }

  tell<K extends keyof UpstreamPoolEvents>(event: K, ...args: UpstreamPoolEvents[K]): void {
    try {
      this.#emitter.emit(event, ...args);
    } catch (error) {
      warnOfThrown(`A listener of pool.on('${event}') threw`, error);
    }
  }
}

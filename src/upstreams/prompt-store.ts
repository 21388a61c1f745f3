import { Deadline } from '../deadline.js';
import { RateLimitStoreError } from '../exchange/errors.js';
import { inspect } from '../options.js';
import { isPromise } from '../promises.js';
import type { RateLimitInfo, RateLimitStore } from './rate-limit.js';

/** How {@link PromptStore} deals with a store. */
export interface PromptStoreSettings {
  /** How long an answer may take. */
  readonly timeoutMs: number;
  readonly now: () => number;
}

/**
 * A store that answers in time or fails. Clients of databases tend to keep commands until a lost
 * connection is there again: each request would wait for that, and all of them would be counted then. So
 * once an answer is overdue, requests fail at once, but for one from time to time that asks anew. The
 * first answer, even a late one, ends that.
 */
export class PromptStore {
  /** Whether it counts for this process alone. Such a store is not waited for, nor watched. */
  readonly localKeys: boolean;
  readonly prefix: string | undefined;
  readonly #store: RateLimitStore;
  readonly #settings: PromptStoreSettings;
  #options: { readonly windowMs: number } = { windowMs: 0 };
  #mustInit = false;
  #isOverdue = false;
  #askAgainAt = 0;

  constructor(store: RateLimitStore, settings: PromptStoreSettings) {
    this.#store = store;
    this.#settings = settings;
    this.localKeys = store.localKeys === true;
    this.prefix = store.prefix;
  }

  init(options: { readonly windowMs: number }): unknown {
    this.#options = options;
    return this.#init();
  }

  /** Counts one request. @throws RateLimitStoreError when that fails, or takes too long. */
  increment(key: string): Promise<RateLimitInfo> {
    if (this.localKeys) return this.#count(key).catch(fail);
    if (this.#mayAsk()) return this.#inTime(this.#count(key));
    return Promise.reject(this.#overdue());
  }

  async decrement(key: string): Promise<void> {
    if (!this.#isOverdue) await this.#store.decrement(key);
  }

  async resetKey(key: string): Promise<void> {
    await this.#store.resetKey(key);
  }

  async get(key: string): Promise<RateLimitInfo | undefined> {
    if (this.#store.get === undefined) throw new Error('This store does not tell what it counts');
    return this.#store.get(key);
  }

  async shutdown(): Promise<void> {
    await this.#store.shutdown?.();
  }

  /** A store that was out of reach at the start is not ready: it gets another chance with each request. */
  #init(): unknown {
    this.#mustInit = false;
    const pending = this.#store.init?.(this.#options);
    if (!isPromise(pending)) return pending;
    return pending.then(undefined, (error: unknown) => {
      this.#mustInit = true;
      throw error;
    });
  }

  async #count(key: string): Promise<RateLimitInfo> {
    if (this.#mustInit) await this.#init();
    const info: RateLimitInfo | undefined = await this.#store.increment(key);
    if (Number.isFinite(info?.totalHits) && isTime(info?.resetTime)) return info as RateLimitInfo;
    throw new TypeError(
      `increment() of the store must return totalHits and resetTime, received ${inspect(info)}`,
    );
  }

  #mayAsk(): boolean {
    if (!this.#isOverdue) return true;
    const time = this.#settings.now();
    if (time < this.#askAgainAt) return false;
    this.#askAgainAt = time + this.#settings.timeoutMs;
    return true;
  }

  #inTime(pending: Promise<RateLimitInfo>): Promise<RateLimitInfo> {
    const { timeoutMs, now } = this.#settings;
    return new Promise((resolve, reject) => {
      const deadline = new Deadline(timeoutMs, () => {
        this.#isOverdue = true;
        this.#askAgainAt = now() + timeoutMs;
        reject(this.#overdue());
      });
      pending.then(
        (info) => {
          deadline.end();
          this.#isOverdue = false;
          resolve(info);
        },
        (cause: unknown) => {
          deadline.end();
          reject(storeError(cause));
        },
      );
    });
  }

  #overdue(): RateLimitStoreError {
    return storeError(new Error(`no answer within ${this.#settings.timeoutMs} ms`));
  }
}

/** When to come again: nobody can know, so soon. */
const HEADERS = { 'Retry-After': '1' };

function storeError(cause: unknown): RateLimitStoreError {
  return new RateLimitStoreError({ cause, headers: HEADERS });
}

function fail(cause: unknown): never {
  throw storeError(cause);
}

/** Whether a store may say so: it may know no time, but not one that is none. */
function isTime(value: unknown): boolean {
  return value === undefined || (value instanceof Date && !Number.isNaN(value.getTime()));
}

import { callListener } from '../warnings.js';
import { type FetchLimits, fetchJson } from './fetch-json.js';
import type { Jose } from './jose.js';
import { usableKeys } from './jwt-keys.js';

type LocalKeys = ReturnType<Jose['createLocalJWKSet']>;

/** Finds the key for a token by its header: what `jose` asks for. */
export type KeyFinder = (...token: Parameters<LocalKeys>) => ReturnType<LocalKeys>;

/** How keys are fetched, and how long they are used. */
export interface RemoteKeysSettings extends FetchLimits {
  readonly url: string;
  readonly maxAgeMs: number;
  readonly staleMs: number;
  readonly cooldownMs: number;
  readonly now: () => number;
  /** Is told that a fetch failed, whether or not the keys at hand make up for it. */
  readonly onError: ((error: Error) => void) | undefined;
  /** Other keys have come than were there before. */
  readonly onChange: () => void;
}

/** The first pause after a fetch that failed; it doubles from there. */
const FIRST_PAUSE_MS = 1_000;
const MAX_WAITING = 1_000;

/**
 * The public keys of an issuer. They are fetched when they are needed and have become old, by one fetch
 * at a time; when that fails, the old ones are used for a while. A token with a key that nobody knows
 * has them fetched as well, but not again and again.
 */
export class RemoteKeys {
  readonly #settings: RemoteKeysSettings;
  #waiting = 0;
  #find: KeyFinder | undefined = undefined;
  #text = '';
  #fetchedAt = -Infinity;
  #failures = 0;
  #failedAt = -Infinity;
  #failure: Error | undefined = undefined;
  #askedForUnknownAt = -Infinity;
  #fetching: Promise<void> | undefined = undefined;

  constructor(settings: RemoteKeysSettings) {
    this.#settings = settings;
  }

  /** Fetches the keys when they have become old, without keeping anybody waiting. */
  keepFresh(jose: Jose): void {
    if (!this.#isFresh() && !this.#pauses()) void this.#fetch(jose);
  }

  /**
   * The key for a token's header.
   *
   * @throws Error of `jose` when there is none, or the one that no keys could be had with.
   */
  async find(jose: Jose, ...token: Parameters<KeyFinder>): Promise<Awaited<ReturnType<KeyFinder>>> {
    // What is being asked for on account of others is no matter of keys that are here, and fresh.
    if (!this.#isFresh() && !this.#pauses()) await this.#waitOrMakeDo(jose);
    try {
      return await this.#usable()(...token);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error;
      await this.#fetchForUnknown(jose);
      return await this.#usable()(...token);
    }
  }

  /** The keys at hand, as long as they may be used. */
  #usable(): KeyFinder {
    const { staleMs, maxAgeMs, now } = this.#settings;
    if (this.#find !== undefined && now() - this.#fetchedAt < maxAgeMs + staleMs) return this.#find;
    throw this.#failure ?? new Error('no keys have been fetched');
  }

  #isFresh(): boolean {
    const { maxAgeMs, now } = this.#settings;
    return now() - this.#fetchedAt < maxAgeMs;
  }

  #pauses(): boolean {
    if (this.#failures === 0) return false;
    const { cooldownMs, now } = this.#settings;
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), cooldownMs);
    return now() - this.#failedAt < pauseMs;
  }

  async #fetchForUnknown(jose: Jose): Promise<void> {
    const { cooldownMs, now } = this.#settings;
    if (this.#fetching === undefined && !this.#pauses()) {
      // After a fetch that failed, its pause is what there is to wait for.
      if (this.#failures === 0 && now() - this.#askedForUnknownAt < cooldownMs) return;
      this.#askedForUnknownAt = now();
      await this.#wait(jose);
    } else if (this.#fetching !== undefined) {
      await this.#wait(jose);
    }
    // Whether the key has become a known one is what nobody can tell now.
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for new keys; where too many do, old ones will have to do. */
  async #waitOrMakeDo(jose: Jose): Promise<void> {
    try {
      await this.#wait(jose);
    } catch (error) {
      if (this.#find === undefined) throw error;
    }
  }

  /** Waits for the keys, as long as not everybody does: whoever wants to can make up unknown keys. */
  async #wait(jose: Jose): Promise<void> {
    if (this.#waiting >= MAX_WAITING) throw new Error('bearerJwt: too many requests wait for keys');
    this.#waiting += 1;
    try {
      await this.#fetch(jose);
    } finally {
      this.#waiting -= 1;
    }
  }

  #fetch(jose: Jose): Promise<void> {
    this.#fetching ??= this.#load(jose).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #load(jose: Jose): Promise<void> {
    const { url, now, onError, onChange } = this.#settings;
    try {
      const jwks = usableKeys(await fetchJson(url, this.#settings));
      const text = JSON.stringify(jwks);
      if (text !== this.#text) {
        this.#find = jose.createLocalJWKSet(jwks as Parameters<Jose['createLocalJWKSet']>[0]);
        this.#text = text;
        onChange();
      }
      this.#fetchedAt = now();
      this.#failures = 0;
      this.#failure = undefined;
    } catch (cause) {
      this.#failures += 1;
      this.#failedAt = now();
      this.#failure = new Error('bearerJwt: the keys could not be fetched', { cause });
      if (onError !== undefined)
        callListener('bearerJwt: jwks.onError() threw', onError, this.#failure);
    }
  }
}

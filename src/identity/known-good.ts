import { hash, randomBytes } from 'node:crypto';
import type { Identity } from '../exchange/identity.js';

interface Entry {
  readonly identity: Identity;
  readonly until: number;
}

/**
 * Remembers whom credentials belong to until they expire, the most recently used ones. They are kept as
 * hashes that nobody outside this process can make: a dump of its memory holds no key to anything.
 */
export class KnownGood {
  readonly #salt = randomBytes(32).toString('base64');
  readonly #entries = new Map<string, Entry>();
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
  }

  /** The name under which credentials are kept. */
  keyOf(credentials: string): string {
    return hash('sha256', this.#salt + credentials, 'base64');
  }

  /** Whose credentials they are, if that is known. */
  get(key: string, now: number): Identity | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (now >= entry.until) return undefined;
    this.#entries.set(key, entry);
    return entry.identity;
  }

  /** Remembers an identity; the least recently used one makes room. */
  set(key: string, identity: Identity, until: number): void {
    if (this.#size === 0) return;
    this.#entries.delete(key);
    if (this.#entries.size >= this.#size) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    this.#entries.set(key, { identity, until });
  }

  /** Forgets all: what they were checked against has changed. */
  clear(): void {
    this.#entries.clear();
  }
}

/** Makes a value that many requests share unchangeable, all the way down. */
export function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner);
  }
  return value;
}

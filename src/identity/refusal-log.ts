import { callListener } from '../warnings.js';

/** How often clients were refused for a reason. */
export interface Refusals {
  /** The kind of credentials; all kinds together where there were none. */
  readonly scheme: string;
  /** What was wrong with them. */
  readonly reason: string;
  /** How many, since this was last told. */
  readonly count: number;
}

/** A verifier of one's own may have made its reasons of what clients wrote. */
const MAX_REASONS = 100;

/**
 * Counts refusals, and tells of each kind once a window: a flood of bad tokens is one line, with its
 * number in the next one. There is no timer; what nobody follows up is told with the next one.
 */
export class RefusalLog {
  readonly #listener: (refusals: Refusals) => void;
  readonly #windowMs: number;
  readonly #now: () => number;
  readonly #kinds = new Map<string, { count: number; toldAt: number }>();

  constructor(listener: (refusals: Refusals) => void, windowMs: number, now: () => number) {
    this.#listener = listener;
    this.#windowMs = windowMs;
    this.#now = now;
  }

  /** Counts one. */
  add(scheme: string, why: string): void {
    let reason = why;
    let kind = this.#kinds.get(`${scheme} ${reason}`);
    if (kind === undefined) {
      if (this.#kinds.size >= MAX_REASONS) reason = 'other';
      kind = this.#kinds.get(`${scheme} ${reason}`) ?? { count: 0, toldAt: -Infinity };
      this.#kinds.set(`${scheme} ${reason}`, kind);
    }
    kind.count += 1;
    const now = this.#now();
    if (now - kind.toldAt < this.#windowMs) return;
    const { count } = kind;
    kind.count = 0;
    kind.toldAt = now;
    callListener('authenticate: log() threw', this.#listener, { scheme, reason, count });
  }
}

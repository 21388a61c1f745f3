import { CircuitOpenError } from '../exchange/errors.js';
import type { Upstream } from './upstream.js';
import { Verdicts } from './verdicts.js';

/** Whether calls pass: all of them, none, or one to see how it fares. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** How a circuit stands. Times are of `performance.now()`. */
export interface CircuitStatus {
  readonly state: CircuitState;
  /** Since when it has been in this state. */
  readonly since: number;
  /** When it last opened out of being closed, probes that failed since not counted; `undefined` while closed. */
  readonly openedAt: number | undefined;
}

/** A circuit has changed its state. */
export interface CircuitChange extends CircuitStatus {
  readonly previous: CircuitState;
  /** What it protects; `undefined` for a circuit of a route or a key. */
  readonly upstream: Upstream | undefined;
  /** The route or key; `undefined` for a circuit of an upstream. */
  readonly key: string | undefined;
}

/** What circuits go by. */
export interface CircuitSettings {
  readonly errorThresholdPercentage: number;
  readonly volumeThreshold: number;
  readonly windowMs: number;
  readonly resetTimeoutMs: number;
  readonly now: () => number;
}

/** Who has to know how a circuit fares. */
export interface CircuitObserver {
  /** It has changed its state. */
  changed(circuit: Circuit, previous: CircuitState): void;
  /** While it is half-open: the place for the probe has been taken, or has become free again. */
  probing(circuit: Circuit): void;
}

/** What {@link Circuit.admit} says of a call that may not pass. */
export const REFUSED = 0;

/**
 * One circuit. A call that may pass gets a number, under which its verdict is told; verdicts on calls of
 * an earlier state say nothing about this one and are dropped.
 */
export class Circuit implements CircuitStatus {
  readonly upstream: Upstream | undefined;
  readonly key: string | undefined;
  state: CircuitState = 'closed';
  since: number;
  openedAt: number | undefined = undefined;

  readonly #settings: CircuitSettings;
  readonly #observer: CircuitObserver;
  #turn = 1;
  #isProbed = false;
  #verdicts: Verdicts | undefined = undefined;

  constructor(subject: Upstream | string, settings: CircuitSettings, observer: CircuitObserver) {
    this.upstream = typeof subject === 'string' ? undefined : subject;
    this.key = typeof subject === 'string' ? subject : undefined;
    this.#settings = settings;
    this.#observer = observer;
    this.since = settings.now();
  }

  /** Whether the next call would be let through as the probe. */
  get awaitsProbe(): boolean {
    return this.state === 'half-open' && !this.#isProbed;
  }

  /** How long it stays open, in milliseconds; 0 when it is not. */
  get waitMs(): number {
    if (this.state !== 'open') return 0;
    return Math.max(0, this.since + this.#settings.resetTimeoutMs - this.#settings.now());
  }

  /** Whether a call may pass: the number to settle it under, or {@link REFUSED}. */
  admit(): number {
    if (this.state === 'closed') return this.#turn;
    if (this.waitMs === 0) this.halfOpen();
    if (!this.awaitsProbe) return REFUSED;
    this.#isProbed = true;
    this.#observer.probing(this);
    return this.#turn;
  }

  /** How a call went; `undefined` when that says nothing about the upstream. Later words on it are ignored. */
  settle(turn: number, good: boolean | undefined): void {
    if (turn !== this.#turn) return;
    if (good !== undefined) return this.#count(good);
    if (!this.#isProbed) return;
    // Another probe may pass; should this one still have something to say, it is too late.
    this.#isProbed = false;
    this.#turn += 1;
    this.#observer.probing(this);
  }

  /** Lets a probe pass, if it is open. */
  halfOpen(): void {
    if (this.state === 'open') this.#become('half-open', this.#settings.now());
  }

  #count(good: boolean): void {
    const now = this.#settings.now();
    this.#verdicts ??= new Verdicts(this.#settings, 'closed', now);
    const next = this.#verdicts.count(good, now);
    if (next !== this.state) this.#become(next, now);
  }

  #become(next: CircuitState, now: number): void {
    const previous = this.state;
    this.state = next;
    this.since = now;
    this.#turn += 1;
    this.#isProbed = false;
    if (next === 'open') {
      this.openedAt ??= now;
      this.#verdicts = undefined;
    } else if (next === 'half-open') {
      // A window of its own: what came before the opening would open it again at the first failure.
      this.#verdicts = new Verdicts(this.#settings, 'half-open', now);
    } else {
      this.openedAt = undefined;
    }
    this.#observer.changed(this, previous);
  }
}

/** The error for a call that is not let through, with the time after which it makes sense again. */
export function circuitOpenError(waitMs: number, upstream?: Upstream): CircuitOpenError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1_000));
  return new CircuitOpenError({ upstream, headers: { 'Retry-After': String(seconds) } });
}

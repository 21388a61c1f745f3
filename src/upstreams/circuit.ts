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
  /** The number of the calls of a closed circuit; while it is half-open, of the last probe. */
  #turn = 1;
  /** Probes that may still have something to say: late ones, too. */
  readonly #probes = new Set<number>();
  #isProbed = false;
  #probedAt = 0;
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
    return this.state === 'open' ? this.#leftOf(this.since) : 0;
  }

  /** How long until {@link letProbePass} has something to do, in milliseconds: time alone brings that about. */
  get dueMs(): number {
    return this.#isProbed ? this.#leftOf(this.#probedAt) : this.waitMs;
  }

  /** Whether a call may pass: the number to settle it under, or {@link REFUSED}. */
  admit(): number {
    if (this.state === 'closed') return this.#turn;
    this.letProbePass();
    if (!this.awaitsProbe) return REFUSED;
    this.#turn += 1;
    this.#probes.add(this.#turn);
    this.#isProbed = true;
    this.#probedAt = this.#settings.now();
    const turn = this.#turn;
    this.#observer.probing(this);
    return turn;
  }

  /** How a call went; `undefined` when that says nothing about the upstream. Later words on it are ignored. */
  settle(turn: number, good: boolean | undefined): void {
    const counts = this.state === 'half-open' ? this.#probes.delete(turn) : turn === this.#turn;
    if (!counts) return;
    if (good !== undefined) return this.#count(good);
    if (turn === this.#turn) this.#freePlace();
  }

  /**
   * Lets a probe pass, where it is time for one: it has been open for long enough, or the probe under way
   * has said nothing for as long. A slow upload must not keep all others out; and where every call takes
   * that long, the verdict of a late one still counts, or the circuit could never close.
   */
  letProbePass(): void {
    if (this.dueMs > 0) return;
    this.halfOpen();
    this.#freePlace();
  }

  /** Lets a probe pass, if it is open. */
  halfOpen(): void {
    if (this.state === 'open') this.#become('half-open', this.#settings.now());
  }

  #leftOf(start: number): number {
    return Math.max(0, start + this.#settings.resetTimeoutMs - this.#settings.now());
  }

  #freePlace(): void {
    if (!this.#isProbed) return;
    this.#isProbed = false;
    this.#observer.probing(this);
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
    this.#probes.clear();
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

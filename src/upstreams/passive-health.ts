import { fraction, inspect, known, milliseconds, wholeNumber } from '../options.js';
import type { Upstream } from './upstream.js';

/** When requests that fail put an upstream out for a while. */
export interface PassiveHealthOptions {
  /**
   * Failures within `windowMs` that eject.
   *
   * @default 5
   */
  readonly maxFailures?: number | undefined;
  /**
   * @default 10_000
   */
  readonly windowMs?: number | undefined;
  /**
   * How long the first ejection lasts; each further one in a row lasts twice as long.
   *
   * @default 10_000
   */
  readonly ejectMs?: number | undefined;
  /**
   * The longest ejection. By default `300_000`, or `ejectMs` where that is longer.
   *
   * @default 300_000
   */
  readonly maxEjectMs?: number | undefined;
  /**
   * Most of the pool that may be out at once, as a share. It holds for upstreams with nothing in reserve
   * behind them: any number of the others may be out. With 0, none is ever put out.
   *
   * @default 0.5
   */
  readonly maxEjectedRatio?: number | undefined;
  /**
   * Statuses that count as failures beside lost connections and timeouts.
   *
   * @default [502, 503, 504]
   */
  readonly statuses?: readonly number[] | undefined;
}

/** What passive health needs to know of its pool. */
export interface EjectionScope {
  /** All upstreams, those that are out included. */
  upstreams(): readonly Upstream[];
  readonly now: () => number;
  /** Keeps an upstream to its share that fails and cannot be put out, until it answers well. */
  limit(upstream: Upstream): void;
  unlimit(upstream: Upstream): void;
}

/** What is remembered of one upstream. */
interface Record {
  /** Times of the latest failures, oldest first, at most `maxFailures` of them. */
  failures: number[];
  /** Ejections in a row. */
  ejections: number;
  /** When it may come back. */
  until: number;
  timer: NodeJS.Timeout | undefined;
}

/** Takes upstreams out of use that fail again and again, and lets them back after a while. */
export class PassiveHealth {
  readonly #settings: Required<{
    [K in keyof PassiveHealthOptions]: NonNullable<PassiveHealthOptions[K]>;
  }>;
  readonly #scope: EjectionScope;
  readonly #records = new Map<Upstream, Record>();

  /** On, unless it is turned off. */
  static of(
    factory: string,
    options: PassiveHealthOptions | false,
    scope: EjectionScope,
  ): PassiveHealth | undefined {
    return options === false ? undefined : new PassiveHealth(factory, options, scope);
  }

  private constructor(factory: string, options: PassiveHealthOptions, scope: EjectionScope) {
    const {
      maxFailures = 5,
      windowMs = 10_000,
      ejectMs = 10_000,
      maxEjectMs = Math.max(300_000, ejectMs),
      maxEjectedRatio = 0.5,
      statuses = [502, 503, 504],
    } = known(factory, options, [
      'maxFailures',
      'windowMs',
      'ejectMs',
      'maxEjectMs',
      'maxEjectedRatio',
      'statuses',
    ]);
    wholeNumber(`${factory}.maxFailures`, maxFailures, 1);
    milliseconds(`${factory}.windowMs`, windowMs);
    milliseconds(`${factory}.ejectMs`, ejectMs);
    milliseconds(`${factory}.maxEjectMs`, maxEjectMs, ejectMs);
    fraction(`${factory}.maxEjectedRatio`, maxEjectedRatio);
    if (!Array.isArray(statuses)) {
      throw new TypeError(`${factory}.statuses must be an array, received ${inspect(statuses)}`);
    }
    for (const [i, status] of statuses.entries()) {
      wholeNumber(`${factory}.statuses[${i}]`, status, 200, 599);
    }
    this.#settings = { maxFailures, windowMs, ejectMs, maxEjectMs, maxEjectedRatio, statuses };
    this.#scope = scope;
  }

  /** An answer came. A good one ends a row of ejections. */
  answered(upstream: Upstream, status: number): void {
    if (this.#settings.statuses.includes(status)) {
      this.#count(upstream);
    } else if (this.#records.size > 0) {
      const record = this.#records.get(upstream);
      if (record === undefined) return;
      if (!upstream.bars.has('ejected')) record.ejections = 0;
      this.#scope.unlimit(upstream);
    }
  }

  /** A try failed without one, or broke off in the middle of it. */
  failed(upstream: Upstream, code: string): void {
    // What the client did is not the upstream's doing.
    if (!BLAMELESS.has(code)) this.#count(upstream);
  }

  /** Forgets an upstream that has left the pool. */
  forget(upstream: Upstream): void {
    clearTimeout(this.#records.get(upstream)?.timer);
    this.#records.delete(upstream);
  }

  close(): void {
    for (const { timer } of this.#records.values()) clearTimeout(timer);
    this.#records.clear();
  }

  #count(upstream: Upstream): void {
    const { maxFailures, windowMs } = this.#settings;
    const record = this.#recordOf(upstream);
    const now = this.#scope.now();
    record.failures.push(now);
    if (record.failures.length > maxFailures) record.failures.shift();
    const oldest = record.failures[0] as number;
    if (record.failures.length === maxFailures && now - oldest <= windowMs)
      this.#eject(upstream, record);
  }

  #eject(upstream: Upstream, record: Record): void {
    if (upstream.bars.has('ejected')) return;
    if (!this.#mayEject(upstream)) {
      this.#scope.limit(upstream);
      return this.#letBack(upstream);
    }
    const { ejectMs, maxEjectMs } = this.#settings;
    const duration = Math.min(ejectMs * 2 ** Math.min(record.ejections, 30), maxEjectMs);
    record.ejections += 1;
    record.failures = [];
    record.until = this.#scope.now() + duration;
    // One that somebody has put back meanwhile left its timer behind.
    clearTimeout(record.timer);
    record.timer = setTimeout(() => upstream.lift('ejected'), duration);
    record.timer.unref();
    upstream.bar('ejected');
  }

  /**
   * Whether this one may be out too: always, where one in reserve is there for it. Else what has none in
   * reserve must not all go, or a fault that they share takes everything. And never the last one in use: a
   * bad upstream is better than none.
   */
  #mayEject(candidate: Upstream): boolean {
    const { maxEjectedRatio } = this.#settings;
    const upstreams = this.#scope.upstreams();
    let last = -1;
    for (const upstream of upstreams) {
      if (upstream !== candidate && upstream.well) last = Math.max(last, upstream.priority);
    }
    if (last > candidate.priority) return maxEjectedRatio > 0;
    const uncovered = upstreams.filter(({ priority }) => priority >= last);
    const ejected = uncovered.filter(({ bars }) => bars.has('ejected')).length;
    return last !== -1 && ejected + 1 <= uncovered.length * maxEjectedRatio;
  }

  /**
   * One in reserve fails as well, and cannot be put out. Then no more are out than could be without it:
   * those come back that would be next. Or one that is well again would wait behind a reserve that is not.
   */
  #letBack({ priority }: Upstream): void {
    const upstreams = this.#scope.upstreams();
    const allowed = Math.floor(upstreams.length * this.#settings.maxEjectedRatio);
    const tooMany = upstreams.filter(({ bars }) => bars.has('ejected')).length - allowed;
    if (tooMany <= 0) return;
    const before = [...this.#records]
      .filter(([upstream]) => upstream.priority < priority && upstream.bars.has('ejected'))
      .sort(([, one], [, other]) => one.until - other.until);
    for (const [upstream, record] of before.slice(0, tooMany)) {
      clearTimeout(record.timer);
      // It was not out for as long as it was to be: the next time is no longer.
      record.ejections = Math.max(0, record.ejections - 1);
      upstream.lift('ejected');
    }
  }

  #recordOf(upstream: Upstream): Record {
    let record = this.#records.get(upstream);
    if (record === undefined) {
      record = { failures: [], ejections: 0, until: 0, timer: undefined };
      this.#records.set(upstream, record);
    }
    return record;
  }
}

/** Failures that are not the upstream's doing. */
export const BLAMELESS: ReadonlySet<string> = new Set([
  'ERR_PROXY_CLIENT_CLOSED',
  'ERR_PROXY_BODY_TOO_LARGE',
  'ERR_PROXY_BAD_REQUEST',
  'ERR_PROXY_BODY_CONSUMED',
  'ERR_PROXY_CIRCUIT_OPEN',
  'ERR_PROXY_OVERLOADED',
]);

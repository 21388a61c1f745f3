import { EventEmitter } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import type { Exchange } from '../exchange/exchange.js';
import { callable, inspect, known, milliseconds, oneOf } from '../options.js';
import { ActiveHealth, type ActiveHealthOptions, type Probe } from './active-health.js';
import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  type ConnectionSettings,
  connectionSettings,
} from './connection-settings.js';
import type { Discovery } from './discovery/discovery.js';
import { follow } from './discovery/follow.js';
import { PassiveHealth, type PassiveHealthOptions } from './passive-health.js';
import { SlowStart } from './slow-start.js';
import { type UpstreamStats, upstreamStats } from './stats.js';
import { type StrategyName, strategyNamed, strategyNames } from './strategies/index.js';
import type { Strategy } from './strategy.js';
import { type Bar, Upstream, type UpstreamInit, type UpstreamObserver } from './upstream.js';

/** How a pool finds out which of its upstreams are well. */
export interface HealthOptions {
  /** By the requests that fail. On by default; `false` turns it off. */
  readonly passive?: PassiveHealthOptions | false | undefined;
  /** By asking. Off unless it is given. */
  readonly active?: ActiveHealthOptions | undefined;
}

/** Options for {@link UpstreamPool}. */
export interface UpstreamPoolOptions {
  /**
   * How an upstream is chosen: by name, by one of the strategy factories, or by your own `{ pick }`.
   *
   * @default 'round-robin'
   */
  readonly strategy?: StrategyName | Strategy | undefined;
  /** When an upstream is not to be chosen for a while. */
  readonly health?: HealthOptions | undefined;
  /**
   * How long the share of a new or recovered upstream grows until it is a full one, in milliseconds.
   *
   * @default 0
   */
  readonly slowStartMs?: number | undefined;
  /** How the upstreams are connected to, where that differs from `proxyPass()`. */
  readonly transport?: ConnectionOptions | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
  /** Numbers from 0 to 1; for tests. */
  readonly random?: (() => number) | undefined;
}

/** What a pool tells, and with what. */
export interface UpstreamPoolEvents {
  /** The upstreams that may be chosen have changed. */
  change: [eligible: readonly Upstream[]];
  /** Something has come to stand against choosing an upstream. */
  ejected: [upstream: Upstream, bar: Bar];
  /** Nothing stands against it any more. */
  recovered: [upstream: Upstream];
  /** A removed upstream has finished what was in flight on it. */
  drained: [upstream: Upstream];
  /** The source of upstreams failed; the last good list stands. */
  discoveryError: [error: unknown];
}

/** Hears one kind of event. */
export type PoolListener<K extends keyof UpstreamPoolEvents> = (
  ...args: UpstreamPoolEvents[K]
) => void;

/** The names in {@link UpstreamPoolOptions}, for the check for unknown ones. */
export const POOL_OPTIONS = [
  'strategy',
  'health',
  'slowStartMs',
  'transport',
  'now',
  'random',
] as const satisfies readonly (keyof UpstreamPoolOptions)[];

/**
 * Upstreams that do the same work, and the strategy that chooses among them. One pool can serve many
 * pipelines; they share its connections and what it knows. Close it when the process is to end.
 */
export class UpstreamPool {
  readonly #factory: string;
  readonly #strategy: Strategy;
  readonly #settings: ConnectionSettings | undefined;
  readonly #passive: PassiveHealth | undefined;
  readonly #active: ActiveHealth | undefined;
  readonly #slowStart: SlowStart | undefined;
  readonly #events = new EventEmitter();
  readonly #observer: UpstreamObserver;
  readonly #stopFollowing: (() => void) | undefined;
  readonly #draining = new Set<Upstream>();

  #upstreams: readonly Upstream[] = [];
  /** Made anew when it is next asked for after something has changed. */
  #eligible: readonly Upstream[] | undefined = undefined;

  /** @throws TypeError or RangeError when the list or an option is not what it should be. */
  constructor(
    list: readonly UpstreamInit[] | Discovery,
    options: UpstreamPoolOptions = {},
    /** Names the factory in messages. @internal */
    factory = 'UpstreamPool',
  ) {
    const {
      strategy = 'round-robin',
      health = {},
      slowStartMs = 0,
      transport,
      now = () => performance.now(),
      random = Math.random,
    } = known(factory, options, POOL_OPTIONS);
    const { passive = {}, active } = known(`${factory}: health`, health, ['passive', 'active']);
    callable(`${factory}: now`, now);
    callable(`${factory}: random`, random);
    milliseconds(`${factory}: slowStartMs`, slowStartMs, 0);
    this.#factory = factory;
    this.#strategy = strategyOf(strategy, factory);
    this.#settings = transport && poolSettings(transport, `${factory}: transport`);
    const scope = { upstreams: () => this.#upstreams, now };
    this.#passive = passive
      ? new PassiveHealth(`${factory}: health.passive`, passive, scope)
      : undefined;
    this.#active = active && new ActiveHealth(`${factory}: health.active`, active, random);
    this.#slowStart = slowStartMs > 0 ? new SlowStart(slowStartMs, now, random) : undefined;
    this.#observer = this.#observe();
    if (isDiscovery(list)) {
      const sink = {
        update: (next: readonly UpstreamInit[]) => this.update(next),
        failed: (error: unknown) => this.#tell('discoveryError', error),
      };
      this.#stopFollowing = follow(list, sink, random);
    } else {
      this.#stopFollowing = undefined;
      this.update(list);
    }
  }

  /** Every upstream, in the order given; those that are draining are no longer among them. */
  get upstreams(): readonly Upstream[] {
    return this.#upstreams;
  }

  /** The upstreams that may be chosen now. */
  get eligible(): readonly Upstream[] {
    this.#eligible ??= eligibleOf(this.#upstreams);
    return this.#eligible;
  }

  /**
   * Chooses an upstream for an exchange and counts the request as in flight there until the exchange
   * ends. `except` leaves out what has been tried, as long as there is anything else.
   */
  pick(exchange: Exchange, except?: readonly Upstream[]): Upstream | undefined {
    const candidates = except === undefined ? this.eligible : others(this.eligible, except);
    const chosen = this.#strategy.pick(candidates, exchange);
    const upstream =
      chosen === undefined || this.#slowStart === undefined
        ? chosen
        : this.#slowStart.choose(chosen, candidates, exchange, this.#strategy);
    return this.give(exchange, upstream);
  }

  /** Gives an exchange to an upstream that was chosen otherwise, and counts it there. */
  give(exchange: Exchange, upstream: Upstream | undefined): Upstream | undefined {
    exchange.pool = this;
    exchange.lease(upstream);
    return upstream;
  }

  /** Adds an upstream. @throws TypeError when it is there already or is no target. */
  add(init: UpstreamInit): Upstream {
    const upstream = new Upstream(init, `${this.#factory}: add().url`, this.#settings);
    if (this.#find(upstream.url)) {
      throw new TypeError(
        `${this.#factory}: add() got ${inspect(upstream.url)}, which is there already`,
      );
    }
    this.#replace([...this.#upstreams, upstream]);
    return upstream;
  }

  /** Removes an upstream: nothing new goes to it, what is in flight finishes, then its sockets close. */
  remove(url: string | URL): boolean {
    const key = new Upstream(url, `${this.#factory}: remove()`).url;
    const kept = this.#upstreams.filter((upstream) => upstream.url !== key);
    if (kept.length === this.#upstreams.length) return false;
    this.#replace(kept);
    return true;
  }

  /**
   * Makes the list the pool's: new ones are added, missing ones drain, and those that stay keep their
   * connections, counts and health. One whose credentials or transport differ is a new one. The list
   * that is there already changes nothing. @throws TypeError without changing anything when it is no list.
   */
  update(list: readonly UpstreamInit[]): void {
    const next = parseList(list, this.#factory, this.#settings);
    const byUrl = new Map(this.#upstreams.map((upstream) => [upstream.url, upstream]));
    let changed = next.length !== this.#upstreams.length;
    const merged = next.map((upstream, i) => {
      const known = byUrl.get(upstream.url);
      const stays = known !== undefined && connectAlike(known, upstream);
      const { weight, priority } = upstream;
      changed ||= known !== this.#upstreams[i] || !stays;
      if (!stays) return upstream;
      changed ||= known.weight !== weight || known.priority !== priority;
      known.weight = weight;
      known.priority = priority;
      return known;
    });
    if (changed) this.#replace(merged);
  }

  /** What is known of every upstream: counts, latencies, health, and since when. */
  stats(): UpstreamStats[] {
    return this.#upstreams.map(upstreamStats);
  }

  /** Calls back whenever it happens. What a listener throws becomes a warning of the process. */
  on<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): this {
    this.#events.on(event, listener);
    return this;
  }

  off<K extends keyof UpstreamPoolEvents>(event: K, listener: PoolListener<K>): this {
    this.#events.off(event, listener);
    return this;
  }

  /**
   * Lends the pool a way to ask upstreams how they are; the first pipeline does so.
   *
   * @internal
   */
  probeWith(probe: Probe): void {
    this.#active?.start(probe);
  }

  /** Stops discovery and health, and closes all connections once what is in flight has finished. */
  async close(): Promise<void> {
    this.#stopFollowing?.();
    this.#passive?.close();
    this.#active?.close();
    const all = [...this.#upstreams, ...this.#draining];
    await Promise.all(all.map((upstream) => upstream.close()));
  }

  #find(url: string): Upstream | undefined {
    return this.#upstreams.find((upstream) => upstream.url === url);
  }

  #replace(next: readonly Upstream[]): void {
    const before = new Set(this.#upstreams);
    const after = new Set(next);
    const first = before.size === 0;
    this.#upstreams = next;
    this.#eligible = undefined;
    for (const upstream of after) if (!before.has(upstream)) this.#enter(upstream, first);
    for (const upstream of before) if (!after.has(upstream)) this.#leave(upstream);
    this.#changed();
  }

  /** A newcomer starts slowly, unless all are new. */
  #enter(upstream: Upstream, first: boolean): void {
    upstream.observer = this.#observer;
    this.#active?.watch(upstream);
    if (!first) this.#slowStart?.begin(upstream);
  }

  #leave(upstream: Upstream): void {
    this.#passive?.forget(upstream);
    this.#active?.forget(upstream);
    this.#slowStart?.forget(upstream);
    this.#draining.add(upstream);
    upstream.bar('draining');
    if (upstream.inFlight === 0) this.#drained(upstream);
  }

  #drained(upstream: Upstream): void {
    if (!this.#draining.delete(upstream)) return;
    // Nothing is in flight, so there is nothing to wait for.
    void upstream.close();
    this.#tell('drained', upstream);
  }

  #changed(): void {
    this.#eligible = undefined;
    if (this.#events.listenerCount('change') > 0) this.#tell('change', this.eligible);
  }

  /** A listener that throws must not pass for a source that fails, or take the process with it. */
  #tell<K extends keyof UpstreamPoolEvents>(event: K, ...args: UpstreamPoolEvents[K]): void {
    try {
      this.#events.emit(event, ...args);
    } catch (error) {
      const detail = String(error instanceof Error ? error.stack : error);
      process.emitWarning(`A listener of pool.on('${event}') threw`, {
        type: 'HeadraceWarning',
        code: 'HEADRACE_LISTENER',
        detail,
      });
    }
  }

  #observe(): UpstreamObserver {
    return {
      barred: (upstream, bar, on) => {
        if (upstream.bars.has('draining')) return;
        if (!on && upstream.usable) this.#slowStart?.begin(upstream);
        this.#changed();
        if (on) this.#tell('ejected', upstream, bar);
        else if (upstream.usable) this.#tell('recovered', upstream);
      },
      answered: (upstream, status, latencyMs) => {
        this.#strategy.observe?.(upstream, latencyMs);
        if (!upstream.bars.has('draining')) this.#passive?.answered(upstream, status);
      },
      // What has left is forgotten, and not to be remembered for how its last requests end.
      failed: (upstream, code) => {
        if (!upstream.bars.has('draining')) this.#passive?.failed(upstream, code);
      },
      idle: (upstream) => {
        if (this.#draining.size > 0) this.#drained(upstream);
      },
    };
  }
}

function isDiscovery(list: readonly UpstreamInit[] | Discovery): list is Discovery {
  return typeof list === 'object' && list !== null && Symbol.asyncIterator in list;
}

/** Whether what is known of one holds for the other: their URLs tell neither credentials nor transport. */
function connectAlike(one: Upstream, other: Upstream): boolean {
  return (
    one.authorization === other.authorization && isDeepStrictEqual(one.settings, other.settings)
  );
}

/** The usable ones of the lowest priority number that has any. */
function eligibleOf(upstreams: readonly Upstream[]): readonly Upstream[] {
  const usable = upstreams.filter((upstream) => upstream.usable);
  let priority = Number.POSITIVE_INFINITY;
  let mixed = false;
  for (const upstream of usable) {
    mixed ||= priority !== Number.POSITIVE_INFINITY && upstream.priority !== priority;
    priority = Math.min(priority, upstream.priority);
  }
  return mixed ? usable.filter((upstream) => upstream.priority === priority) : usable;
}

function others(eligible: readonly Upstream[], except: readonly Upstream[]): readonly Upstream[] {
  const left = eligible.filter((upstream) => !except.includes(upstream));
  return left.length > 0 ? left : eligible;
}

function strategyOf(strategy: StrategyName | Strategy, factory: string): Strategy {
  if (typeof strategy === 'object' && strategy !== null && typeof strategy.pick === 'function') {
    return strategy;
  }
  if (typeof strategy !== 'string') {
    const wanted = `a name or an object with pick(), received ${inspect(strategy)}`;
    throw new TypeError(`${factory}: strategy must be ${wanted}`);
  }
  oneOf(`${factory}: strategy`, strategy, strategyNames);
  return strategyNamed(strategy);
}

function poolSettings(transport: ConnectionOptions, factory: string): ConnectionSettings {
  return connectionSettings(factory, known(factory, transport, CONNECTION_OPTIONS));
}

function parseList(
  list: readonly UpstreamInit[],
  factory: string,
  settings: ConnectionSettings | undefined,
): Upstream[] {
  if (!Array.isArray(list)) {
    throw new TypeError(`${factory}: upstreams must be an array, received ${inspect(list)}`);
  }
  const seen = new Set<string>();
  return list.map((init: UpstreamInit, i) => {
    const path = `${factory}: upstreams[${i}].url`;
    const upstream = new Upstream(init, path, settings);
    if (seen.has(upstream.url)) {
      throw new TypeError(`${path} is listed twice: ${inspect(upstream.url)}`);
    }
    seen.add(upstream.url);
    return upstream;
  });
}

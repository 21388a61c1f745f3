import type { ConnectionSettings } from '../connection-settings.js';
import { NoUpstreamError, type ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { callable, inspect, known, milliseconds } from '../options.js';
import { ActiveHealth, type Probe } from './active-health.js';
import type { Discovery } from './discovery/discovery.js';
import { follow } from './discovery/follow.js';
import { connectAlike, halfOpenDue, isDiscovery, parseList, refusalOf } from './list.js';
import { ListedSet } from './listed-set.js';
import { PassiveHealth } from './passive-health.js';
import { PoolEvents } from './pool-events.js';
import {
  POOL_OPTIONS,
  type PoolListener,
  poolSettings,
  strategyOf,
  type UpstreamPoolEvents,
  type UpstreamPoolOptions,
} from './pool-options.js';
import { Shares } from './shares.js';
import { type UpstreamStats, upstreamStats } from './stats.js';
import type { Strategy } from './strategy.js';
import { Tiers } from './tiers.js';
import { Upstream, type UpstreamInit, type UpstreamObserver } from './upstream.js';

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
  readonly #shares: Shares;
  readonly #events = new PoolEvents();
  readonly #observer: UpstreamObserver;
  readonly #stopFollowing: (() => void) | undefined;
  readonly #draining = new ListedSet<Upstream>();

  #upstreams: readonly Upstream[] = [];
  #closed = false;
  /** The usable ones; sorted anew when they are next asked for after something has changed. */
  #tiers: Tiers | undefined = undefined;

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
    this.#settings =
      transport === undefined ? undefined : poolSettings(transport, `${factory}: transport`);
    this.#shares = new Shares(slowStartMs, now);
    const scope = {
      upstreams: () => this.#upstreams,
      now,
      limit: (upstream: Upstream) => this.#shares.limit(upstream),
      unlimit: (upstream: Upstream) => this.#shares.unlimit(upstream),
    };
    this.#passive = PassiveHealth.of(`${factory}: health.passive`, passive, scope);
    this.#active = ActiveHealth.of(`${factory}: health.active`, active, random);
    this.#observer = this.#observe();
    if (isDiscovery(list)) {
      const sink = {
        update: (next: readonly UpstreamInit[]) => this.update(next),
        failed: (error: unknown) => this.#events.tell('discoveryError', error),
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

  /** Those that were removed, and still have requests or tunnels in flight; the same array while nothing changes. */
  get draining(): readonly Upstream[] {
    return this.#draining.list;
  }

  /** The upstreams that may be chosen now. */
  get eligible(): readonly Upstream[] {
    return this.#usable().first;
  }

  /**
   * Chooses an upstream for an exchange and counts the request as in flight there until the exchange
   * ends. `except` leaves out what has been tried, as long as there is anything else, in reserve or not.
   */
  pick(exchange: Exchange, except?: readonly Upstream[]): Upstream | undefined {
    if (this.eligible.length === 0) halfOpenDue(this.#upstreams);
    const candidates = except === undefined ? this.eligible : this.#usable().without(except);
    return this.give(exchange, this.#shares.pick(this.#strategy, candidates, exchange));
  }

  /**
   * Whether there is anything else to choose than these.
   *
   * @internal
   */
  hasOthers(except: readonly Upstream[]): boolean {
    return this.#usable().hasOthers(except);
  }

  /**
   * Whether it has given out this upstream, and another of its own can do the same work.
   *
   * @internal
   */
  owns(upstream: Upstream): boolean {
    return upstream.observer === this.#observer;
  }

  /**
   * Whether an exchange that it has given this upstream may ask it once more. Not one that is draining:
   * that may be the last thing it is waited for.
   *
   * @internal
   */
  keeps(upstream: Upstream): boolean {
    return !this.owns(upstream) || !(this.#closed || upstream.bars.has('draining'));
  }

  /**
   * Why there is nothing to choose: open circuits come to an end, and the error says when.
   *
   * @internal
   */
  refusal(): ProxyError {
    return this.#closed ? new NoUpstreamError() : refusalOf(this.#upstreams);
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
    if (this.#upstreams.some(({ url }) => url === upstream.url)) {
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
      changed ||= known !== this.#upstreams[i] || !stays;
      if (!stays) return upstream;
      if (known.assume(upstream.weight, upstream.priority)) changed = true;
      return known;
    });
    if (changed) this.#replace(merged);
  }

  /** What is known of every upstream: counts, latencies, health, and since when. */
  stats(): UpstreamStats[] {
    return this.#upstreams.map(upstreamStats);
  }

  /** Calls back whenever it happens. What a listener throws, now or later, becomes a warning of the process. */
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

  /**
   * Stops discovery and health, and closes all connections once what is in flight has finished. Nothing
   * can be chosen any more: what comes now gets 503.
   */
  async close(): Promise<void> {
    this.#closed = true;
    this.#tiers = undefined;
    this.#stopFollowing?.();
    this.#passive?.close();
    this.#active?.close();
    await Promise.all([...this.#upstreams, ...this.draining].map((upstream) => upstream.close()));
  }

  #usable(): Tiers {
    this.#tiers ??= new Tiers(this.#closed ? [] : this.#upstreams);
    return this.#tiers;
  }

  #replace(next: readonly Upstream[]): void {
    const before = new Set(this.#upstreams);
    const after = new Set(next);
    this.#upstreams = next;
    this.#tiers = undefined;
    for (const upstream of after) if (!before.has(upstream)) this.#enter(upstream, !before.size);
    for (const upstream of before) if (!after.has(upstream)) this.#leave(upstream);
    this.#changed();
  }

  /** A newcomer starts slowly, unless all are new. */
  #enter(upstream: Upstream, isFirst: boolean): void {
    upstream.observer = this.#observer;
    this.#active?.watch(upstream);
    if (!isFirst) this.#shares.start(upstream);
  }

  #leave(upstream: Upstream): void {
    this.#passive?.forget(upstream);
    this.#active?.forget(upstream);
    this.#shares.forget(upstream);
    this.#draining.add(upstream);
    upstream.bar('draining');
    if (upstream.inFlight === 0) this.#drained(upstream);
  }

  #drained(upstream: Upstream): void {
    if (!this.#draining.delete(upstream)) return;
    // Nothing is in flight, so there is nothing to wait for.
    void upstream.close();
    this.#events.tell('drained', upstream);
  }

  #changed(): void {
    this.#tiers = undefined;
    if (this.#events.isHeard('change')) this.#events.tell('change', this.eligible);
  }

  #observe(): UpstreamObserver {
    return {
      barred: (upstream, bar, on) => {
        if (upstream.bars.has('draining')) return;
        // Half-open is not recovered: that is seen when the probe has come back.
        if (on) this.#shares.forget(upstream);
        else if (upstream.well) this.#shares.start(upstream);
        this.#changed();
        if (on) this.#events.tell('ejected', upstream, bar);
        else if (upstream.well) this.#events.tell('recovered', upstream);
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
      changed: (upstream) => {
        if (!upstream.bars.has('draining')) this.#changed();
      },
      circuitChanged: (upstream, change) => this.#events.tell('circuit', upstream, change),
    };
  }
}

import { isIP } from 'node:net';
import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  type ConnectionSettings,
  connectionSettings,
} from '../connection-settings.js';
import { inspect, known, wholeNumber } from '../options.js';
import type { Circuit, CircuitChange, CircuitStatus } from './circuit.js';
import { type LoadWatcher, tellLoad } from './load-watcher.js';
import { LatencyHistogram } from './stats.js';
import { basicAuthorization, parseTarget } from './target.js';

/** How an upstream is named: a URL, or an object with more to say about it. */
export type UpstreamInit = string | URL | UpstreamOptions;

/** One entry of a list of upstreams. */
export interface UpstreamOptions {
  /** `http:`, `https:` or `unix:/path/to.sock`, with an optional base path and query. */
  readonly url: string | URL;
  /**
   * Its share in relation to the others, for the strategies that go by weight. 0 gets nothing.
   *
   * @default 1
   */
  readonly weight?: number | undefined;
  /**
   * Lower ones are used first; an upstream of a higher number only when no lower one may be, or for a
   * retry that has tried all lower ones.
   *
   * @default 0
   */
  readonly priority?: number | undefined;
  /** How it is connected to, where that differs from the pool and `proxyPass()`. */
  readonly transport?: ConnectionOptions | undefined;
}

/** What a connection can be closed by; the transport keeps its connections on the upstream. */
export interface Closable {
  close(): Promise<void>;
  /** How many connections there are, and what waits for one; where that is known. */
  counts?(): ConnectionCounts;
}

/** Connections to an upstream at a moment. */
export interface ConnectionCounts {
  readonly open: number;
  /** Those that carry nothing. */
  readonly idle: number;
  /** Requests that wait for one. */
  readonly waiting: number;
}

/** Why an upstream is not to be chosen. */
export type Bar =
  /** Passive health has put it out for a while. */
  | 'ejected'
  /** Active health has found it down. */
  | 'unhealthy'
  /** It was removed, and what is in flight on it may finish. */
  | 'draining'
  /** Somebody has taken it out of use, until somebody puts it back. */
  | 'held'
  /** Its circuit breaker is open. */
  | 'open';

/** Who wants to know how an upstream fares: its pool. */
export interface UpstreamObserver {
  /** Something has come to stand, or no longer stands, against choosing it. */
  barred(upstream: Upstream, bar: Bar, on: boolean): void;
  /** A try has brought the head of a response. */
  answered(upstream: Upstream, status: number, latencyMs: number): void;
  /** A try has failed; with a status when that was in the middle of the body. */
  failed(upstream: Upstream, code: string): void;
  /** Its last request in flight has ended. */
  idle(upstream: Upstream): void;
  /**
   * Whether or how often it is to be chosen has changed otherwise: by its weight or priority, or since a
   * circuit of it that is half-open has come to wait for its probe or no longer does.
   */
  changed(upstream: Upstream): void;
  /** A circuit of it has changed its state. */
  circuitChanged(upstream: Upstream, change: CircuitChange): void;
}

/** One server that requests can go to. */
export class Upstream {
  /** The URL without credentials, but with its query: what tells two upstreams of a pool apart. */
  readonly url: string;
  /** Scheme and authority, as the transport connects to it. */
  readonly origin: string;
  readonly protocol: 'http:' | 'https:';
  /** The host name or address, brackets of IPv6 literals off. */
  readonly hostname: string;
  /** The name that TLS asks for and checks; empty for addresses, which SNI cannot carry. */
  readonly servername: string;
  /** The path that comes before the request's, without a slash at its end; usually empty. */
  readonly basePath: string;
  /** The query that comes before the request's, without its question mark. */
  readonly query: string;
  /** The Unix domain socket to connect to instead of a host. */
  readonly socketPath: string | undefined;

  /** Tries made at it since it was added. */
  requests = 0;
  /** Those of them that came after another try for the same request. */
  retries = 0;
  /** Answers with a status from 500 on. */
  serverErrors = 0;
  /** Failed tries, by error code. */
  readonly failures = new Map<string, number>();
  /** Body bytes that went to it and came from it. */
  bytesSent = 0;
  bytesReceived = 0;
  /** Times from the sending of a request to the head of its response. */
  readonly latency = new LatencyHistogram();
  /** Since when things stand with it as they do, of `performance.now()`. */
  since = performance.now();

  // Private, so that nothing that prints or spreads an upstream shows credentials or TLS keys.
  readonly #authorization: string | undefined;
  readonly #settings: ConnectionSettings | undefined;
  #weight: number;
  #priority: number;
  readonly #connections = new Map<object, Closable>();
  /** @internal */
  observer: UpstreamObserver | undefined = undefined;
  readonly #bars = new Set<Bar>();
  readonly #watchers: LoadWatcher[] = [];
  readonly #circuits: Circuit[] = [];
  #awaitsProbe = false;
  #inFlight = 0;

  /** @throws TypeError or RangeError that names `path`, the path of its `url`, when the entry is not what it should be. */
  constructor(init: UpstreamInit, path = 'Upstream: url', transport?: ConnectionSettings) {
    const { url: target, weight = 1, priority = 0, transport: own } = entry(init, path);
    const { url, socketPath } = parseTarget(target, path);
    checkWeight(sibling(path, 'weight'), weight);
    wholeNumber(sibling(path, 'priority'), priority);
    this.protocol = url.protocol as 'http:' | 'https:';
    this.origin = url.origin;
    this.hostname = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
    this.servername = isIP(this.hostname) ? '' : this.hostname;
    this.basePath = url.pathname.endsWith('/') ? url.pathname.slice(0, -1) : url.pathname;
    this.query = url.search.slice(1);
    this.socketPath = socketPath;
    this.#authorization = basicAuthorization(url, path);
    this.#weight = weight;
    this.#priority = priority;
    this.#settings = own === undefined ? transport : ownSettings(own, sibling(path, 'transport'));
    this.url =
      socketPath === undefined
        ? `${url.origin}${this.basePath}${url.search}`
        : `unix:${socketPath}${this.basePath && `:${this.basePath}`}${url.search}`;
  }

  /** Its share in relation to the others. A new one holds from the next request on. */
  get weight(): number {
    return this.#weight;
  }

  set weight(weight: number) {
    checkWeight('Upstream: weight', weight);
    if (this.assume(weight, this.#priority)) this.observer?.changed(this);
  }

  /** Lower ones are used first. A new one holds from the next request on. */
  get priority(): number {
    return this.#priority;
  }

  set priority(priority: number) {
    wholeNumber('Upstream: priority', priority);
    if (this.assume(this.#weight, priority)) this.observer?.changed(this);
  }

  /**
   * Takes weight and priority as a list has them, and says whether they are others. The observer is not
   * told: a list may change many, and is told of once.
   *
   * @internal
   */
  assume(weight: number, priority: number): boolean {
    const differs = weight !== this.#weight || priority !== this.#priority;
    this.#weight = weight;
    this.#priority = priority;
    return differs;
  }

  /** `Authorization` from the credentials in the URL. */
  get authorization(): string | undefined {
    return this.#authorization;
  }

  /** How it is connected to; `undefined` leaves that to `proxyPass()`. */
  get settings(): ConnectionSettings | undefined {
    return this.#settings;
  }

  /**
   * The connections to it, by the settings they were made with. They belong to the upstream so that
   * pipelines that share it share them, and so that they end with it.
   *
   * @internal
   */
  get connections(): Map<object, Closable> {
    return this.#connections;
  }

  /** Requests that were given to it and have not ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  set inFlight(count: number) {
    const change = count - this.#inFlight;
    this.#inFlight = count;
    for (let i = 0; i < this.#watchers.length; i++) tellLoad(this.#watchers[i], change);
  }

  /** Tells `watcher` of every change of `inFlight` until {@link unwatch}. */
  watch(watcher: LoadWatcher): void {
    this.#watchers.push(watcher);
  }

  unwatch(watcher: LoadWatcher): void {
    const at = this.#watchers.indexOf(watcher);
    if (at !== -1) this.#watchers.splice(at, 1);
  }

  /** What stands against choosing it; empty when nothing does. */
  get bars(): ReadonlySet<Bar> {
    return this.#bars;
  }

  /** Whether it may be chosen. With a half-open circuit that is so while there is a probe to be sent. */
  get usable(): boolean {
    if (this.#bars.size === 0) return this.weight > 0;
    return this.#awaitsProbe && this.#bars.size === 1 && this.#bars.has('open') && this.weight > 0;
  }

  /** Whether nothing stands against choosing it, not even a circuit that is half-open. */
  get well(): boolean {
    return this.#bars.size === 0 && this.weight > 0;
  }

  /** How its circuit stands; of several breakers' circuits the one that lets least through. */
  get circuit(): CircuitStatus | undefined {
    let worst: CircuitStatus | undefined;
    for (const circuit of this.#circuits) {
      if (worst === undefined || PASSES[circuit.state] < PASSES[worst.state]) worst = circuit;
    }
    return worst && { state: worst.state, since: worst.since, openedAt: worst.openedAt };
  }

  /** How long its circuits stay open, in milliseconds. */
  get circuitWaitMs(): number {
    return this.#circuits.reduce((longest, { waitMs }) => Math.max(longest, waitMs), 0);
  }

  /** Raises a bar against choosing it. */
  bar(bar: Bar): void {
    if (this.#bars.has(bar)) return;
    this.#bars.add(bar);
    this.since = performance.now();
    this.observer?.barred(this, bar, true);
  }

  /** Lifts a bar. */
  lift(bar: Bar): void {
    if (!this.#bars.delete(bar)) return;
    this.since = performance.now();
    this.observer?.barred(this, bar, false);
  }

  /**
   * Adds the circuit that a breaker has made for it.
   *
   * @internal
   */
  addCircuit(circuit: Circuit): void {
    this.#circuits.push(circuit);
  }

  /**
   * Lets a probe pass where it is time for one. The breaker's timer does so too, but can be late.
   *
   * @internal
   */
  halfOpenDue(): void {
    for (const circuit of this.#circuits) circuit.letProbePass();
  }

  /**
   * A circuit of it has changed. The bar stays up while one of them is not closed; half-open ones let one
   * request through it.
   *
   * @internal
   */
  circuitsChanged(change?: CircuitChange): void {
    const broken = this.#circuits.filter(({ state }) => state !== 'closed');
    const awaitsProbe = broken.length > 0 && broken.every((circuit) => circuit.awaitsProbe);
    const differs = awaitsProbe !== this.#awaitsProbe;
    this.#awaitsProbe = awaitsProbe;
    if (broken.length > 0) this.bar('open');
    else this.lift('open');
    if (differs && broken.length > 0) this.observer?.changed(this);
    if (change !== undefined) this.observer?.circuitChanged(this, change);
  }

  /**
   * Counts a try that has brought the head of a response.
   *
   * @internal
   */
  noteAnswer(status: number, latencyMs: number): void {
    this.latency.record(latencyMs);
    if (status >= 500) this.serverErrors += 1;
    this.observer?.answered(this, status, latencyMs);
  }

  /**
   * Counts a try that has failed.
   *
   * @internal
   */
  noteFailure(code: string): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
    this.observer?.failed(this, code);
  }

  /**
   * Takes one request off those in flight.
   *
   * @internal
   */
  release(): void {
    this.inFlight -= 1;
    if (this.inFlight === 0) this.observer?.idle(this);
  }

  toString(): string {
    return this.url;
  }

  toJSON(): object {
    return { url: this.url };
  }

  /** Closes the connections: what is in flight on them finishes first. */
  async close(): Promise<void> {
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

const PASSES: Readonly<Record<CircuitStatus['state'], number>> = {
  open: 0,
  'half-open': 1,
  closed: 2,
};

function entry(init: UpstreamInit, path: string): UpstreamOptions {
  if (typeof init !== 'object' || init instanceof URL) return { url: init };
  if (Array.isArray(init)) return { url: init as never };
  return known(path.replace(/[.:]\s*url$/, ''), init, ['url', 'weight', 'priority', 'transport']);
}

function checkWeight(path: string, weight: number): void {
  if (typeof weight !== 'number' || !(weight >= 0 && Number.isFinite(weight))) {
    throw new RangeError(`${path} must be a number of at least 0, received ${inspect(weight)}`);
  }
}

/** The path of another option of the entry, beside that of its `url`. */
function sibling(path: string, name: string): string {
  return path.replace(/url$/, name);
}

function ownSettings(transport: ConnectionOptions, path: string): ConnectionSettings {
  return connectionSettings(path, known(path, transport, CONNECTION_OPTIONS));
}

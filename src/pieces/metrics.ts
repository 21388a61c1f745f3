import type { IncomingMessage, ServerResponse } from 'node:http';
import { type CacheGauge, cacheFamilies } from '../caching/cache-metrics.js';
import { EventLoopDelay } from '../exchange/event-loop-delay.js';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import {
  expose,
  type MetricFamily,
  OPEN_METRICS,
  prefersOpenMetrics,
  TEXT,
} from '../exchange/exposition.js';
import { type MetricsRegistry, register } from '../exchange/metrics-registry.js';
import type { MetricLabel } from '../exchange/request-groups.js';
import { RequestMetrics } from '../exchange/request-metrics.js';
import { callable, inspect, isPlain, known } from '../options.js';
import { fail } from '../transport/deliver.js';
import { type BreakerGauge, breakerFamilies } from '../upstreams/breaker-metrics.js';
import { type BudgetGauge, budgetFamilies } from '../upstreams/budget-metrics.js';
import { type LimitGauge, limitFamilies } from '../upstreams/limit-metrics.js';
import type { UpstreamPool } from '../upstreams/pool.js';
import { PoolMetrics } from '../upstreams/pool-metrics.js';
import { TryMetrics } from '../upstreams/try-metrics.js';

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Each bucket is a series for each method and route: more would help nobody. */
const MAX_BUCKETS = 100;

/** Options for {@link metrics}. */
export interface MetricsOptions {
  /** A registry of `prom-client` or `@prometheus-io/client` that is filled, in place of one of its own. */
  readonly registry?: MetricsRegistry | undefined;
  /** The upper bounds of the buckets of histograms, in seconds. */
  readonly buckets?: readonly number[] | undefined;
  /**
   * Labels of your own for what is counted by request, each made by a function of the exchange that has
   * ended; one named `route` takes the place of ours.
   *
   * @default {}
   */
  readonly labels?: Readonly<Record<string, MetricLabel>> | undefined;
  /**
   * Pools whose upstreams are shown, by name.
   *
   * @default {}
   */
  readonly pools?: Readonly<Record<string, UpstreamPool>> | undefined;
  /**
   * What `concurrencyLimit()` has given, by name: how many requests are in each, and wait for it.
   *
   * @default {}
   */
  readonly limits?: Readonly<Record<string, LimitGauge>> | undefined;
  /**
   * What `circuitBreaker()` has given, by name: how many circuits of each are in which state.
   *
   * @default {}
   */
  readonly breakers?: Readonly<Record<string, BreakerGauge>> | undefined;
  /**
   * What `retry()` has given, by name: how many retries the budget of each has left.
   *
   * @default {}
   */
  readonly budgets?: Readonly<Record<string, BudgetGauge>> | undefined;
  /**
   * What `cache()` has given, by name: how often each had an answer, and what it holds.
   *
   * @default {}
   */
  readonly caches?: Readonly<Record<string, CacheGauge>> | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/** {@link metrics} in place. */
export interface Metrics extends Handler {
  /** Answers with all metrics, in the format that is asked for. */
  readonly handler: Handler;
  /** Stops measuring, and takes what it has registered out of a registry of yours. */
  close(): void;
}

/**
 * Counts and measures what passes, for Prometheus. Place it first, and `.handler` where Prometheus asks;
 * not where everybody can.
 *
 * @example
 * const m = metrics();
 * app.use(m);
 * app.get('/metrics', m.handler);
 * app.use('/api', proxyPass('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be; Error when a name is taken in the registry.
 */
export function metrics(options: MetricsOptions = {}): Metrics {
  const {
    registry,
    buckets = BUCKETS,
    labels = {},
    pools = {},
    limits = {},
    breakers = {},
    budgets = {},
    caches = {},
    now = () => performance.now(),
  } = known('metrics', options, [
    'registry',
    'buckets',
    'labels',
    'pools',
    'limits',
    'breakers',
    'budgets',
    'caches',
    'now',
  ]);
  checkRegistry(registry);
  checkLabels(labels);
  checkEntries('pools', pools, 'an UpstreamPool', 'eligible');
  checkEntries('limits', limits, 'a concurrencyLimit()', 'waiting');
  checkEntries('breakers', breakers, 'a circuitBreaker()', 'circuits');
  checkEntries('budgets', budgets, 'a retry()', 'retriesLeft');
  checkEntries('caches', caches, 'a cache()', 'purge');
  callable('metrics: now', now);
  const bounds = boundsOf(buckets);

  const tries = new TryMetrics(bounds);
  const requests = new RequestMetrics(bounds, labels, (exchange) => tries.count(exchange));
  const ofPools = new PoolMetrics(pools);
  const eventLoop = new EventLoopDelay(now);
  const families = [
    ...requests.families,
    ...tries.families,
    ...ofPools.families,
    ...limitFamilies(limits),
    ...breakerFamilies(breakers),
    ...budgetFamilies(budgets),
    ...cacheFamilies(caches),
    eventLoop.family,
  ];
  const close = (): void => {
    ofPools.close();
    eventLoop.close();
  };
  const unregister = registry && registerOr(close, registry, families);

  const handler: Handler = function scrapeMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    requests.leaveOut(exchange);
    if (req.method !== 'GET' && req.method !== 'HEAD') return refuse(res);
    written(req, registry, families).then(
      ([type, text]) => send(req, res, type, text),
      (error: unknown) => fail(exchange, error, next),
    );
  };
  const middleware: Handler = function metricsMiddleware(req, res, next) {
    requests.follow(exchangeOf(req, res));
    next?.();
  };
  return Object.assign(middleware, {
    handler,
    close: () => {
      close();
      unregister?.();
    },
  });
}

function checkRegistry(registry: MetricsRegistry | undefined): void {
  if (registry === undefined) return;
  if (typeof registry !== 'object' || registry === null) {
    throw new TypeError(`metrics: registry must be a registry, received ${inspect(registry)}`);
  }
  for (const method of ['metrics', 'registerMetric', 'getSingleMetric', 'removeSingleMetric']) {
    callable(`metrics: registry.${method}`, Reflect.get(registry, method));
  }
}

const LABEL_NAME = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/;
/** Labels that the metrics of requests have anyway. */
const TAKEN: ReadonlySet<string> = new Set([
  'method',
  'status',
  'outcome',
  'code',
  'le',
  'quantile',
]);

function checkLabels(labels: Readonly<Record<string, MetricLabel>>): void {
  checkObject('labels', labels, 'functions by name');
  for (const [name, label] of Object.entries(labels)) {
    if (!LABEL_NAME.test(name) || TAKEN.has(name)) {
      const reason = TAKEN.has(name) ? 'is taken' : 'is no name for a label';
      throw new TypeError(`metrics: labels: ${inspect(name)} ${reason}`);
    }
    callable(`metrics: labels.${name}`, label);
  }
}

function checkObject(path: string, value: unknown, what: string): void {
  if (!isPlain(value)) {
    throw new TypeError(
      `metrics: ${path} must be an object of ${what}, received ${inspect(value)}`,
    );
  }
}

/** Classes are not asked: an ES module and a CommonJS copy of one can meet in one process. */
function checkEntries(path: string, entries: object, what: string, member: string): void {
  checkObject(path, entries, `what each name stands for`);
  for (const [name, entry] of Object.entries(entries)) {
    const isObject = (typeof entry === 'object' && entry !== null) || typeof entry === 'function';
    if (!isObject || !(member in entry)) {
      throw new TypeError(`metrics: ${path}.${name} must be ${what}, received ${inspect(entry)}`);
    }
  }
}

function boundsOf(buckets: readonly number[]): Float64Array {
  if (!Array.isArray(buckets)) {
    throw new TypeError(`metrics: buckets must be an array, received ${inspect(buckets)}`);
  }
  if (buckets.length === 0 || buckets.length > MAX_BUCKETS) {
    throw new RangeError(
      `metrics: buckets must be from 1 to ${MAX_BUCKETS} bounds, received ${inspect(buckets)}`,
    );
  }
  buckets.forEach((bound, i) => {
    const before = buckets[i - 1] ?? 0;
    if (typeof bound === 'number' && Number.isFinite(bound) && bound > before) return;
    throw new RangeError(
      `metrics: buckets[${i}] must be a number above ${before}, received ${inspect(bound)}`,
    );
  });
  return Float64Array.from(buckets);
}

/** What has been started for metrics that there will not be is stopped. */
function registerOr(
  close: () => void,
  registry: MetricsRegistry,
  families: readonly MetricFamily[],
): () => void {
  try {
    return register(registry, families);
  } catch (error) {
    close();
    throw error;
  }
}

async function written(
  { headers }: IncomingMessage,
  registry: MetricsRegistry | undefined,
  families: readonly MetricFamily[],
): Promise<[type: string, text: string]> {
  if (registry !== undefined) {
    // Writing decides what the type is, where the type is decided late.
    const text = await registry.metrics();
    return [registry.contentType, text];
  }
  const openMetrics = prefersOpenMetrics(headers.accept);
  return [openMetrics ? OPEN_METRICS : TEXT, expose(families, openMetrics)];
}

function send(req: IncomingMessage, res: ServerResponse, type: string, text: string): void {
  if (res.headersSent || res.destroyed) return;
  res.statusCode = 200;
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Vary', 'Accept');
  res.end(req.method === 'HEAD' ? undefined : text);
}

function refuse(res: ServerResponse): void {
  res.statusCode = 405;
  res.setHeader('Allow', 'GET, HEAD');
  res.end();
}

import type { Labels, MetricFamily } from './exposition.js';

/** A registry of `prom-client` or `@prometheus-io/client`, as far as it is used. */
export interface MetricsRegistry {
  /** What {@link metrics} writes out, and of which type that is. */
  readonly contentType: string;
  metrics(): Promise<string> | string;
  registerMetric(metric: never): void;
  getSingleMetric(name: string): unknown;
  removeSingleMetric(name: string): void;
}

/** A metric as those registries ask for it. */
class CollectedMetric {
  /** A registry that writes OpenMetrics takes `_total` off the name of a counter, for good. */
  name: string;
  readonly help: string;
  readonly type: MetricFamily['type'];
  readonly labelNames: readonly string[];
  readonly aggregator: 'sum' | 'max';
  readonly #family: MetricFamily;

  constructor(family: MetricFamily) {
    this.name = family.name;
    this.help = family.help;
    this.type = family.type;
    this.labelNames = family.labels;
    // How the processes of a cluster are put together; quantiles cannot be added up.
    this.aggregator = family.type === 'summary' ? 'max' : 'sum';
    this.#family = family;
  }

  async get(): Promise<object> {
    const { name, help, type, aggregator } = this;
    const values: object[] = [];
    this.#family.collect((value: number, labels: Labels = {}, suffix = '') => {
      const metricName = suffix === '' ? {} : { metricName: `${name}${suffix}` };
      values.push({ value, labels, ...metricName });
    });
    return { name, help, type, aggregator, values };
  }

  /** What has been counted since the start is not the registry's to forget. */
  reset(): void {}
}

/**
 * Registers families in a registry of the user's; what it gives takes them out again.
 *
 * @throws Error when one of the names is taken, before any is registered.
 */
export function register(registry: MetricsRegistry, families: readonly MetricFamily[]): () => void {
  for (const { name } of families) {
    if (registry.getSingleMetric(name) !== undefined) {
      throw new Error(`metrics: registry has a metric "${name}" already`);
    }
  }
  const metrics = families.map((family) => new CollectedMetric(family));
  for (const metric of metrics) registry.registerMetric(metric as never);
  return () => {
    for (const { name } of families) {
      const found = registry.getSingleMetric(name);
      if (metrics.includes(found as CollectedMetric)) registry.removeSingleMetric(name);
    }
  };
}

import type { AddSample, MetricFamily } from '../exchange/exposition.js';

/** How full a limit is; `concurrencyLimit()` gives one. */
export interface LimitGauge {
  /** Requests that hold a place now. */
  readonly inFlight: number;
  /** Requests that wait for one. */
  readonly waiting: number;
}

/** How full limits are, by name. */
export function limitFamilies(limits: Readonly<Record<string, LimitGauge>>): MetricFamily[] {
  const entries = Object.entries(limits);
  const gauge = (name: string, help: string, read: (limit: LimitGauge) => number) =>
    ({
      name: `headrace_limit_${name}`,
      help,
      type: 'gauge',
      labels: ['limit'],
      collect: (add: AddSample) => {
        for (const [limit, its] of entries) add(read(its), { limit });
      },
    }) as const;
  return [
    gauge('in_flight', 'Requests that hold a place of a limit.', ({ inFlight }) => inFlight),
    gauge('waiting', 'Requests that wait for a place of a limit.', ({ waiting }) => waiting),
  ];
}

import type { AddSample, MetricFamily } from '../exchange/exposition.js';

/** What a `cache()` holds, and how often it had an answer. */
export interface CacheStats {
  readonly entries: number;
  readonly bytes: number;
  readonly hits: number;
  readonly misses: number;
  /** Stale ones that the upstream has confirmed. */
  readonly revalidated: number;
  /** Stale ones in the place of an error. */
  readonly stale: number;
}

/** What a cache can be asked; `cache()` gives one. */
export interface CacheGauge {
  stats(): CacheStats;
  /** Forgets what matches. */
  purge(): unknown;
}

/** What became of a request, and what a cache calls that. */
const RESULTS = {
  hits: 'hit',
  misses: 'miss',
  revalidated: 'revalidated',
  stale: 'stale',
} as const;

/** What caches hold and answer, by name. */
export function cacheFamilies(caches: Readonly<Record<string, CacheGauge>>): MetricFamily[] {
  const entries = Object.entries(caches);
  const gauge = (name: 'entries' | 'bytes', help: string): MetricFamily => ({
    name: `headrace_cache_${name}`,
    help,
    type: 'gauge',
    labels: ['cache'],
    collect: (add: AddSample) => {
      for (const [cache, one] of entries) add(one.stats()[name], { cache });
    },
  });
  return [
    {
      name: 'headrace_cache_requests_total',
      help: 'Requests for what a cache could keep, by what became of them.',
      type: 'counter',
      labels: ['cache', 'result'],
      collect: (add: AddSample) => {
        for (const [cache, one] of entries) {
          const stats = one.stats();
          for (const [count, result] of Object.entries(RESULTS)) {
            add(stats[count as keyof typeof RESULTS], { cache, result });
          }
        }
      },
    },
    gauge('entries', 'Responses that a cache holds.'),
    gauge('bytes', 'Memory that the responses of a cache take, about.'),
  ];
}

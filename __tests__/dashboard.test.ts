import { describe, expect, it } from '@jest/globals';
import { metrics } from 'headrace';
import { Registry } from 'prom-client';
import { dashboard, dashboardQueries } from './helpers/dashboard.js';
import { read } from './helpers/docs.js';
import { closeAfter } from './helpers/servers.js';

interface Family {
  readonly name: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

/** All that `metrics()` exposes, as a registry is told of it. */
function families(): Family[] {
  const registry = new Registry();
  const m = metrics({ registry });
  closeAfter(() => m.close());
  return registry.getMetricsAsArray() as unknown as Family[];
}

/** The names of series, and the labels that each has. */
function series(): Map<string, readonly string[]> {
  return new Map(
    families().flatMap(({ name, type, labelNames }) => {
      if (type === 'histogram') return [[`${name}_bucket`, [...labelNames, 'le']]] as const;
      return [[name, type === 'summary' ? [...labelNames, 'quantile'] : labelNames]] as const;
    }),
  );
}

describe('the dashboard', () => {
  it.each(dashboardQueries())('asks for what there is: %s', (query) => {
    const known = series();
    const names = query.match(/headrace_\w+/g) ?? [];
    expect(names).not.toEqual([]);
    for (const name of names) expect([...known.keys()]).toContain(name);
    const labels = new Set(names.flatMap((name) => known.get(name) ?? []));
    // Prometheus adds these two.
    const there = [...labels, 'job', 'instance'];
    const asked = [...query.matchAll(/(\w+)(?:=~|!=|=)"/g)].map(([, label]) => label);
    const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) =>
      list.split(', '),
    );
    for (const label of [...asked, ...grouped]) expect(there).toContain(label);
  });

  it('shows everything that is counted', () => {
    const queries = dashboardQueries().join('\n');
    expect([...series().keys()].filter((name) => !queries.includes(name))).toEqual([]);
  });

  it('names each panel', () => {
    expect(dashboard().panels.filter(({ title }) => !title)).toEqual([]);
  });
});

describe('the README', () => {
  it('lists all metrics, with their labels', () => {
    const [, section = ''] = read('README.md').split(/^### What is measured$/m);
    const [table = ''] = section.split(/^##/m);
    const rows = [...table.matchAll(/^\| `(headrace_\w+)` \| (.*?) \| (.*?) \|/gm)];
    expect(
      rows.map(([, name, type, labels = '']) => [name, type, labels.match(/\w+/g) ?? []]),
    ).toEqual(families().map(({ name, type, labelNames }) => [name, type, labelNames]));
  });
});

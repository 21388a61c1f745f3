import { describe, expect, it } from '@jest/globals';
import { expose, type MetricFamily, prefersOpenMetrics } from '../../src/exchange/exposition.js';

const odd: MetricFamily = {
  name: 'odd_bytes_total',
  help: 'A "help" with \\ and\na second line.',
  type: 'counter',
  labels: ['name'],
  collect: (add) => {
    add(1.5, { name: 'a "b" \\ c\nd' });
    add(Infinity, { name: '' });
    add(-Infinity);
    add(Number.NaN, {});
  },
};

describe('expose', () => {
  it('writes the text format of Prometheus', () => {
    expect(expose([odd], false)).toBe(
      '# HELP odd_bytes_total A "help" with \\\\ and\\na second line.\n' +
        '# TYPE odd_bytes_total counter\n' +
        'odd_bytes_total{name="a \\"b\\" \\\\ c\\nd"} 1.5\n' +
        'odd_bytes_total{name=""} +Inf\n' +
        'odd_bytes_total -Inf\n' +
        'odd_bytes_total NaN\n',
    );
  });

  it('writes OpenMetrics: counters without their ending, units, and where it ends', () => {
    expect(expose([odd], true)).toMatch(
      /^# HELP odd_bytes A \\"help\\" .*\n# TYPE odd_bytes counter\n# UNIT odd_bytes bytes\nodd_bytes_total\{(.*\n)+# EOF\n$/,
    );
  });
});

describe('prefersOpenMetrics', () => {
  it.each([
    [undefined, false],
    ['', false],
    ['*/*', false],
    ['text/html,*/*;q=0.8', false],
    ['application/openmetrics-text', true],
    ['application/openmetrics-text; version="1.0.0"; charset=utf-8', true],
    ['Application/OpenMetrics-Text;Version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1', true],
    ['application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5', true],
    ['application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.5', false],
    ['application/openmetrics-text;version=2.0.0', false],
    ['application/openmetrics-text;q=0', false],
    ['application/openmetrics-text;q=what', false],
  ])('of %p: %p', (accept, wanted) => {
    expect(prefersOpenMetrics(accept)).toBe(wanted);
  });
});

import { describe, expect, it } from '@jest/globals';
import { ClientClosedError, ConnectError } from '../../src/exchange/errors.js';
import type { Exchange } from '../../src/exchange/exchange.js';
import { TryMetrics } from '../../src/upstreams/try-metrics.js';
import { Upstream } from '../../src/upstreams/upstream.js';

/** An exchange that has tried one upstream at some time. */
function tried(url: string, startedAt: number): Exchange {
  return { attempts: [{ upstream: new Upstream(url), startedAt, status: 200 }] } as never;
}

/** The upstreams that are known, with the tries of each. */
function known(metrics: TryMetrics): Map<string, number> {
  const found = new Map<string, number>();
  const [tries] = metrics.families;
  tries?.collect((value, labels) => found.set(labels?.upstream ?? '', value));
  return found;
}

describe('TryMetrics', () => {
  it('forgets upstreams that nobody asks any more when there are too many', () => {
    const metrics = new TryMetrics(Float64Array.of(1));
    for (let i = 0; i < 1_000; i++) metrics.count(tried(`http://a.test:${1_000 + i}`, 0));
    metrics.count(tried('http://b.test', 1));
    metrics.count(tried('http://c.test', 2));
    expect(known(metrics).get('other')).toBe(2);
    expect(known(metrics).size).toBe(1_001);
    metrics.count(tried('http://a.test:1000', 600_000));
    metrics.count(tried('http://b.test', 600_003));
    expect(known(metrics)).toEqual(
      new Map([
        ['http://a.test:1000', 2],
        ['http://b.test', 1],
      ]),
    );
  });

  it('does not blame an upstream for a client that has left', () => {
    const metrics = new TryMetrics(Float64Array.of(1));
    const upstream = new Upstream('http://a.test');
    for (const error of [new ClientClosedError(), new ConnectError()]) {
      metrics.count({ attempts: [{ upstream, startedAt: 0, error }] } as never);
    }
    const codes: (string | undefined)[] = [];
    metrics.families
      .find(({ name }) => name === 'headrace_upstream_failures_total')
      ?.collect((_, labels) => codes.push(labels?.code));
    expect(codes).toEqual(['ERR_PROXY_CONNECT']);
  });

  it('shows nothing of the query of an upstream', () => {
    const metrics = new TryMetrics(Float64Array.of(1));
    metrics.count(tried('http://a.test/base?key=secret', 0));
    expect([...known(metrics).keys()]).toEqual(['http://a.test/base']);
  });
});

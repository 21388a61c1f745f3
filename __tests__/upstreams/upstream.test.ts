import { describe, expect, it } from '@jest/globals';
import { type Bar, Upstream, type UpstreamInit } from 'headrace';
import { anExchange } from '../helpers/exchanges.js';

describe('bars', () => {
  it('keep an upstream from being chosen as long as one stands', () => {
    const upstream = new Upstream('http://a');
    const bars: Bar[] = ['ejected', 'unhealthy', 'draining', 'open'];
    for (const bar of bars) {
      upstream.bar(bar);
      expect(upstream.usable).toBe(false);
    }
    expect([...upstream.bars]).toEqual(bars);
    for (const bar of bars) {
      expect(upstream.usable).toBe(false);
      upstream.lift(bar);
    }
    expect(upstream.usable).toBe(true);
  });

  it('are told to the observer when they change, and only then', () => {
    const upstream = new Upstream('http://a');
    const told: [Bar, boolean][] = [];
    upstream.observer = {
      barred: (_upstream, bar, on) => told.push([bar, on]),
      answered: () => {},
      failed: () => {},
      idle: () => {},
    };
    upstream.lift('open');
    upstream.bar('open');
    upstream.bar('open');
    upstream.lift('open');
    upstream.lift('open');
    expect(told).toEqual([
      ['open', true],
      ['open', false],
    ]);
  });

  it('move the time since when things stand as they do', () => {
    const upstream = new Upstream('http://a');
    const made = upstream.since;
    upstream.lift('open');
    expect(upstream.since).toBe(made);
    upstream.bar('open');
    expect(upstream.since).toBeGreaterThan(made);
  });
});

describe('weight and priority', () => {
  it('are 1 and 0 by default', () => {
    expect(new Upstream('http://a')).toMatchObject({ weight: 1, priority: 0 });
    const init = { url: 'http://a', weight: undefined, priority: undefined };
    expect(new Upstream(init)).toMatchObject({ weight: 1, priority: 0 });
  });

  it('take a fraction of weight, and none at all, which gets nothing', () => {
    expect(new Upstream({ url: 'http://a', weight: 0.5 }).usable).toBe(true);
    expect(new Upstream({ url: 'http://a', weight: 0 }).usable).toBe(false);
  });

  it.each<[string, unknown, string]>([
    ['weight', -1, 'must be a number of at least 0, received -1'],
    ['weight', Number.NaN, 'must be a number of at least 0, received NaN'],
    ['weight', Number.POSITIVE_INFINITY, 'must be a number of at least 0, received Infinity'],
    ['weight', '2', 'must be a number of at least 0, received "2"'],
    ['priority', -1, 'must be a whole number of at least 0, received -1'],
    ['priority', 0.5, 'must be a whole number of at least 0, received 0.5'],
  ])('refuse %s: %p', (name, value, message) => {
    const init = { url: 'http://a', [name]: value } as UpstreamInit;
    expect(() => new Upstream(init, 'list[3]')).toThrow(`list[3].${name} ${message}`);
  });
});

describe('requests in flight', () => {
  it('are told to the observer when the last one has ended', () => {
    const upstream = new Upstream('http://a');
    let idle = 0;
    upstream.observer = {
      barred: () => {},
      answered: () => {},
      failed: () => {},
      idle: () => void idle++,
    };
    const exchanges = [anExchange(), anExchange()];
    for (const exchange of exchanges) exchange.lease(upstream);
    exchanges[0]?.settle('completed');
    expect([upstream.inFlight, idle]).toEqual([1, 0]);
    exchanges[1]?.settle('failed');
    exchanges[1]?.settle('failed');
    expect([upstream.inFlight, idle]).toEqual([0, 1]);
  });
});

import { describe, expect, it } from '@jest/globals';
import { type Exchange, roundRobin, type Strategy, UpstreamPool } from 'headrace';

/** No strategy of these tests looks at the exchange. */
const exchange = undefined as unknown as Exchange;

const LIST = ['http://a', 'http://b:8080/base'];

describe('UpstreamPool', () => {
  it('lists its upstreams in the order given', () => {
    const pool = new UpstreamPool([...LIST, new URL('http://c'), { url: 'unix:/d' }]);
    expect(pool.upstreams.map(String)).toEqual([...LIST, 'http://c', 'unix:/d']);
    expect(pool.eligible.map(String)).toEqual(pool.upstreams.map(String));
  });

  it('chooses round robin by default, and by that name', () => {
    for (const options of [{}, { strategy: 'round-robin' as const }, { strategy: roundRobin() }]) {
      const pool = new UpstreamPool(LIST, options);
      const picks = Array.from({ length: 3 }, () => pool.pick(exchange)?.url);
      expect(picks).toEqual(['http://a', 'http://b:8080/base', 'http://a']);
    }
  });

  it('chooses by a strategy of one’s own, which gets the candidates and the exchange', () => {
    const seen: unknown[] = [];
    const strategy: Strategy = {
      pick(candidates, exchange) {
        seen.push(candidates.length, exchange);
        return candidates[1];
      },
    };
    const given = {} as Exchange;
    expect(new UpstreamPool(LIST, { strategy }).pick(given)?.url).toBe('http://b:8080/base');
    expect(seen).toEqual([2, given]);
  });

  it('chooses nothing when it is empty', () => {
    expect(new UpstreamPool([]).pick(exchange)).toBeUndefined();
  });

  it('closes the connections to all', async () => {
    const pool = new UpstreamPool(LIST);
    const closed: string[] = [];
    for (const upstream of pool.upstreams)
      upstream.connections.set({}, { close: async () => void closed.push(upstream.url) });
    await pool.close();
    expect(closed).toEqual(LIST);
  });

  it.each([
    ['http://a', 'UpstreamPool: upstreams must be an array, received "http://a"'],
    [undefined, 'UpstreamPool: upstreams must be an array, received undefined'],
    [
      ['http://a', 'htp://b'],
      'UpstreamPool: upstreams[1].url must be an http(s) URL, received "htp://b"',
    ],
    [[{ url: 5 }], 'UpstreamPool: upstreams[0].url must be an http(s) URL, received 5'],
    [
      [{ ulr: 'http://a' }],
      'UpstreamPool: upstreams[0]: unknown option "ulr", did you mean "url"?',
    ],
    [['http://a', 'http://A:80/'], 'UpstreamPool: upstreams[1].url is listed twice: "http://a"'],
  ])('refuses %j', (list, message) => {
    expect(() => new UpstreamPool(list as never)).toThrow(new TypeError(message));
  });

  it.each([
    [{ stratgy: 'x' }, 'UpstreamPool: unknown option "stratgy", did you mean "strategy"?'],
    [
      { strategy: 'round-robbin' },
      'UpstreamPool: strategy must be one of "round-robin", received "round-robbin", did you mean "round-robin"?',
    ],
    [
      { strategy: 'toString' },
      'UpstreamPool: strategy must be one of "round-robin", received "toString"',
    ],
    [
      { strategy: { choose() {} } },
      'UpstreamPool: strategy must be a name or an object with pick(), received an object ["choose"]',
    ],
    [
      { strategy: roundRobin },
      'UpstreamPool: strategy must be a name or an object with pick(), received function roundRobin',
    ],
    [
      { strategy: null },
      'UpstreamPool: strategy must be a name or an object with pick(), received null',
    ],
  ])('refuses the options %p', (options, message) => {
    expect(() => new UpstreamPool(LIST, options as never)).toThrow(new TypeError(message));
  });

  it('does not touch what it is given', () => {
    const list = Object.freeze([Object.freeze({ url: 'http://a' })]);
    const options = Object.freeze({ strategy: Object.freeze(roundRobin()) });
    const pool = new UpstreamPool(list, options);
    expect(pool.pick(exchange)?.url).toBe('http://a');
  });
});

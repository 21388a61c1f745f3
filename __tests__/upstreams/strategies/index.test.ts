import { describe, expect, it } from '@jest/globals';
import {
  consistentHash,
  ipHash,
  leastConnections,
  peakEwma,
  powerOfTwo,
  random,
  roundRobin,
  weightedRoundRobin,
} from 'headrace';
import { UpstreamPool } from '../../../src/upstreams/pool.js';
import { strategyNamed, strategyNames } from '../../../src/upstreams/strategies/index.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import { exchangeWith, picks, upstreamsOf } from '../../helpers/upstreams.js';

describe('the strategies by name', () => {
  it('are eight', () => {
    expect(strategyNames).toEqual([
      'round-robin',
      'weighted-round-robin',
      'random',
      'least-connections',
      'power-of-two',
      'peak-ewma',
      'consistent-hash',
      'ip-hash',
    ]);
  });

  describe.each(strategyNames)('%s', (name) => {
    it('gives the only candidate there is, and none where there is none', () => {
      const strategy = strategyNamed(name);
      expect(picks(strategy, upstreamsOf(1), 1)).toBe('A');
      expect(picks(strategy, [], 1)).toBe('-');
      expect(picks(strategy, upstreamsOf(1), 1)).toBe('A');
    });

    it('gives each of 12 equal upstreams some of 2,000 requests', () => {
      const candidates = upstreamsOf(...Array.from({ length: 12 }, () => 1));
      expect(new Set(picks(strategyNamed(name), candidates, 2_000).split(' ')).size).toBe(12);
    });

    it('chooses another one for a retry while there is one, and nothing that is out', () => {
      const pool = new UpstreamPool(
        Array.from({ length: 10 }, (_, i) => ({ url: `http://10.0.0.${i}`, weight: 1 + (i % 3) })),
        { strategy: name },
      );
      for (let round = 0; round < 200; round++) {
        const exchange = exchangeWith();
        const tried: Upstream[] = [];
        const victim = pool.upstreams[round % 10] as Upstream;
        if (victim.usable) victim.bar('open');
        else victim.lift('open');
        for (let i = 0; i < pool.eligible.length; i++) {
          const upstream = pool.pick(exchange, tried) as Upstream;
          expect(tried).not.toContain(upstream);
          expect(upstream.usable).toBe(true);
          tried.push(upstream);
        }
        exchange.settle('completed');
      }
      expect(pool.upstreams.map(({ inFlight }) => inFlight)).toEqual(Array(10).fill(0));
    });
  });
});

describe('the factories of the strategies', () => {
  const factories = [
    consistentHash,
    ipHash,
    leastConnections,
    peakEwma,
    powerOfTwo,
    random,
    roundRobin,
    weightedRoundRobin,
  ] as ((options: unknown) => unknown)[];

  it.each(factories.map((make) => [make.name, make] as const))(
    '%s knows what it takes',
    (name, make) => {
      expect(() => make({ wieght: 1 })).toThrow(`${name}: unknown option "wieght"; known are `);
      expect(() => make(null)).toThrow(`${name}: options must be an object, received null`);
    },
  );
});

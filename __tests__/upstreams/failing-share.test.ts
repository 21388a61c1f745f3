import { describe, expect, it } from '@jest/globals';
import {
  consistentHash,
  type Exchange,
  leastConnections,
  peakEwma,
  powerOfTwo,
  random as randomStrategy,
  roundRobin,
  type Strategy,
  type Upstream,
  UpstreamPool,
  weightedRoundRobin,
} from 'headrace';
import { anExchange, seeded, testClock } from '../helpers/exchanges.js';
import { closeAfter } from '../helpers/servers.js';

const strategies: [string, () => Strategy][] = [
  ['roundRobin', roundRobin],
  ['weightedRoundRobin', weightedRoundRobin],
  ['random', () => randomStrategy({ random: seeded(1) })],
  ['leastConnections', leastConnections],
  ['powerOfTwo', () => powerOfTwo({ random: seeded(2) })],
  ['peakEwma', () => peakEwma({ random: seeded(3) })],
  ['consistentHash', () => consistentHash({ key: { header: 'key' }, boundedLoad: 1.25 })],
  [
    'one of your own',
    () => ({ pick: (all) => all.find(({ inFlight }) => inFlight === 0) ?? all[0] }),
  ],
];

/**
 * A pool whose upstreams fail at once, but for those that answer a while later: what falls on which of them.
 */
function failing(strategy: Strategy, good: readonly string[], bad: readonly string[]) {
  const clock = testClock();
  const pool = new UpstreamPool([...good, ...bad], { strategy, now: clock });
  closeAfter(() => pool.close());
  const open: [Exchange, Upstream][] = [];
  const answers = new Set(good);
  const run = (picks: number): Map<string, number> => {
    const picked = new Map<string, number>();
    for (let i = 0; i < picks; i++) {
      clock.advance(1);
      const exchange = anExchange({ key: `${i}` });
      const upstream = pool.pick(exchange) as Upstream;
      picked.set(upstream.url, (picked.get(upstream.url) ?? 0) + 1);
      if (answers.has(upstream.url)) {
        open.push([exchange, upstream]);
      } else {
        upstream.noteFailure('ERR_PROXY_CONNECT');
        exchange.settle('failed');
      }
      if (open.length > 8) {
        const [ended, by] = open.shift() as [Exchange, Upstream];
        by.noteAnswer(200, 10);
        ended.settle('completed');
      }
    }
    return picked;
  };
  return { pool, answers, run };
}

describe.each(strategies)('with %s, an upstream that fails at once', (_, make) => {
  it('gets its share and no more where it cannot be put out', () => {
    const { pool, run } = failing(make(), ['http://a'], ['http://b', 'http://c']);
    run(100);
    expect(pool.eligible).toHaveLength(2);
    const picked = run(1_000);
    expect(picked.get('http://a')).toBeGreaterThan(450);
  });

  it('gets the share of its weight', () => {
    const bad = ['http://c', 'http://d', 'http://e'];
    const { pool, run } = failing(make(), ['http://a', 'http://b'], bad);
    run(200);
    expect(pool.eligible).toHaveLength(3);
    for (const upstream of pool.upstreams) upstream.weight = bad.includes(upstream.url) ? 1 : 2;
    const picked = run(1_000);
    const [failed = 0] = bad.flatMap((url) => picked.get(url) ?? []);
    // Of five turns it has one; where the strategy itself does not look at weights, that is all the same the most.
    expect(failed).toBeLessThan(230);
  });

  it('is one like the others as soon as it answers', () => {
    const { pool, answers, run } = failing(make(), ['http://a'], ['http://b', 'http://c']);
    run(200);
    const [other] = pool.eligible.filter(({ url }) => url !== 'http://a') as [Upstream];
    answers.add(other.url);
    run(100);
    const free = failing(make(), ['http://a', other.url], []);
    free.run(300);
    const share = run(1_000).get(other.url) ?? 0;
    expect(Math.abs(share - (free.run(1_000).get(other.url) ?? 0))).toBeLessThan(120);
  });
});

describe('an upstream that fails', () => {
  it('is left to the strategy alone when passive health is off', () => {
    const pool = new UpstreamPool(['http://a', 'http://b'], {
      strategy: { pick: (all) => all[1] },
      health: { passive: false },
    });
    for (let i = 0; i < 20; i++) {
      const exchange = anExchange();
      const upstream = pool.pick(exchange) as Upstream;
      expect(upstream.url).toBe('http://b');
      upstream.noteFailure('ERR_PROXY_CONNECT');
      exchange.settle('failed');
    }
  });

  it('is still chosen each time where there is no other', () => {
    const { run } = failing(roundRobin(), [], ['http://a']);
    expect(run(50).get('http://a')).toBe(50);
  });
});

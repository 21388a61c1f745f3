import { describe, expect, it } from '@jest/globals';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { ipHash } from '../../../src/upstreams/strategies/ip-hash.js';
import { type Inbound, received } from '../../helpers/inbound.js';
import { manyUpstreams } from '../../helpers/upstreams.js';

describe('ipHash', () => {
  it('keeps a client on one upstream, whatever it asks for', async () => {
    const strategy = ipHash();
    const candidates = manyUpstreams(1_000);
    const one = await received('Cookie: a=1');
    const other = await received('X-Forwarded-For: 6.6.6.6');
    const first = strategy.pick(candidates, exchangeOf(one.req, one.res));
    expect(strategy.pick(candidates, exchangeOf(other.req, other.res))).toBe(first);
  });

  it('spreads the clients of a trusted proxy', async () => {
    const strategy = ipHash();
    const candidates = manyUpstreams(3);
    const inbound = await received('X-Forwarded-For: placeholder');
    Object.assign(inbound.req, { app: { get: () => () => true } });
    const counts = new Map<unknown, number>();
    for (let i = 0; i < 3_000; i++) {
      const upstream = strategy.pick(candidates, from(inbound, `10.0.${i >> 8}.${i & 255}`));
      counts.set(upstream, (counts.get(upstream) ?? 0) + 1);
    }
    expect(Math.min(...counts.values())).toBeGreaterThan(750);
    expect(Math.max(...counts.values())).toBeLessThan(1_250);
  });
});

function from({ req, res }: Inbound, address: string) {
  req.headers['x-forwarded-for'] = address;
  return exchangeOf(req, res);
}

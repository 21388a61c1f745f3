import { describe, expect, it } from '@jest/globals';
import { HashRing } from '../../../src/upstreams/strategies/hash-ring.js';
import { manyUpstreams, upstreamsOf } from '../../helpers/upstreams.js';

describe('HashRing', () => {
  it('has points for each upstream by its weight, and one at least', () => {
    expect(new HashRing(upstreamsOf(1, 2, 0.5, 0.001), 16).size).toBe(16 + 32 + 8 + 1);
  });

  it('never has more than 262,144 points, as long as there are fewer upstreams', () => {
    expect(
      new HashRing(
        manyUpstreams(100, () => 1_000),
        16,
      ).size,
    ).toBe(200_000);
    expect(new HashRing(upstreamsOf(Number.MAX_VALUE, 1), 16).size).toBeLessThanOrEqual(262_144);
  });

  it('finds the same point for a hash every time, and others for further attempts', () => {
    const ring = new HashRing(manyUpstreams(1_000), 16);
    const points = Array.from({ length: 8 }, (_, attempt) => ring.pointOf(42, attempt));
    expect(Array.from({ length: 8 }, (_, attempt) => ring.pointOf(42, attempt))).toEqual(points);
    expect(new Set(points).size).toBe(8);
  });

  it.each([0, 1, -1, 2 ** 31 - 1, -(2 ** 31)])('finds an owner for a hash of %p', (hash) => {
    const candidates = upstreamsOf(1, 1, 1);
    const ring = new HashRing(candidates, 1);
    expect(candidates).toContain(ring.ownerOf(ring.pointOf(hash)));
  });
});

import { describe, expect, it } from '@jest/globals';
import { HashRing } from '../../../src/upstreams/strategies/hash-ring.js';
import { manyUpstreams, upstreamsOf } from '../../helpers/upstreams.js';

describe('HashRing', () => {
  it('has points for each upstream by its weight', () => {
    expect(new HashRing(upstreamsOf(1, 2, 3.5), 16).size).toBe(16 + 32 + 56);
  });

  it('has twice as many, and so on, until the smallest weight has what it needs', () => {
    expect(new HashRing(upstreamsOf(1, 0.5), 16).size).toBe(32 + 16);
    expect(new HashRing(upstreamsOf(0.02, 0.06), 16).size).toBe(20 + 61);
    expect(new HashRing(upstreamsOf(0.02, 0.06), 4).size).toBe(5 + 15);
  });

  it('has one at least for each, where more would be too many', () => {
    const ring = new HashRing(upstreamsOf(1, Number.MIN_VALUE), 16);
    expect(ring.size).toBeLessThanOrEqual(262_144);
    const owners = Array.from({ length: ring.size }, (_, point) => ring.ownerOf(point).weight);
    expect(owners).toContain(Number.MIN_VALUE);
    expect(new HashRing(upstreamsOf(Number.MIN_VALUE, Number.MIN_VALUE), 16).size).toBe(2);
    expect(new HashRing(upstreamsOf(1, 0), 16).size).toBe(17);
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

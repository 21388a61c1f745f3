import { describe, expect, it } from '@jest/globals';
import { Tiers } from '../../src/upstreams/tiers.js';
import { Upstream } from '../../src/upstreams/upstream.js';

const named = (name: string, priority = 0) => new Upstream({ url: `http://${name}`, priority });

describe('Tiers', () => {
  const [a, b] = [named('a'), named('b')];
  const [c, d] = [named('c', 3), named('d', 3)];

  it('has those of the lowest number that has any usable ones first, in their order', () => {
    const [x, y] = [named('x'), named('y')];
    expect(new Tiers([d, x, c, y]).first).toEqual([x, y]);
    x.bar('open');
    expect(new Tiers([d, x, c, y]).first).toEqual([y]);
    y.weight = 0;
    expect(new Tiers([d, x, c, y]).first).toEqual([d, c]);
    expect(new Tiers([]).first).toEqual([]);
  });

  it('knows whether there are any without some', () => {
    const tiers = new Tiers([c, a, b]);
    expect(tiers.hasOthers([a, b])).toBe(true);
    expect(tiers.hasOthers([a, b, c])).toBe(false);
    expect(new Tiers([]).hasOthers([])).toBe(false);
  });

  it('gives what is left of each in turn, and the first as a whole when nothing is', () => {
    const tiers = new Tiers([c, a, d, b]);
    expect(tiers.without([a])).toEqual([b]);
    expect(tiers.without([a, c, b])).toEqual([d]);
    expect(tiers.without([a, b, c, d])).toBe(tiers.first);
  });

  it('gives the same array each time that nothing is missing from it', () => {
    const tiers = new Tiers([c, a, d, b]);
    expect(tiers.without([named('gone')])).toBe(tiers.first);
    expect(tiers.without([a, b])).toBe(tiers.without([b, a]));
  });
});

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Heap } from '../../../src/upstreams/strategies/heap.js';

describe('Heap', () => {
  it('has nothing at the top when it is empty', () => {
    expect(new Heap([], () => false).top).toBeUndefined();
  });

  it('has the first item at the top, however ranks change', () => {
    const ranks = fc.array(fc.integer(), { minLength: 1, maxLength: 30 });
    const changes = fc.array(fc.record({ at: fc.nat(), rank: fc.integer() }), { maxLength: 50 });
    fc.assert(
      fc.property(ranks, changes, (initial, steps) => {
        const items = initial.map((rank) => ({ rank, slot: 0 }));
        const heap = new Heap(items, (a, b) => a.rank < b.rank);
        const lowest = () => Math.min(...items.map(({ rank }) => rank));
        expect(heap.top?.rank).toBe(lowest());
        for (const { at, rank } of steps) {
          const item = items[at % items.length];
          if (item === undefined) continue;
          item.rank = rank;
          heap.moved(item);
          expect(heap.top?.rank).toBe(lowest());
        }
      }),
    );
  });
});

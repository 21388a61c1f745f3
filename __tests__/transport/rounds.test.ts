import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from '@jest/globals';
import { rounds, type Waiter } from '../../src/transport/rounds.js';
import { closeAfter } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** A waiter that is in the list until the test is over. */
function waiter(look: () => boolean): Waiter {
  const one = { place: -1, look };
  rounds.add(one);
  closeAfter(() => rounds.remove(one));
  return one;
}

describe('rounds', () => {
  it('go on for as long as somebody waits, and then end', async () => {
    let looks = 0;
    waiter(() => ++looks < 3);
    rounds.begin();
    await eventually('three looks', () => looks === 3);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(looks).toBe(3);
    rounds.begin();
    await eventually('another look', () => looks === 4);
  });

  it('look at each that is there, and at none that has left', async () => {
    const looked = new Set<string>();
    const seen = (name: string) => () => {
      looked.add(name);
      return false;
    };
    const [first, middle, last] = ['first', 'middle', 'last'].map((name) => waiter(seen(name)));
    const added = () => {
      looked.clear();
      rounds.begin();
      return eventually('a round', () => looked.size > 0).then(() => [...looked].sort());
    };
    expect(await added()).toEqual(['first', 'last', 'middle']);
    rounds.remove(first as Waiter);
    rounds.remove(first as Waiter);
    expect(await added()).toEqual(['last', 'middle']);
    rounds.remove(last as Waiter);
    expect(await added()).toEqual(['middle']);
    rounds.add(middle as Waiter);
    rounds.add(first as Waiter);
    expect(await added()).toEqual(['first', 'middle']);
  });

  it('go on past one that leaves while it is looked at', async () => {
    const looked: string[] = [];
    waiter(() => looked.push('first') < 0);
    const leaving = waiter(() => {
      rounds.remove(leaving);
      return looked.push('leaving') < 0;
    });
    waiter(() => looked.push('last') < 0);
    rounds.begin();
    await eventually('all', () => looked.length === 3);
    expect(looked).toEqual(['last', 'leaving', 'first']);
    rounds.begin();
    await eventually('the others', () => looked.length === 5);
    expect(looked.slice(3).sort()).toEqual(['first', 'last']);
  });

  it('are never early, and late by two of them at most', () => {
    const since = rounds.now;
    const over = (later: number, ms: number) => rounds.isOver(since - later, ms);
    // Something moved just before the next round, or just after the last one: 50 ms lie between.
    expect([over(1, 1), over(2, 1), over(2, 50), over(2, 51), over(3, 51)]).toEqual([
      false,
      true,
      true,
      false,
      true,
    ]);
  });

  it('keep the context of no request', async () => {
    const storage = new AsyncLocalStorage<string>();
    const stores: unknown[] = [];
    waiter(() => stores.push(storage.getStore()) < 0);
    storage.run('a request', () => rounds.begin());
    await eventually('a look', () => stores.length > 0);
    expect(stores[0]).toBeUndefined();
  });
});

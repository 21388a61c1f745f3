import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { WeakList } from '../../src/upstreams/weak-list.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('WeakList', () => {
  it('has what is still there, in order, and keeps nothing alive', async () => {
    const list = new WeakList<{ name: string }>();
    const kept = Array.from({ length: 20 }, (_, i) => ({ name: `kept ${i}` }));
    for (const one of kept) {
      list.add(one);
      list.add({ name: 'gone' });
    }
    // What was made or read in a turn is kept until its end.
    await new Promise(setImmediate);
    collectGarbage();
    expect([...list]).toEqual(kept);
  });

  it('does not grow with what has gone', async () => {
    const list = new WeakList<object>();
    let looked = 0;
    const deref = WeakRef.prototype.deref;
    WeakRef.prototype.deref = function counted(this: WeakRef<object>) {
      looked += 1;
      return deref.call(this);
    } as typeof deref;
    try {
      for (let round = 0; round < 6; round++) {
        for (let i = 0; i < 16; i++) list.add({});
        await new Promise(setImmediate);
        collectGarbage();
      }
      looked = 0;
      expect([...list]).toEqual([]);
      expect(looked).toBeLessThan(40);
    } finally {
      WeakRef.prototype.deref = deref;
    }
  });
});

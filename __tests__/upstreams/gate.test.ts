import { createHook } from 'node:async_hooks';
import { describe, expect, it, jest } from '@jest/globals';
import { Gate, type Waiter } from '../../src/upstreams/gate.js';
import { cpuMilliseconds } from '../helpers/cpu-time.js';
import { testClock } from '../helpers/exchanges.js';
import { eventually } from '../helpers/settled.js';

/** A gate of one place, and who came through it or was refused, in order. */
function gateOf({ limit = 1, size = 10, timeoutMs = 20 } = {}) {
  const now = testClock();
  const total = { inFlight: 0, waiting: 0 };
  let idle = 0;
  const gate = new Gate({ limit, size, timeoutMs, now, total }, () => {
    idle += 1;
  });
  const told: string[] = [];
  const waiter = (name: string): Waiter => ({
    admitted: () => void told.push(name),
    refused: () => void told.push(`not ${name}`),
  });
  const wait = (name: string) => gate.wait(waiter(name));
  return { gate, now, total, told, wait, idle: () => idle };
}

describe('Gate', () => {
  it('lets so many through and no more', () => {
    const { gate, total } = gateOf({ limit: 2 });
    expect([gate.enter(), gate.enter(), gate.enter()]).toEqual([true, true, false]);
    expect(gate).toMatchObject({ inFlight: 2, hasRoom: false });
    gate.leave();
    expect(gate).toMatchObject({ inFlight: 1, hasRoom: true });
    expect(total).toEqual({ inFlight: 1, waiting: 0 });
  });

  it('hands a place to those who wait, in the order in which they came', () => {
    const { gate, told, wait } = gateOf();
    gate.enter();
    for (const name of ['a', 'b', 'c']) wait(name);
    gate.leave();
    // The place went from one to the other: nobody can take it in between.
    expect([told.join(), gate.enter(), gate.inFlight]).toEqual(['a', false, 1]);
    gate.leave();
    gate.leave();
    expect([told.join(), gate.inFlight, gate.waiting]).toEqual(['a,b,c', 1, 0]);
    gate.leave();
    expect(gate.inFlight).toBe(0);
  });

  it('closes the gap where somebody gives up, at either end and between', () => {
    const { gate, told, wait, total } = gateOf();
    gate.enter();
    const [a, , c, , e] = ['a', 'b', 'c', 'd', 'e'].map(wait);
    for (const turn of [a, c, e]) if (turn !== undefined) gate.giveUp(turn);
    if (c !== undefined) gate.giveUp(c);
    expect([gate.waiting, total.waiting]).toEqual([2, 2]);
    wait('f');
    for (let i = 0; i < 4; i++) gate.leave();
    expect([told.join(), gate.inFlight, total.inFlight]).toEqual(['b,d,f', 0, 0]);
  });

  it('takes no more turns than the queue has', () => {
    const { gate, wait } = gateOf({ size: 1 });
    gate.enter();
    const turn = wait('a');
    expect(turn).toBeDefined();
    expect(wait('b')).toBeUndefined();
    if (turn !== undefined) gate.giveUp(turn);
    expect(wait('c')).toBeDefined();
    gate.leave();
  });

  it('refuses those who have waited long enough, and only those', async () => {
    const { gate, now, told, wait } = gateOf({ timeoutMs: 20 });
    gate.enter();
    wait('a');
    wait('b');
    now.advance(15);
    wait('c');
    now.advance(5);
    await eventually('a refusal', () => told.length > 0);
    expect([told.join(), gate.waiting]).toEqual(['not a,not b', 1]);
    now.advance(15);
    await eventually('another', () => told.length > 2);
    expect([told.at(-1), gate.waiting, gate.inFlight]).toEqual(['not c', 0, 1]);
  });

  it('sets its timer for no longer than one can wait, when the clock is set back', async () => {
    const { gate, now, told, wait } = gateOf({ timeoutMs: 20 });
    const set = jest.spyOn(globalThis, 'setTimeout');
    gate.enter();
    const turn = wait('a');
    now.advance(-1e10);
    await eventually('another timer', () => set.mock.calls.some(([, ms]) => ms === 2 ** 31 - 1));
    set.mockRestore();
    if (turn !== undefined) gate.giveUp(turn);
    expect(told).toEqual([]);
  });

  it('has a timer only while somebody waits', async () => {
    const { gate, wait } = gateOf({ timeoutMs: 60_000 });
    const timers = new Set<number>();
    let recording = true;
    const hook = createHook({
      init: (id, type) => void (recording && type === 'Timeout' && timers.add(id)),
      destroy: (id) => void timers.delete(id),
    }).enable();
    gate.enter();
    const turn = wait('a');
    wait('b');
    expect(timers.size).toBe(1);
    gate.leave();
    if (turn !== undefined) gate.giveUp(turn);
    gate.leave();
    recording = false;
    await eventually('the end of the timer', () => timers.size === 0);
    hook.disable();
  });

  it('says when the last one has left', () => {
    const { gate, wait, idle } = gateOf({ limit: 2 });
    gate.enter();
    gate.enter();
    wait('a');
    gate.leave();
    gate.leave();
    expect(idle()).toBe(0);
    gate.leave();
    expect(idle()).toBe(1);
  });

  it('is as quick with a long queue as with a short one', () => {
    const count = 100_000;
    const { gate, told, wait } = gateOf({ size: count, timeoutMs: 60_000 });
    gate.enter();
    const turns = Array.from({ length: count }, (_, i) => wait(String(i)));
    const took = cpuMilliseconds(() => {
      for (const [i, turn] of turns.entries()) {
        if (i % 2 === 1 && turn !== undefined) gate.giveUp(turn);
      }
      for (let i = 0; i <= count / 2; i++) gate.leave();
    });
    // With a search through the queue for each, this would be seconds.
    expect(took).toBeLessThan(1_000);
    expect([told.length, told[1], gate.inFlight]).toEqual([count / 2, '2', 0]);
  });
});

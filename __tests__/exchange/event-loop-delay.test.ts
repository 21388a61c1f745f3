import { setTimeout as delayed } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { EventLoopDelay } from '../../src/exchange/event-loop-delay.js';
import { closeAfter } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** The delays in seconds, by quantile. */
function read(delay: EventLoopDelay): Record<string, number> {
  const delays: Record<string, number> = {};
  delay.family.collect((value, labels) => {
    delays[labels?.quantile ?? ''] = value;
  });
  return delays;
}

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('EventLoopDelay', () => {
  it('tells how late the loop has been, for a window and then no more', async () => {
    let time = 0;
    const delay = new EventLoopDelay(() => time);
    closeAfter(() => delay.close());
    expect(read(delay)).toEqual({ '0.5': 0, '0.9': 0, '0.99': 0, '1.0': 0 });
    await eventually('the delay', () => {
      block(60);
      return (read(delay)['1.0'] ?? 0) > 0.03;
    });
    time += 5_000;
    const late = read(delay);
    expect(late['1.0']).toBeGreaterThan(0.03);
    time += 4_999;
    expect(read(delay)).toEqual(late);
    time += 1;
    expect(read(delay)).not.toEqual(late);
  });

  it('goes on when the clock goes back', async () => {
    let time = 1e9;
    const delay = new EventLoopDelay(() => time);
    closeAfter(() => delay.close());
    time += 5_000;
    read(delay);
    time = 0;
    read(delay);
    // The first turn after a reading is what Node measures the next one from.
    for (let turn = 0; turn < 4; turn++) {
      block(60);
      await delayed(1);
    }
    time += 5_000;
    expect(read(delay)['1.0']).toBeGreaterThan(0.03);
  });
});

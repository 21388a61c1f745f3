import { expect, it } from '@jest/globals';
import { runProgram } from '../helpers/programs.js';
import type { Hanging, Overload, SlowLoris } from './protection-scenarios.js';

async function run<T>(scenario: string): Promise<T> {
  const printed = await runProgram(
    `import * as scenarios from './__tests__/load/protection-scenarios.ts';
     scenarios.${scenario}().then((seen) => console.log(JSON.stringify(seen)));`,
  );
  process.stderr.write(`${scenario}: ${printed}`);
  return JSON.parse(printed) as T;
}

it('keeps goodput and latency at three times the capacity', async () => {
  const seen = await run<Overload>('overload');
  expect(seen.offered).toBeGreaterThan(2.7 * seen.capacity);
  expect(seen.mostAtOnce).toBeLessThanOrEqual(20);
  expect(seen.goodput).toBeGreaterThanOrEqual(0.9 * seen.capacity);
  expect(seen.acceptedP99).toBeLessThanOrEqual(2 * seen.unloadedP99);
  expect(Object.keys(seen.statuses)).toEqual(['200', '503']);
});

it('pays for an upstream that hangs ten seconds with no more than the breaker’s window', async () => {
  const seen = await run<Hanging>('hanging');
  // What came until the first ones had waited for the head (timers of undici are slow by up to half a
  // second), and one probe each two or three seconds: the window alone would be 5,000.
  expect(seen.reached).toBeLessThan(1_250);
  expect(seen.longestMs).toBeLessThan(2_500);
  expect(seen.quick).toBeGreaterThan(0.99);
  expect(seen.backAfterMs).toBeLessThan(3_500);
  expect(seen.failedAfter).toBe(0);
});

it('serves a healthy client beside a thousand slow ones, and gets rid of them', async () => {
  const seen = await run<SlowLoris>('slowLoris');
  expect(seen.held).toBeGreaterThan(900);
  expect(seen.healthy).toEqual({ 200: 100 });
  expect(seen.p99).toBeLessThan(250);
  expect(seen.closed).toBe(1_000);
});

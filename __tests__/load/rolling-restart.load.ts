import { expect, it } from '@jest/globals';
import { rollingRestart } from './rolling-restart.js';

it('lets clients see no error of 20,000 requests while one gateway takes the place of another', async () => {
  const { requests, statuses, errors, resent, codes } = await rollingRestart(20_000, 10);
  expect(errors).toEqual([]);
  // With nothing else to do, the machine answers what was on its way as well.
  expect(resent).toBe(0);
  expect(statuses).toEqual({ 200: requests });
  // Without these, nothing would have been put to the test.
  expect(codes.length).toBeGreaterThanOrEqual(2);
  expect(codes).toEqual(codes.map(() => 0));
}, 300_000);

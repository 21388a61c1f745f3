import { expect, it } from '@jest/globals';
import { rollingRestart } from './rolling-restart.js';

it('lets clients see no error while one gateway takes the place of another', async () => {
  const { requests, statuses, errors, codes } = await rollingRestart(2_000, 2);
  expect(errors).toEqual([]);
  expect(statuses).toEqual({ 200: requests });
  // Without these, nothing would have been put to the test.
  expect(codes.length).toBeGreaterThanOrEqual(1);
  expect(codes).toEqual(codes.map(() => 0));
}, 60_000);

import { expect, it } from '@jest/globals';
import { digest } from '../../src/caching/digest.js';

it('tells lists apart, and takes no more memory for longer ones', () => {
  const lists = [[], [''], ['a', 'b'], ['ab'], ['a', undefined], [1], ['1'], ['x'.repeat(100_000)]];
  const digests = lists.map(digest);
  expect(new Set(digests).size).toBe(lists.length);
  expect(digests.every(({ length }) => length === 44)).toBe(true);
  expect(digest(['a', 'b'])).toBe(digests[2]);
});

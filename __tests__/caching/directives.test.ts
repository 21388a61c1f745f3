import { expect, it } from '@jest/globals';
import { directivesOf, timeIn } from '../../src/caching/directives.js';

it.each<[string | undefined, Record<string, string>]>([
  [undefined, {}],
  ['', {}],
  ['max-age=60', { 'max-age': '60' }],
  ['Max-Age = 60 , PUBLIC', { 'max-age': '60', public: '' }],
  ['private="set-cookie, x-a", max-age=1', { private: 'set-cookie, x-a', 'max-age': '1' }],
  ['a="b\\"c", no-store', { a: 'b\\"c', 'no-store': '' }],
  ['max-age=60, max-age=5', { 'max-age': '5' }],
  ['max-age=5, max-age=60', { 'max-age': '5' }],
  [',,; =5, no-cache', { 'no-cache': '' }],
  ['no-store max-age=60', { 'no-store': '', 'max-age': '60' }],
])('the directives of %j', (value, expected) => {
  expect(Object.fromEntries(directivesOf(value))).toMatchObject(expected);
});

it.each([
  ['max-age=60', 60_000],
  ['max-age="60"', 60_000],
  ['max-age', 0],
  ['max-age=-1', 0],
  ['max-age=1.5', 0],
  ['max-age=1e9', 0],
  [`max-age=${'9'.repeat(400)}`, 2 ** 31 * 1_000],
  ['public', undefined],
])('the time in %j', (value, expected) => {
  expect(timeIn(directivesOf(value), 'max-age')).toBe(expected);
});

it('reads a field that is made to take long in no time', () => {
  const began = performance.now();
  directivesOf('a="'.repeat(5_000));
  directivesOf(`a=${'"'.repeat(10_000)}`);
  directivesOf(`a="${'\\'.repeat(10_000)}`);
  expect(performance.now() - began).toBeLessThan(500);
});

import { describe, expect, it } from '@jest/globals';
import { folded, PathPattern } from '../../src/transport/path-pattern.js';
import { readingsOf } from '../../src/transport/path-readings.js';
import { cpuMilliseconds } from '../helpers/cpu-time.js';

const matched = (pattern: string, paths: string[]) => {
  const made = new PathPattern('rule: path', pattern);
  return paths.filter((path) => readingsOf(path)?.every((reading) => made.matches(reading)));
};

describe('a pattern for paths', () => {
  it.each([
    ['/', ['/', '/?a'], ['/a']],
    ['/a', ['/a', '/a/', '/%61'], ['/', '/ab', '/a/b', '/A', '/a;b', '/b']],
    ['/a/', ['/a', '/a/'], ['/a/b']],
    ['/a/*', ['/a/b', '/a/b/', '/a/%C3%A9'], ['/a', '/a/', '/a/b/c', '/a/b%2fc']],
    ['/a/**', ['/a', '/a/', '/a/b', '/a/b/c', '/a//b', '/a/b%2fc'], ['/', '/ab', '/ab/c', '//a/b']],
    ['/**', ['/', '/a', '/a/b;c'], []],
    ['/**/c', ['/c', '/a/c', '/a/b/c'], ['/a/b', '/a/bc']],
    ['/a/**/c', ['/a/c', '/a/b/c', '/a/c/b/c'], ['/a', '/c', '/a/c/b']],
    ['/a/**/c/**/e', ['/a/c/e', '/a/b/c/d/e', '/a/c/c/e/e'], ['/a/c', '/a/e', '/a/b/e']],
    ['/img-*.png', ['/img-.png', '/img-1.png', '/img-a.png.png'], ['/img-1.jpg', '/img-1.png/x']],
    ['/*-*', ['/a-b', '/-', '/a-b-c'], ['/ab', '/a/-']],
    ['/café', ['/caf%C3%A9', '/caf\xc3\xa9'], ['/cafe']],
    ['/a b', ['/a%20b'], ['/a+b']],
    ['/caf%C3%A9', ['/caf%c3%a9'], ['/caf']],
  ])('%s', (pattern, inside, outside) => {
    expect(matched(pattern, [...inside, ...outside])).toEqual(inside);
  });

  it.each([
    'a',
    '',
    '/a//b',
    '//a',
    '/a/../b',
    '/a?b',
    '/a#b',
    '/a%2fb',
    '/a;b',
    '/a\\b',
    '/a**',
    '/***',
    '/%',
    '/a.',
    5,
    undefined,
  ])('is not %p', (pattern) => {
    expect(() => new PathPattern('rule: path', pattern as string)).toThrow(
      /^rule: path must be a plain path in which "\*" stands for a part/,
    );
  });

  it('matches letters of either case where that is asked for', () => {
    const made = new PathPattern('rule: path', '/Admin/*/É');
    expect(made.matches(['admin', 'x', 'é'])).toBe(false);
    expect(made.matchesFolded(folded(['ADMIN', 'X', 'é']))).toBe(true);
  });

  it('says when it matches everything', () => {
    expect(['/**', '/', '/*', '/a/**'].map((one) => new PathPattern('', one).isUniversal)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it.each([
    ['/a*a*a*a*a*a*b', `/${'a'.repeat(16_000)}`],
    ['/**/a/**/a/**/a/**/b', '/a'.repeat(8_000)],
  ])('is done with a hostile path at once: %s', (pattern, path) => {
    const took = cpuMilliseconds(() => expect(matched(pattern, [path])).toEqual([]));
    expect(took).toBeLessThan(500);
  });
});

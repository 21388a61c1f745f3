import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { backtracks } from '../src/backtracking.js';
import { cpuMilliseconds } from './helpers/cpu-time.js';

/** Longer than what Node takes as a request head by default. */
const LONGEST = 16_384;

const path = (beginning: string, unit: string, end: string, length = LONGEST): string =>
  `/${beginning}${unit.repeat(length / unit.length)}${end}`;

describe('backtracks', () => {
  it.each([
    '(a+)+$',
    '(a*)*',
    '((a+))+',
    '(a{2,})+',
    '([a-z]+)*$',
    '(?:(?:a){2,}){2}!',
    '(.*a){20}$',
    '^/(\\w+\\s?)*$',
    '(x+x+)+y',
    '(?:(?:a*)b*)*c',
  ])('finds the loop within a loop in %p', (source) => {
    expect(backtracks(new RegExp(source))).toBe(true);
  });

  it.each(['(a|a)*$', '(a|aa)+$', '(\\w|\\d)+$', '(?:ab|a|b)*c', '(?:a?a?)*$', '(a|A)*$'])(
    'finds the choice within a loop in %p',
    (source) => {
      expect(backtracks(new RegExp(source, 'i'))).toBe(true);
    },
  );

  it.each([
    '/.*/.*/.*/.*x',
    '^/(.*)/(.*)/(.*)x$',
    '(\\d+)(\\w+)!',
    '(.*)\\1\\1x',
    '(?<=a*)a*a*x',
    '(?=(a+)a)a*x',
  ])('finds the loops that share their text in %p', (source) => {
    expect(backtracks(new RegExp(source))).toBe(true);
  });

  it.each(['(a?){30}b', 'a?a?a?a?a?b', '(?:a|ab)(?:a|ab)(?:a|ab)(?:a|ab)c'])(
    'finds the choices that double the time each in %p',
    (source) => {
      expect(backtracks(new RegExp(source))).toBe(true);
    },
  );

  it.each([
    '',
    '^$',
    '^/api',
    '^/api/(.*)$',
    '^/(en|de|fr)/(.*)$',
    '^/v(\\d+)(/.*)?$',
    '^/(?<tenant>[^/]+)(?<rest>/.*)?$',
    '^/(\\w+)/(\\w+)/(\\w+)$',
    '^/(.*)/(.*)$',
    '^/(\\d{4})(\\d{2})(\\d{2})$',
    '^/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}',
    '^/(?!api)(.*)$',
    '^/a(/[^/]+)*$',
    '^/(?:[a-z]+,)*[a-z]+$',
    '/old/(.*)/x/(.*)$',
    '\\.(png|jpe?g|gif)$',
    '/+$',
    '\\bapi\\b',
    '(\\+)+',
    '([+*])+',
    '[(a+)+]',
    '[\\](a+]+',
    '\\u0061{3}\\x62',
  ])('lets pass what people write: %p', (source) => {
    expect(backtracks(new RegExp(source))).toBe(false);
  });

  it.each(['g', 'i', 'm', 's', 'u', 'y'])('reads expressions with the flag %s', (flag) => {
    expect(backtracks(new RegExp('^/(\\w+)/x', flag))).toBe(false);
    expect(backtracks(new RegExp('^(\\w+)+$', flag))).toBe(true);
  });

  it.each([
    ['(.*)x', path('', 'a', '!')],
    ['/+$', path('', '/', '!')],
    ['^/(.*)/(.*)x$', path('', '/', '!')],
    ['[^/]+/x', path('', 'a', '!')],
    ['^/a(/[^/]+)*$', path('a', '/a', '/')],
  ])('lets %p pass, which 16 KiB do not keep busy for seconds', (source, hostile) => {
    const pattern = new RegExp(source);
    expect(backtracks(pattern)).toBe(false);

    expect(cpuMilliseconds(() => pattern.test(hostile))).toBeLessThan(2_000);
  });

  it('lets nothing pass that repeated characters can keep busy', () => {
    const character = fc.constantFrom('a', 'b', '.', '\\w', '[ab]', '[^a]', '/');
    const quantifier = fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{2,}', '*?');
    const { expression } = fc.letrec<{ expression: string }>((tie) => {
      const part = tie('expression');
      return {
        expression: fc.oneof(
          { maxDepth: 6 },
          character,
          fc.tuple(part, part).map(([one, two]) => one + two),
          fc.tuple(part, part).map(([one, two]) => `(?:${one}|${two})`),
          fc.tuple(part, quantifier).map(([one, sign]) => `(?:${one})${sign}`),
        ),
      };
    });
    const text = (minLength: number) =>
      fc.string({ unit: fc.constantFrom('a', 'b', '/'), minLength, maxLength: 3 });

    fc.assert(
      fc.property(expression, text(0), text(1), (source, beginning, unit) => {
        const pattern = new RegExp(`${source}!`);
        if (backtracks(pattern)) return;
        // Short ones first, so that a find does not take for ever.
        const lengths = [20, 60, 300, 1_000];
        const took = cpuMilliseconds(() => {
          for (const length of lengths) pattern.test(path(beginning, unit, '', length));
        });
        expect(took).toBeLessThan(500);
      }),
      { numRuns: 300 },
    );
  });
});

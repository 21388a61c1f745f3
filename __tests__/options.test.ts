import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  callable,
  fieldNames,
  flag,
  inspect,
  known,
  milliseconds,
  oneOf,
  refuseRequest,
  wholeNumber,
} from '../src/options.js';

describe('known', () => {
  it('returns the very object it was given', () => {
    const options = Object.freeze({ size: 1 });
    expect(known('piece', options, ['size'])).toBe(options);
  });

  it.each([
    [null, 'null'],
    [5, '5'],
    ['text', '"text"'],
    [[1, 2], 'an array of 2'],
    [new Map([['size', 1]]), 'an instance of Map'],
    [Promise.resolve({ size: 1 }), 'a promise'],
    [() => {}, 'function (anonymous)'],
  ])('refuses %p in place of options', (value, shown) => {
    expect(() => known('piece', value as object, [])).toThrow(
      new TypeError(`piece: options must be an object, received ${shown}`),
    );
  });

  it('says which option was probably meant', () => {
    const options = { headersTimeoutMS: 5 } as { headersTimeoutMs?: number };
    expect(() => known('proxyPass', options, ['headersTimeoutMs'])).toThrow(
      new TypeError(
        'proxyPass: unknown option "headersTimeoutMS", did you mean "headersTimeoutMs"?',
      ),
    );
  });

  it('lists the options there are when none is near', () => {
    const options = { colour: 'red' } as { keep?: string; also?: string };
    expect(() => known('piece', options, ['keep', 'also'])).toThrow(
      new TypeError('piece: unknown option "colour"; known are keep, also'),
    );
    expect(() => known('piece', { colour: 'red' } as object, [])).toThrow(/known are none$/);
  });

  it('takes no option from the prototype of objects for a known one', () => {
    expect(() => known('piece', { toString: 1 } as object, [])).toThrow(/unknown option/);
  });

  it('suggests a nearest key within two edits, and nothing further away', () => {
    const word = fc.stringMatching(/^[a-f]{1,6}$/);
    fc.assert(
      fc.property(word, fc.uniqueArray(word, { minLength: 1, maxLength: 4 }), (typed, keys) => {
        fc.pre(!keys.includes(typed));
        const message = messageOf(() => known('piece', { [typed]: 1 }, keys as never));
        const distances = keys.map((key) => distance(typed, key));
        const nearest = Math.min(...distances);
        const suggested = /did you mean "(.*)"\?$/.exec(message)?.[1];
        if (nearest > 2) expect(suggested).toBeUndefined();
        else expect(distance(typed, suggested ?? '')).toBe(nearest);
      }),
    );
  });
});

describe('refuseRequest', () => {
  it('says that the factory was mounted without being called', () => {
    const req = { rawHeaders: [], headers: {} };
    expect(() => refuseRequest('proxyPass', req)).toThrow(
      new TypeError(
        'proxyPass: it was given a request. Mount what it returns: app.use(proxyPass(…))',
      ),
    );
  });

  it.each([[undefined], [null], ['text'], [{}]])('lets %p pass', (value) => {
    expect(() => refuseRequest('piece', value)).not.toThrow();
  });
});

describe('wholeNumber', () => {
  it.each([0, 1, Number.MAX_SAFE_INTEGER])('takes %p', (value) => {
    expect(() => wholeNumber('piece: size', value)).not.toThrow();
  });

  it('throws a TypeError for what is no number', () => {
    expect(() => wholeNumber('piece: size', '5' as never)).toThrow(
      new TypeError('piece: size must be a whole number, received "5"'),
    );
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
    'throws a RangeError for %p',
    (value) => {
      expect(() => wholeNumber('piece: size', value)).toThrow(
        new RangeError(`piece: size must be a whole number of at least 0, received ${value}`),
      );
    },
  );

  it('keeps to the range it is given, ends included', () => {
    expect(() => wholeNumber('piece: size', 2, 2, 4)).not.toThrow();
    expect(() => wholeNumber('piece: size', 4, 2, 4)).not.toThrow();
    expect(() => wholeNumber('piece: size', 5, 2, 4)).toThrow(
      new RangeError('piece: size must be a whole number from 2 to 4, received 5'),
    );
    expect(() => wholeNumber('piece: size', 1, 2, 4)).toThrow(RangeError);
  });
});

describe('milliseconds', () => {
  it('takes what a timer of Node can wait for, and no more', () => {
    expect(() => milliseconds('piece: waitMs', 1)).not.toThrow();
    expect(() => milliseconds('piece: waitMs', 2 ** 31 - 1)).not.toThrow();
    expect(() => milliseconds('piece: waitMs', 2 ** 31)).toThrow(RangeError);
    expect(() => milliseconds('piece: waitMs', 0)).toThrow(RangeError);
    expect(() => milliseconds('piece: waitMs', 0, 0)).not.toThrow();
  });
});

describe('callable, flag and oneOf', () => {
  it('name the path and the value received', () => {
    expect(() => callable('piece: log', {})).toThrow(
      new TypeError('piece: log must be a function, received an object []'),
    );
    expect(() => flag('piece: hold', 'yes')).toThrow(
      new TypeError('piece: hold must be true or false, received "yes"'),
    );
    expect(() => oneOf('piece: strategy', 7, ['fast', 'slow'])).toThrow(
      new TypeError('piece: strategy must be one of "fast", "slow", received 7'),
    );
  });

  it('take what they ask for', () => {
    expect(() => callable('piece: log', () => {})).not.toThrow();
    expect(() => flag('piece: hold', false)).not.toThrow();
    expect(() => oneOf('piece: strategy', 'slow', ['fast', 'slow'])).not.toThrow();
  });

  it('suggest the choice that was probably meant', () => {
    expect(() => oneOf('piece: strategy', 'round-robbin', ['round-robin'])).toThrow(
      /received "round-robbin", did you mean "round-robin"\?$/,
    );
  });
});

describe('fieldNames', () => {
  it('gives the names in lower case', () => {
    expect(fieldNames('piece: also', ['X-Internal', 'server'])).toEqual(['x-internal', 'server']);
  });

  it.each([['no name'], [''], ['colon:'], [7]])('refuses %p, and says where it is', (name) => {
    expect(() => fieldNames('piece: also', ['x-ok', name as string])).toThrow(
      new TypeError(`piece: also[1] must be a field name, received ${inspect(name)}`),
    );
  });

  it('refuses what is no array', () => {
    expect(() => fieldNames('piece: also', 'x-internal' as never)).toThrow(
      new TypeError('piece: also must be an array of field names, received "x-internal"'),
    );
  });
});

describe('inspect', () => {
  it.each([
    ['text', '"text"'],
    ['two\nlines', '"two\\nlines"'],
    [undefined, 'undefined'],
    [null, 'null'],
    [1.5, '1.5'],
    [10n, '10'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 2, 3], 'an array of 3'],
    [function named() {}, 'function named'],
    [{ a: 1, b: 2 }, 'an object ["a","b"]'],
    [Promise.resolve(1), 'a promise'],
    // biome-ignore lint/suspicious/noThenProperty: as other libraries' promises have it
    [{ then: () => {} }, 'a promise'],
    [new URL('http://localhost/x'), '"http://localhost/x"'],
  ])('shows %p', (value, shown) => {
    expect(inspect(value)).toBe(shown);
  });

  it('never shows the values that an object holds', () => {
    expect(inspect({ password: 'secret' })).not.toContain('secret');
  });

  it('shows no more than 80 characters', () => {
    expect(inspect('x'.repeat(1_000))).toHaveLength(80);
    const wide = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key${i}`, i]));
    expect(inspect(wide).length).toBeLessThan(100);
  });

  it.each([
    'htp://user:secret@host/path',
    'http://user:se@secret@host',
    'http://user:in/secret@host',
    'http://user:of secret@host',
    'http:user:secret@host',
    'user:secret@host:8080',
    'https://secret@host',
  ])('masks the credentials in %p', (url) => {
    expect(inspect(url)).not.toContain('secret');
    expect(inspect(url)).toContain('host');
  });

  it('masks the credentials of a URL object', () => {
    expect(inspect(new URL('ftp://user:secret@host/'))).toBe('"ftp://***@host/"');
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

/** How many letters to put in, take out or exchange: by its definition, slowly. */
function distance(a: string, b: string): number {
  if (a === '' || b === '') return a.length + b.length;
  const [restA, restB] = [a.slice(1), b.slice(1)];
  if (a[0] === b[0]) return distance(restA, restB);
  return 1 + Math.min(distance(restA, restB), distance(restA, b), distance(a, restB));
}

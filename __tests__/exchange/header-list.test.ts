import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { HeaderList } from 'headrace';

describe('HeaderList', () => {
  it('matches names in any case and keeps their spelling', () => {
    const list = HeaderList.from({ 'X-Proxy': 'magical' });
    expect(list.get('x-PROXY')).toBe('magical');
    expect(list.has('x-proxy')).toBe(true);
    expect([...list]).toEqual([['X-Proxy', 'magical']]);
  });

  it('keeps several lines of one name apart and in order', () => {
    const list = new HeaderList().append('Set-Cookie', 'a=1').append('set-cookie', 'b=2');
    expect(list.getAll('Set-Cookie')).toEqual(['a=1', 'b=2']);
    expect(list.get('Set-Cookie')).toBe('a=1, b=2');
  });

  it('replaces the first line where it stands, and takes out the others', () => {
    const list = HeaderList.from([
      ['A', '1'],
      ['B', '2'],
      ['a', '3'],
    ]);
    list.set('a', '4');
    expect([...list]).toEqual([
      ['a', '4'],
      ['B', '2'],
    ]);
  });

  it.each([[undefined], [null], [{}], [[null]], [Symbol('s')]])('takes no %p', (value) => {
    const list = new HeaderList();
    expect(() => list.set('x-a', value as never)).toThrow(
      /^headers: "x-a" must have text for a value, received /,
    );
    expect([...list]).toEqual([]);
  });

  it('makes a line of each element of an array', () => {
    expect([...new HeaderList().set('Link', ['<a>', '<b>'])]).toEqual([
      ['Link', '<a>'],
      ['Link', '<b>'],
    ]);
    expect(HeaderList.from({ a: '1' }).set('A', []).has('a')).toBe(false);
  });

  it('says how a field is set to what assigns one, as to the header of node:http', () => {
    const list = HeaderList.from({ a: '1' });
    const assign = () => Object.assign(list, { 'x-proxy': 'magical' });
    expect(assign).toThrow(
      new TypeError('headers["x-proxy"] = … sets no field, use headers.set("x-proxy", …)'),
    );
    expect(list).not.toHaveProperty('x-proxy');
    expect([...list]).toEqual([['a', '1']]);
  });

  it('writes numbers as text', () => {
    expect(new HeaderList().set('Age', 0).get('age')).toBe('0');
    expect(new HeaderList().append('Age', 7).get('age')).toBe('7');
  });

  it('says whether there was something to delete', () => {
    const list = HeaderList.from({ a: '1' });
    expect(list.delete('A')).toBe(true);
    expect(list.delete('A')).toBe(false);
  });

  it('is made from an object, pairs, a Headers, a Map or another list', () => {
    const expected = [
      ['a', '1'],
      ['b', '2'],
      ['b', '3'],
    ];
    const fromObject = HeaderList.from({ a: 1, b: ['2', '3'], c: undefined });
    expect([...fromObject]).toEqual(expected);
    expect([...HeaderList.from(expected as [string, string][])]).toEqual(expected);
    expect([...HeaderList.from(fromObject)]).toEqual(expected);
    expect([...HeaderList.from(new Map([['a', '1']]))]).toEqual([['a', '1']]);
    expect([...HeaderList.from(new Headers({ a: '1' }))]).toEqual([['a', '1']]);
    expect([...HeaderList.from(undefined)]).toEqual([]);
  });

  it('is a copy of the list it is made from', () => {
    const original = HeaderList.from({ a: '1' });
    HeaderList.from(original).set('a', '2');
    expect(original.get('a')).toBe('1');
  });

  it('prints as an object with lower-case names, whatever the names are', () => {
    const list = HeaderList.from([
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
      ['__proto__', 'x'],
    ]);
    expect(JSON.stringify(list)).toBe('{"set-cookie":["a=1","b=2"],"__proto__":"x"}');
  });

  it.each([
    ['bad name', 'value'],
    ['', 'value'],
    ['x', 'two\r\nlines'],
    ['x', 'nul\0'],
    ['x', 'beyond latin-1: €'],
  ])('refuses %j: %j, which cannot be sent, and stays as it was', (name, value) => {
    const list = HeaderList.from({ x: 'before' });
    expect(() => list.set(name, value)).toThrow(UNSENDABLE);
    expect(() => list.append(name, value)).toThrow(UNSENDABLE);
    expect(() => list.set(name, ['fine', value])).toThrow(UNSENDABLE);
    expect([...list]).toEqual([['x', 'before']]);
  });

  it('does what a plain list of lines does', () => {
    const name = fc.constantFrom('a', 'A', 'b', 'B', 'ab');
    const value = fc.stringMatching(/^[ -~]{0,4}$/);
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), name, value }),
      fc.record({ do: fc.constant('append' as const), name, value }),
      fc.record({ do: fc.constant('delete' as const), name, value }),
      fc.record({ do: fc.constant('setAll' as const), name, value }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const list = new HeaderList();
        let model: [string, string][] = [];
        for (const { do: what, name, value } of steps) {
          const others = model.filter((line) => !isNamed(line, name));
          if (what === 'append') {
            list.append(name, value);
            model.push([name, value]);
          } else if (what === 'delete') {
            expect(list.delete(name)).toBe(others.length < model.length);
            model = others;
          } else {
            const values = what === 'setAll' ? [value, 'second'] : [value];
            list.set(name, what === 'setAll' ? values : value);
            const lines = values.map((value): [string, string] => [name, value]);
            const at = model.findIndex((line) => isNamed(line, name));
            if (at === -1) model.push(...lines);
            else
              model = model.flatMap((line, i) =>
                i === at ? lines : isNamed(line, name) ? [] : [line],
              );
          }
        }
        expect([...list]).toEqual(model);
        expect(list.flat()).toEqual(model.flat());
        for (const name of ['a', 'B', 'aB']) {
          const values = model.filter((line) => isNamed(line, name)).map(([, value]) => value);
          expect(list.getAll(name)).toEqual(values);
          expect(list.get(name)).toBe(values.length === 0 ? undefined : values.join(', '));
          expect(list.has(name)).toBe(values.length > 0);
        }
      }),
    );
  });
});

/** Node's own words. Its TypeError is not Jest's. */
const UNSENDABLE = /must be a valid HTTP token|Invalid character in header content/;

function isNamed([name]: [string, string], other: string): boolean {
  return name.toLowerCase() === other.toLowerCase();
}

import { describe, expect, it } from '@jest/globals';
import { History } from '../../src/status/history.js';

const valuesOf = (history: History): unknown => JSON.parse(JSON.stringify(history));

describe('History', () => {
  it('keeps the latest values, oldest first', () => {
    const history = new History(3);
    expect(valuesOf(history)).toEqual([]);
    for (const value of [1, 2, null]) history.push(value);
    expect(valuesOf(history)).toEqual([1, 2, null]);
    history.push(4, 2);
    expect(valuesOf(history)).toEqual([null, 4, 4]);
    history.push(5, 1e9);
    expect(valuesOf(history)).toEqual([5, 5, 5]);
  });

  it('tells numbers in few digits', () => {
    const history = new History(3);
    for (const value of [0.123456, 12.3456, 123_456.7]) history.push(value);
    expect(valuesOf(history)).toEqual([0.123, 12.3, 123_457]);
  });
});

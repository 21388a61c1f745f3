import { describe, expect, it } from '@jest/globals';
import { Roster } from '../../../src/upstreams/strategies/roster.js';
import type { Upstream } from '../../../src/upstreams/upstream.js';
import { upstreamsOf } from '../../helpers/upstreams.js';

describe('Roster', () => {
  it('prepares once for a list', () => {
    const { roster, prepared } = setUp();
    const list = upstreamsOf(1, 1, 1);
    roster.for(list);
    expect(roster.for(list).candidates).toBe(list);
    expect(prepared).toEqual([list]);
  });

  it('prepares at once for a list with somebody new, and for the same ones in a new list', () => {
    const { roster, prepared } = setUp();
    const list = upstreamsOf(1, 1, 1);
    const lists = [list.slice(0, 2), list, [...list]];
    for (const each of lists) expect(roster.for(each).candidates).toBe(each);
    expect(prepared).toEqual(lists);
  });

  it('prepares at once for a list without one that may not be chosen', () => {
    const { roster } = setUp();
    const list = upstreamsOf(1, 1, 1);
    roster.for(list);
    list[1]?.bar('ejected');
    const left = list.filter(({ usable }) => usable);
    expect(roster.for(left).candidates).toBe(left);
  });

  it('keeps what is prepared for the whole list when retries leave some out', () => {
    const { roster, prepared } = setUp();
    const list = upstreamsOf(1, 1, 1);
    roster.for(list);
    for (let i = 0; i < 3; i++) expect(roster.for(list.slice(1)).candidates).toBe(list);
    expect(roster.for(list).candidates).toBe(list);
    expect(prepared).toEqual([list]);
  });

  it('prepares for a shorter list that comes again', () => {
    const { roster } = setUp();
    const list = upstreamsOf(1, 1, 1);
    const left = list.slice(1);
    roster.for(list);
    expect(roster.for(left).candidates).toBe(list);
    expect(roster.for(left).candidates).toBe(left);
  });
});

function setUp() {
  const prepared: (readonly Upstream[])[] = [];
  const roster = new Roster((candidates) => {
    prepared.push(candidates);
    return { candidates };
  });
  return { roster, prepared };
}

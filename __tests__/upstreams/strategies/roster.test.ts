import { describe, expect, it } from '@jest/globals';
import { type Prepared, Roster } from '../../../src/upstreams/strategies/roster.js';
import { Upstream } from '../../../src/upstreams/upstream.js';
import { manyUpstreams, upstreamsOf } from '../../helpers/upstreams.js';

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

  it('keeps what is prepared for each priority: retries go from one to the next and back', () => {
    const { roster, prepared } = setUp();
    const lists = [upstreamsOf(1, 1), inReserve(2), inReserve(3, 2)];
    for (let i = 0; i < 3; i++)
      for (const list of lists) expect(roster.for(list).candidates).toBe(list);
    expect(prepared).toEqual(lists);
    roster.for((lists[1] as Upstream[]).slice(1));
    expect(prepared).toEqual(lists);
  });

  it('tells what was there before of the same priority only', () => {
    const { roster, before } = setUp();
    const lists = [upstreamsOf(1, 1), inReserve(2), upstreamsOf(1, 1), inReserve(2)];
    for (const list of lists) roster.for(list);
    expect(before.map((one) => one?.candidates)).toEqual([
      undefined,
      undefined,
      lists[0],
      lists[1],
    ]);
  });

  it('forgets a priority all of whose upstreams have been removed', () => {
    const { roster, before } = setUp();
    const gone = inReserve(2);
    roster.for(gone);
    for (const upstream of gone) upstream.bar('draining');
    roster.for(upstreamsOf(1, 1));
    roster.for(inReserve(2));
    expect(before).toEqual([undefined, undefined, undefined]);
  });
});

function inReserve(count: number, priority = 1): Upstream[] {
  return manyUpstreams(count).map(({ url }) => new Upstream({ url, priority }));
}

function setUp() {
  const prepared: (readonly Upstream[])[] = [];
  const before: (Prepared | undefined)[] = [];
  const roster = new Roster<Prepared>((candidates, previous) => {
    prepared.push(candidates);
    before.push(previous);
    return { candidates };
  });
  return { roster, prepared, before };
}

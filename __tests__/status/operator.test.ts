import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Upstream, UpstreamPool } from 'headrace';
import { Operator } from '../../src/status/operator.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function operated() {
  const pool = new UpstreamPool(['http://a', 'http://b']);
  const operator = new Operator({ api: pool });
  return {
    operator,
    pool,
    a: pool.upstreams[0] as Upstream,
    act: (action: string, upstream = 'http://a', name = 'api') =>
      operator.act(new URLSearchParams({ action, upstream, pool: name })),
  };
}

describe('by hand, an upstream', () => {
  it('is drained until it is resumed', () => {
    const { act, a, pool } = operated();
    expect(act('drain')).toBeUndefined();
    expect([...a.bars]).toEqual(['held']);
    expect(pool.eligible.map(String)).toEqual(['http://b']);
    jest.advanceTimersByTime(3_600_000);
    expect(a.usable).toBe(false);
    expect(act('resume')).toBeUndefined();
    expect(pool.eligible).toHaveLength(2);
  });

  it('is ejected for half a minute', () => {
    const { act, a } = operated();
    act('eject');
    jest.advanceTimersByTime(29_999);
    expect(a.usable).toBe(false);
    jest.advanceTimersByTime(1);
    expect(a.usable).toBe(true);
  });

  it('is back early when it is resumed, and its ejection does not end the next one', () => {
    const { act, a } = operated();
    act('eject');
    jest.advanceTimersByTime(20_000);
    act('resume');
    expect(a.usable).toBe(true);
    act('eject');
    jest.advanceTimersByTime(20_000);
    expect(a.usable).toBe(false);
  });

  it('stays drained whatever else is asked, until it is resumed', () => {
    const { act, a } = operated();
    act('eject');
    act('drain');
    act('eject');
    jest.advanceTimersByTime(60_000);
    expect(a.usable).toBe(false);
  });

  it('is back when passive health had ejected it, but not when it is down', () => {
    const { act, a } = operated();
    a.bar('ejected');
    a.bar('unhealthy');
    act('resume');
    expect([...a.bars]).toEqual(['unhealthy']);
  });

  it('is left alone when there is no such thing', () => {
    const { act } = operated();
    expect(act('drain', 'http://c')).toEqual([404, 'There is no such upstream in such a pool']);
    expect(act('drain', 'http://a', 'constructor')?.[0]).toBe(404);
    expect(act('explode')).toEqual([400, 'The action must be drain, eject or resume']);
  });

  it('is back when the page is closed before its time is over', () => {
    const { operator, act, a, pool } = operated();
    act('eject');
    act('drain', 'http://b');
    operator.close();
    expect(a.usable).toBe(true);
    expect(pool.eligible.map(String)).toEqual(['http://a']);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is drained on one page and stays so when its ejection by another is over', () => {
    const { act, a, pool } = operated();
    act('eject');
    new Operator({ same: pool }).act(
      new URLSearchParams({ action: 'drain', upstream: 'http://a', pool: 'same' }),
    );
    jest.advanceTimersByTime(60_000);
    expect(a.usable).toBe(false);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is ejected by another page for all of its time when the first one is closed', () => {
    const { act, a, pool, operator } = operated();
    const other = new Operator({ same: pool });
    const form = { upstream: 'http://a', pool: 'same' };
    act('eject');
    other.act(new URLSearchParams({ ...form, action: 'resume' }));
    expect(a.usable).toBe(true);
    other.act(new URLSearchParams({ ...form, action: 'eject' }));
    operator.close();
    jest.advanceTimersByTime(29_999);
    expect(a.usable).toBe(false);
    jest.advanceTimersByTime(1);
    expect(a.usable).toBe(true);
  });
});

import { createHook } from 'node:async_hooks';
import { describe, expect, it, jest } from '@jest/globals';
import { UpstreamPool } from 'headrace';
import { type Circuit, type CircuitChange, REFUSED } from '../../src/upstreams/circuit.js';
import { Circuits } from '../../src/upstreams/circuits.js';
import type { Upstream } from '../../src/upstreams/upstream.js';
import { anExchange, type TestClock, testClock } from '../helpers/exchanges.js';
import { closeAfter } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** The circuits of a breaker that opens at the second failure, and what it has told. */
function aBreaker({ resetTimeoutMs = 5_000, clock = testClock() } = {}) {
  const changes: CircuitChange[] = [];
  const circuits = new Circuits(
    {
      errorThresholdPercentage: 50,
      volumeThreshold: 2,
      windowMs: 10_000,
      resetTimeoutMs,
      now: clock,
    },
    (change) => void changes.push(change),
  );
  return { circuits, changes, clock };
}

function fail(circuit: Circuit): void {
  for (let i = 0; i < 2; i++) circuit.settle(circuit.admit(), false);
}

const counts = (closed: number, halfOpen: number, open: number) => ({
  closed,
  'half-open': halfOpen,
  open,
});

function poolOf(...names: string[]): { pool: UpstreamPool; upstreams: readonly Upstream[] } {
  const pool = new UpstreamPool(
    names.map((name) => `http://${name}`),
    { health: { passive: false } },
  );
  return { pool, upstreams: pool.upstreams };
}

/** The upstreams that so many picks bring. */
function picks(pool: UpstreamPool, count: number): (string | undefined)[] {
  return Array.from({ length: count }, () => pool.pick(anExchange())?.hostname);
}

/** How many timers `run` leaves behind. */
async function timersLeftBy(run: () => void): Promise<number> {
  const timers = new Set<number>();
  let isRunning = true;
  const hook = createHook({
    init(id, type) {
      if (type === 'Timeout' && isRunning) timers.add(id);
    },
    destroy(id) {
      timers.delete(id);
    },
  }).enable();
  run();
  isRunning = false;
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  hook.disable();
  return timers.size;
}

describe('a thousand circuits', () => {
  it('cost no timer while they are closed, and one while they are open', async () => {
    const { circuits } = aBreaker();
    const all = Array.from({ length: 1_000 }, (_, i) => circuits.ofKey(String(i)));
    const warn = jest.spyOn(process, 'emitWarning');
    const closed = await timersLeftBy(() => {
      for (const circuit of all) circuit.settle(circuit.admit(), false);
    });
    const open = await timersLeftBy(() => {
      for (const circuit of all) circuit.settle(circuit.admit(), false);
    });
    expect(new Set(all.map(({ state }) => state))).toEqual(new Set(['open']));
    expect([closed, open]).toEqual([0, 1]);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  it('become half-open each in its time, with that one timer', async () => {
    const clock = Object.assign(() => performance.now(), { advance() {} }) as TestClock;
    const { circuits, changes } = aBreaker({ resetTimeoutMs: 30, clock });
    for (let i = 0; i < 1_000; i++) fail(circuits.ofKey(String(i)));
    const halfOpen = () => changes.filter(({ state }) => state === 'half-open');
    await eventually('all are half-open', () => halfOpen().length === 1_000);
    const opened = new Map(changes.map(({ key, openedAt }) => [key, openedAt as number]));
    for (const { key, since } of halfOpen()) {
      expect(since - (opened.get(key) as number)).toBeGreaterThanOrEqual(30);
    }
  });

  it('are not forgotten by a timer that comes early', async () => {
    const { circuits, clock } = aBreaker({ resetTimeoutMs: 20 });
    const circuit = circuits.ofKey('a');
    fail(circuit);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(circuit.state).toBe('open');
    clock.advance(20);
    await eventually('it is half-open', () => circuit.state === 'half-open');
  });

  it('wait with that one timer for probes that say nothing, too', async () => {
    const { circuits, clock } = aBreaker();
    const left = await timersLeftBy(() => {
      fail(circuits.ofKey('a'));
      fail(circuits.ofKey('b'));
      clock.advance(5_000);
      circuits.ofKey('a').admit();
      circuits.ofKey('b').admit();
      fail(circuits.ofKey('c'));
    });
    expect(left).toBe(1);
  });

  it('set it for no longer than a timer can wait, when the clock is set back', async () => {
    const { circuits, clock } = aBreaker({ resetTimeoutMs: 20 });
    const set = jest.spyOn(globalThis, 'setTimeout');
    fail(circuits.ofKey('a'));
    clock.advance(-1e10);
    await eventually('another timer', () => set.mock.calls.some(([, ms]) => ms === 2 ** 31 - 1));
    set.mockRestore();
  });

  it('leave no timer behind when all have been probed before it was due', async () => {
    const { circuits, clock } = aBreaker();
    const left = await timersLeftBy(() => {
      const circuit = circuits.ofKey('a');
      fail(circuit);
      clock.advance(5_000);
      circuit.settle(circuit.admit(), true);
    });
    expect(left).toBe(0);
  });
});

describe('circuits that are counted', () => {
  it('are told by their states, those of keys and of upstreams, as they are by now', () => {
    const { circuits, clock } = aBreaker();
    const { upstreams } = poolOf('a.test', 'b.test');
    expect([circuits.counts, circuits.transitions]).toEqual([counts(0, 0, 0), counts(0, 0, 0)]);
    circuits.ofKey('well');
    fail(circuits.ofKey('ill'));
    for (const upstream of upstreams) fail(circuits.ofUpstream(upstream));
    expect([circuits.counts, circuits.transitions]).toEqual([counts(1, 0, 3), counts(0, 0, 3)]);
    clock.advance(5_000);
    expect([circuits.counts, circuits.transitions]).toEqual([counts(1, 3, 0), counts(0, 3, 3)]);
    const probed = circuits.ofKey('ill');
    probed.settle(probed.admit(), true);
    expect([circuits.counts, circuits.transitions]).toEqual([counts(2, 2, 0), counts(1, 3, 3)]);
  });

  it('are those of upstreams that are still in use, and of keys that are remembered', () => {
    const { circuits } = aBreaker();
    const { pool, upstreams } = poolOf('a.test', 'b.test');
    for (const upstream of upstreams) fail(circuits.ofUpstream(upstream));
    pool.remove('http://a.test');
    expect(circuits.counts).toEqual(counts(0, 0, 1));
    for (let i = 0; i < 1_500; i++) circuits.ofKey(String(i));
    expect(circuits.counts).toEqual(counts(1_000, 0, 1));
  });
});

describe('circuits of keys', () => {
  it('are the same for the same key, and apart for others', () => {
    const { circuits } = aBreaker();
    fail(circuits.ofKey('a'));
    expect(circuits.ofKey('a').admit()).toBe(REFUSED);
    expect(circuits.ofKey('b').admit()).not.toBe(REFUSED);
  });

  it('are no more than a thousand; the one not used for longest is forgotten', () => {
    const { circuits } = aBreaker();
    const first = circuits.ofKey('first');
    const second = circuits.ofKey('second');
    for (let i = 0; i < 998; i++) circuits.ofKey(String(i));
    expect(circuits.ofKey('first')).toBe(first);
    circuits.ofKey('one too many');
    expect(circuits.ofKey('first')).toBe(first);
    expect(circuits.ofKey('second')).not.toBe(second);
  });

  it('that are open are not pushed out by clients that make keys up', () => {
    const { circuits } = aBreaker();
    const open = Array.from({ length: 5 }, (_, i) => circuits.ofKey(`open ${i}`));
    open.forEach(fail);
    for (let i = 0; i < 5_000; i++) circuits.ofKey(String(i));
    open.forEach((circuit, i) => {
      expect(circuits.ofKey(`open ${i}`)).toBe(circuit);
    });
  });

  it('are bounded even when all of them are open, and then leave no timer and no word', async () => {
    const { circuits, changes, clock } = aBreaker();
    for (let i = 0; i < 1_100; i++) fail(circuits.ofKey(String(i)));
    clock.advance(5_000);
    circuits.ofKey('another');
    expect(changes.filter(({ state }) => state === 'half-open')).toHaveLength(1_000);
  });

  it('tell nothing of one that has been forgotten', () => {
    const { circuits, changes } = aBreaker();
    const forgotten = circuits.ofKey('a');
    for (let i = 0; i < 1_000; i++) circuits.ofKey(String(i));
    const now = circuits.ofKey('a');
    fail(forgotten);
    expect([forgotten.state, now.state, changes]).toEqual(['open', 'closed', []]);
  });
});

describe('a listener', () => {
  it('is told what has changed from what to what, and when it opened', () => {
    const { circuits, changes, clock } = aBreaker();
    const { upstreams } = poolOf('a');
    const upstream = upstreams[0] as Upstream;
    const circuit = circuits.ofUpstream(upstream);
    fail(circuit);
    clock.advance(5_000);
    circuit.settle(circuit.admit(), false);
    clock.advance(6_000);
    circuit.settle(circuit.admit(), true);
    expect(
      changes.map(({ previous, state, since, openedAt }) => [previous, state, since, openedAt]),
    ).toEqual([
      ['closed', 'open', 1_000, 1_000],
      ['open', 'half-open', 6_000, 1_000],
      ['half-open', 'open', 6_000, 1_000],
      ['open', 'half-open', 12_000, 1_000],
      ['half-open', 'closed', 12_000, undefined],
    ]);
    expect(new Set(changes.map((change) => change.upstream))).toEqual(new Set([upstream]));
    expect(changes[0]?.key).toBeUndefined();
    fail(circuits.ofKey('k'));
    expect(changes.at(-1)).toMatchObject({ key: 'k', upstream: undefined });
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('listener');
      },
    ],
    [
      'rejects',
      async () => {
        throw new Error('listener');
      },
    ],
  ])('that %s becomes a warning of the process', async (_, listener) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const settings = {
      errorThresholdPercentage: 50,
      volumeThreshold: 2,
      windowMs: 10_000,
      resetTimeoutMs: 5_000,
      now: testClock(),
    };
    const circuit = new Circuits(settings, listener).ofKey('a');
    fail(circuit);
    await new Promise(setImmediate);
    expect(circuit.state).toBe('open');
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]).toMatchObject([
      expect.stringContaining('onStateChange'),
      { code: 'HEADRACE_LISTENER', detail: expect.stringContaining('Error: listener') },
    ]);
    warn.mockRestore();
  });
});

describe('a pool with a breaker', () => {
  it('avoids an upstream whose circuit is open, gives it its probe, and takes it back', () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a', 'b');
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    const b = circuits.ofUpstream(upstreams[1] as Upstream);
    fail(a);
    expect(picks(pool, 3)).toEqual(['b', 'b', 'b']);
    expect(pool.stats()[0]).toMatchObject({ usable: false, bars: ['open'] });

    clock.advance(5_000);
    circuits.ofUpstream(upstreams[1] as Upstream);
    expect(pool.eligible.map(({ hostname }) => hostname)).toEqual(['a', 'b']);
    expect(picks(pool, 2).sort()).toEqual(['a', 'b']);
    const probe = a.admit();
    expect(picks(pool, 3)).toEqual(['b', 'b', 'b']);
    a.settle(probe, undefined);
    expect(picks(pool, 2).sort()).toEqual(['a', 'b']);
    a.settle(a.admit(), true);
    expect(pool.stats()[0]).toMatchObject({ usable: true, bars: [] });
    expect(picks(pool, 2).sort()).toEqual(['a', 'b']);
    expect(b.state).toBe('closed');
  });

  it('gives it another probe when the first one says nothing, with nobody asking', async () => {
    const { circuits, clock } = aBreaker({ resetTimeoutMs: 20 });
    const { pool, upstreams } = poolOf('a', 'b');
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    const eligible = () => pool.eligible.map(({ hostname }) => hostname).join();
    fail(a);
    clock.advance(20);
    const late = a.admit();
    expect(eligible()).toBe('b');
    clock.advance(20);
    await eventually('the place is free', () => eligible() === 'a,b');
    a.settle(late, true);
    expect([a.state, pool.stats()[0]?.bars]).toEqual(['closed', []]);
  });

  it('does so at a pick where there is nothing else to choose, however late the timer is', () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a');
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    fail(a);
    clock.advance(5_000);
    a.admit();
    clock.advance(4_999);
    expect(picks(pool, 1)).toEqual([undefined]);
    clock.advance(1);
    expect(picks(pool, 1)).toEqual(['a']);
  });

  it('waits for no probe of an upstream that has been removed', async () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a');
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    const left = await timersLeftBy(() => {
      fail(a);
      clock.advance(5_000);
      a.halfOpen();
      pool.remove('http://a');
      a.admit();
    });
    expect(left).toBe(0);
  });

  it('tells once that it is out and once that it has recovered, however many probes that takes', () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a', 'b');
    const told: string[] = [];
    pool
      .on('ejected', ({ hostname }, bar) => told.push(`${hostname} ejected: ${bar}`))
      .on('recovered', ({ hostname }) => told.push(`${hostname} recovered`))
      .on('circuit', ({ hostname }, { state }) => told.push(`${hostname} ${state}`))
      .on('change', (eligible) => told.push(`${eligible.length} eligible`));
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    fail(a);
    clock.advance(5_000);
    a.settle(a.admit(), false);
    clock.advance(5_000);
    a.settle(a.admit(), true);
    expect(told).toEqual([
      '1 eligible',
      'a ejected: open',
      'a open',
      '2 eligible',
      'a half-open',
      '1 eligible',
      'a open',
      '2 eligible',
      'a half-open',
      '1 eligible',
      '2 eligible',
      'a recovered',
      'a closed',
    ]);
  });

  it('starts one slowly that has recovered, and not one that is only half-open', () => {
    const clock = testClock();
    const { circuits } = aBreaker({ clock });
    const pool = new UpstreamPool(['http://a', 'http://b'], {
      slowStartMs: 10_000,
      now: clock,
      random: () => 0.99,
    });
    const a = circuits.ofUpstream(pool.upstreams[0] as Upstream);
    fail(a);
    clock.advance(5_000);
    a.halfOpen();
    expect(picks(pool, 2)).toContain('a');
    a.settle(a.admit(), true);
    expect(picks(pool, 8)).not.toContain('a');
    clock.advance(10_000);
    expect(picks(pool, 2)).toContain('a');
  });

  it('says in its stats how the circuit stands, since when, and when it opened', () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a');
    expect(pool.stats()[0]?.circuit).toBeUndefined();
    const a = circuits.ofUpstream(upstreams[0] as Upstream);
    const circuit = () => pool.stats()[0]?.circuit;
    expect(circuit()).toEqual({ state: 'closed', since: 1_000, openedAt: undefined });
    clock.advance(500);
    fail(a);
    expect(circuit()).toEqual({ state: 'open', since: 1_500, openedAt: 1_500 });
    clock.advance(5_000);
    a.settle(a.admit(), false);
    expect(circuit()).toEqual({ state: 'open', since: 6_500, openedAt: 1_500 });
    clock.advance(5_000);
    a.halfOpen();
    expect(circuit()).toEqual({ state: 'half-open', since: 11_500, openedAt: 1_500 });
    a.settle(a.admit(), true);
    expect(circuit()).toEqual({ state: 'closed', since: 11_500, openedAt: undefined });
  });

  it('uses a lower priority while the circuits above are open', () => {
    const { circuits, clock } = aBreaker();
    const pool = new UpstreamPool([{ url: 'http://a' }, { url: 'http://spare', priority: 1 }]);
    const a = circuits.ofUpstream(pool.upstreams[0] as Upstream);
    fail(a);
    expect(picks(pool, 2)).toEqual(['spare', 'spare']);
    clock.advance(5_000);
    a.halfOpen();
    expect(picks(pool, 1)).toEqual(['a']);
    const probe = a.admit();
    expect(picks(pool, 2)).toEqual(['spare', 'spare']);
    a.settle(probe, true);
    expect(picks(pool, 2)).toEqual(['a', 'a']);
  });

  it('keeps one barred until all breakers that share it let it through', () => {
    const clock = testClock();
    const [one, other] = [aBreaker({ clock }), aBreaker({ clock, resetTimeoutMs: 9_000 })];
    const { pool, upstreams } = poolOf('a', 'b');
    const upstream = upstreams[0] as Upstream;
    const [first, second] = [
      one.circuits.ofUpstream(upstream),
      other.circuits.ofUpstream(upstream),
    ];
    fail(first);
    fail(second);
    clock.advance(5_000);
    first.settle(first.admit(), true);
    expect([first.state, second.state, upstream.usable]).toEqual(['closed', 'open', false]);
    expect(pool.stats()[0]).toMatchObject({ bars: ['open'], circuit: { state: 'open' } });
    clock.advance(4_000);
    second.halfOpen();
    expect([upstream.usable, [...upstream.bars]]).toEqual([true, ['open']]);
    fail(first);
    expect(upstream.usable).toBe(false);
    clock.advance(5_000);
    first.halfOpen();
    const probe = first.admit();
    expect([upstream.usable, second.awaitsProbe]).toEqual([false, true]);
    first.settle(probe, true);
    expect(upstream.usable).toBe(true);
    second.settle(second.admit(), true);
    expect([upstream.usable, [...upstream.bars]]).toEqual([true, []]);
  });

  it('does not take one back whose circuit is closed but that is out for another reason', () => {
    const { circuits, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a', 'b');
    const upstream = upstreams[0] as Upstream;
    const told: string[] = [];
    pool.on('recovered', ({ hostname }) => told.push(hostname));
    const circuit = circuits.ofUpstream(upstream);
    fail(circuit);
    upstream.bar('ejected');
    clock.advance(5_000);
    circuit.halfOpen();
    expect(upstream.usable).toBe(false);
    upstream.lift('ejected');
    expect([upstream.usable, upstream.well, told]).toEqual([true, false, []]);
    upstream.bar('unhealthy');
    circuit.settle(circuit.admit(), true);
    expect([upstream.usable, told]).toEqual([false, []]);
    upstream.lift('unhealthy');
    expect([upstream.usable, told]).toEqual([true, ['a']]);
  });

  it('does not start one slowly that is back from elsewhere while its circuit is half-open', () => {
    const { circuits, clock } = aBreaker();
    const pool = new UpstreamPool(['http://a', 'http://b'], {
      slowStartMs: 10_000,
      now: clock,
      random: () => 0.99,
    });
    const upstream = pool.upstreams[0] as Upstream;
    const circuit = circuits.ofUpstream(upstream);
    fail(circuit);
    clock.advance(5_000);
    upstream.bar('unhealthy');
    circuit.halfOpen();
    upstream.lift('unhealthy');
    expect(picks(pool, 2)).toContain('a');
  });

  it('is not left by passive health with nothing but one that is half-open', () => {
    const { circuits, clock } = aBreaker();
    const pool = new UpstreamPool(['http://a', 'http://b'], {
      health: { passive: { maxFailures: 2 } },
      now: clock,
    });
    closeAfter(() => pool.close());
    const [a, b] = pool.upstreams as [Upstream, Upstream];
    fail(circuits.ofUpstream(a));
    clock.advance(5_000);
    circuits.ofUpstream(a).halfOpen();
    for (let i = 0; i < 3; i++) b.noteFailure('ERR_PROXY_RESET');
    expect(b.usable).toBe(true);
    circuits.ofUpstream(a).settle(circuits.ofUpstream(a).admit(), true);
    b.noteFailure('ERR_PROXY_RESET');
    expect(b.usable).toBe(false);
  });

  it('forgets the circuit of an upstream that is removed, and begins anew when it comes back', () => {
    const { circuits, changes, clock } = aBreaker();
    const { pool, upstreams } = poolOf('a', 'b');
    const before = circuits.ofUpstream(upstreams[0] as Upstream);
    const late = circuits.ofUpstream(upstreams[1] as Upstream);
    fail(before);
    const told: string[] = [];
    pool.on('circuit', ({ hostname }) => told.push(hostname));
    pool.remove('http://a');
    pool.remove('http://b');
    fail(late);
    clock.advance(5_000);
    const again = pool.add('http://a');
    expect(circuits.ofUpstream(again).state).toBe('closed');
    expect([told, changes.map(({ state }) => state)]).toEqual([[], ['open']]);
  });
});

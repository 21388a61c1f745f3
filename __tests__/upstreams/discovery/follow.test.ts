import timers, { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, jest } from '@jest/globals';
import type { Discovery } from 'headrace';
import {
  follow,
  MAX_BACKOFF_MS,
  MIN_BACKOFF_MS,
  UPDATE_INTERVAL_MS,
} from '../../../src/upstreams/discovery/follow.js';
import { generated, pushSource, recordingSink } from '../../helpers/discovery.js';
import { closeAfter } from '../../helpers/servers.js';
import { eventually, settled } from '../../helpers/settled.js';

/** Follows until the test is over; pauses after failures are as short as can be. */
function followed(source: Discovery, random: () => number = () => 0) {
  const sink = recordingSink();
  const stop = follow(source, sink, random);
  closeAfter(stop);
  return { sink, stop };
}

/** The pauses that a follower asks for from here on. How long they really are is up to the machine, too. */
function pausesAskedFor(): number[] {
  const pauses: number[] = [];
  const { setTimeout } = timers;
  const spy = jest.spyOn(timers, 'setTimeout').mockImplementation((ms, value, options) => {
    // Those of the test cannot be stopped.
    if (options?.signal !== undefined) pauses.push(ms ?? 0);
    return setTimeout(ms, value, options);
  });
  closeAfter(() => spy.mockRestore());
  return pauses;
}

describe('follow', () => {
  it('hands on every list of a source that takes its time', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    for (const list of [['a'], ['a', 'b'], []]) {
      const count = sink.updates.length;
      source.push(list);
      await eventually('the update', () => sink.updates.length > count);
    }
    expect(sink.log).toEqual([['a'], ['a', 'b'], []]);
    expect(source.opened).toBe(1);
  });

  it('tells nothing before whoever follows can listen', async () => {
    const broken = {
      [Symbol.asyncIterator]() {
        throw new Error('at the first touch');
      },
    } as Discovery;
    const { sink } = followed(broken, () => 1);
    expect(sink.log).toEqual([]);
    await eventually('the failure', () => sink.failures.length > 0);
    expect(sink.log).toEqual(['Error: at the first touch']);
  });

  it('tells that a generator threw, once, and begins it anew', async () => {
    let begun = 0;
    const { sink } = followed(
      generated(async function* () {
        yield [`list ${++begun}`];
        if (begun < 3) throw new Error(`failure ${begun}`);
        await new Promise(() => {});
      }),
    );
    await eventually('three lists', () => sink.updates.length === 3);
    expect(sink.log).toEqual([
      ['list 1'],
      'Error: failure 1',
      ['list 2'],
      'Error: failure 2',
      ['list 3'],
    ]);
  });

  it('tells that a source has ended, and begins it anew', async () => {
    let begun = 0;
    const { sink } = followed(
      generated(async function* () {
        yield [++begun];
        if (begun === 2) await new Promise(() => {});
      }),
    );
    await eventually('two lists', () => sink.updates.length === 2);
    expect(sink.log).toEqual([[1], 'Error: The source of upstreams has ended', [2]]);
  });

  it('goes on with an iterator that goes on after a failure', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    source.push(['a']);
    source.fail(new Error('half a file'));
    source.push(['b']);
    await eventually('the second list', () => sink.updates.length === 2);
    expect(sink.log).toEqual([['a'], 'Error: half a file', ['b']]);
    expect([source.opened, source.returned]).toEqual([1, 0]);
  });

  it('leaves an iterator that fails twice in a row for a new one', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    source.fail(new Error('first'));
    source.fail(new Error('second'));
    await eventually('another iterator', () => source.opened === 2);
    source.push(['a']);
    await eventually('the list', () => sink.updates.length === 1);
    expect(sink.log).toEqual(['Error: first', 'Error: second', ['a']]);
    expect([source.opened, source.returned]).toEqual([2, 1]);
  });

  it.each([[undefined], [null], [42], ['http://a']])(
    'tells of %p in place of a list, and keeps the one before',
    async (garbage) => {
      const source = pushSource();
      const { sink } = followed(source);
      source.push(['a']);
      await eventually('the first list', () => sink.updates.length === 1);
      source.push(['b'], garbage);
      await eventually('the failure', () => sink.failures.length === 1);
      expect(sink.updates).toEqual([['a'], ['b']]);
      source.push(['c']);
      await eventually('the last list', () => sink.updates.length === 3);
      expect(sink.failures).toEqual([new TypeError('no list')]);
    },
  );

  it('pauses longer after each failure in a row, at random, up to a limit', async () => {
    const shares = [0.01, 0.02, 0.03, 0.04, 0, 0, 0, 0, 0, 0, 0, 0.005];
    const asked: number[] = [];
    const pauses = pausesAskedFor();
    const { sink } = followed(
      generated(async function* () {
        asked.push(performance.now());
        if (asked.length === 13) yield [];
        throw new Error('down');
      }),
      () => shares[asked.length - 1] ?? 1,
    );
    await eventually('the last pause', () => sink.failures.length === 13);
    expect(pauses.slice(0, 12)).toEqual([1, 4, 12, 32, 0, 0, 0, 0, 0, 0, 0, 150]);
    for (const [i, time] of asked.slice(1).entries()) {
      // Timers may be a millisecond early.
      expect(time - (asked[i] as number)).toBeGreaterThan((pauses[i] as number) - 2);
    }
    expect([MIN_BACKOFF_MS * 0.01, MAX_BACKOFF_MS * 0.005]).toEqual([1, 150]);
  });

  it('begins with short pauses again after a list', async () => {
    const pauses = pausesAskedFor();
    const source = pushSource();
    const { sink } = followed(source, () => 0.25);
    for (let i = 1; i <= 4; i++) {
      source.fail(new Error('down'));
      await eventually('the failure', () => sink.failures.length === i);
      source.push([i]);
      await eventually('the list', () => sink.updates.length === i);
    }
    // Without the new beginning the last would be 200 ms. The others are those between updates.
    expect(pauses.filter((ms) => ms > UPDATE_INTERVAL_MS)).toEqual([25, 25, 25, 25]);
  });

  it('applies 100 lists a second, the last one included, in fewer updates', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    const started = performance.now();
    for (let i = 1; i <= 100; i++) {
      source.push([i]);
      const due = started + i * 10;
      await delay(Math.max(0, due - performance.now()));
    }
    await eventually('the last list', () => String(sink.updates.at(-1)) === '100');
    // Timers may be a millisecond early.
    const most = (performance.now() - started) / (UPDATE_INTERVAL_MS - 1) + 1;
    expect(sink.updates.length).toBeLessThanOrEqual(most);
    expect(sink.updates.length).toBeGreaterThan(10);
    expect(sink.failures).toEqual([]);
    const order = sink.updates.map(Number);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it('does not lose the last of a thousand lists that come at once', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    source.push(...Array.from({ length: 1_000 }, (_, i) => [i]));
    await eventually('the last list', () => String(sink.updates.at(-1)) === '999');
    expect(sink.updates.length).toBeLessThan(20);
  });

  it('applies a lone list at once, and one that follows closely soon', async () => {
    const source = pushSource();
    const { sink } = followed(source);
    source.push([1]);
    await delay(0);
    expect(sink.updates).toEqual([[1]]);
    source.push([2]);
    await eventually('the second list', () => sink.updates.length === 2, 500);
  });

  it.each([
    ['lists', ['a'], 1],
    ['garbage', 'garbage', 0.2],
  ])(
    'leaves the event loop to others when a source yields %s without end',
    async (_, value, random) => {
      let yielded = 0;
      const { stop } = followed(
        generated(async function* () {
          for (;;) {
            yielded += 1;
            yield value;
          }
        }),
        () => random,
      );
      const started = performance.now();
      let turns = 0;
      // Of its own time: on a busy machine, whole seconds belong to others.
      const before = process.cpuUsage();
      const isOver = (): boolean => {
        const { user, system } = process.cpuUsage(before);
        return user + system >= 300_000;
      };
      while (!isOver()) {
        turns += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(turns).toBeGreaterThan(300);
      const updates = (performance.now() - started) / UPDATE_INTERVAL_MS;
      expect(yielded).toBeLessThanOrEqual((updates + 5) * 100);
      stop();
      const last = await settled(() => yielded, 50);
      expect(last).toBe(yielded);
    },
  );

  it('leaves the event loop to others when every update takes long', async () => {
    const source = pushSource();
    let updates = 0;
    const stop = follow(source, {
      ...recordingSink(),
      update() {
        updates += 1;
        const end = performance.now() + 30;
        while (performance.now() < end);
      },
    });
    closeAfter(stop);
    const started = performance.now();
    while (performance.now() - started < 450) {
      source.push([]);
      await delay(5);
    }
    // One each 150 ms.
    expect(updates).toBeGreaterThan(1);
    expect(updates).toBeLessThanOrEqual((performance.now() - started) / 150 + 1);
  });

  it('does not ask without pause what fails without pause', async () => {
    const { sink } = followed(
      generated(async function* () {
        yield [];
        throw new Error('down');
      }),
      () => 0.5,
    );
    const started = performance.now();
    await eventually('the second failure', () => sink.failures.length > 1);
    await delay(200);
    // The first pause each time, for each time there was a list.
    expect(sink.failures.length).toBeLessThanOrEqual((performance.now() - started) / 49 + 1);
  });

  it('leaves a source that says nothing for ever, and does not wait for it', async () => {
    const source = pushSource();
    const { sink, stop } = followed(source);
    await eventually('the beginning', () => source.opened === 1);
    stop();
    stop();
    expect(source.returned).toBe(1);
    source.push(['late']);
    await delay(UPDATE_INTERVAL_MS);
    expect(sink.log).toEqual([]);
    expect(source.opened).toBe(1);
  });

  it.each(['throws', 'rejects', 'is missing'])('stops when return() %s', async (how) => {
    let asked = 0;
    const iterator = {
      next: () => {
        asked += 1;
        return new Promise<never>(() => {});
      },
      ...(how === 'throws' && {
        return: () => {
          throw new Error('no');
        },
      }),
      ...(how === 'rejects' && { return: () => Promise.reject(new Error('no')) }),
    };
    const { stop } = followed({ [Symbol.asyncIterator]: () => iterator });
    await eventually('the question', () => asked === 1);
    expect(stop).not.toThrow();
    await delay(0);
    expect(asked).toBe(1);
  });

  it('does not begin when it is stopped at once', async () => {
    const source = pushSource();
    follow(source, recordingSink())();
    await delay(0);
    expect(source.opened).toBe(0);
  });

  it('is stopped from within an update', async () => {
    const source = pushSource();
    const sink = recordingSink();
    const stop = follow(source, { ...sink, update: () => stop() });
    source.push([1], [2]);
    await eventually('the end', () => source.returned === 1);
    await delay(UPDATE_INTERVAL_MS * 2);
    expect(sink.log).toEqual([]);
  });

  it('does not keep the process alive while it pauses', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout');
    const before = timers().length;
    const { sink } = followed(
      generated(async function* () {
        yield* [];
        throw new Error('down');
      }),
      () => 1,
    );
    while (sink.failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(timers().length).toBeLessThanOrEqual(before);
  });
});

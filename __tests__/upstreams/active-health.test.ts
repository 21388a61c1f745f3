import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type ActiveHealthOptions, type Upstream, UpstreamPool } from 'headrace';
import type { ProbeResult } from '../../src/upstreams/active-health.js';
import { seeded } from '../helpers/exchanges.js';

// A source of upstreams is followed in microtasks, which need no help.
beforeEach(() => void jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick'] }));
afterEach(() => void jest.useRealTimers());

/** A question that was asked, to be answered by the test. */
interface Question {
  readonly url: string;
  readonly path: string;
  readonly timeoutMs: number;
  readonly needsBody: boolean;
  readonly at: number;
  answer(status: number, body?: string): Promise<void>;
  fail(): Promise<void>;
}

/** A pool that asks the test. Without jitter it asks at once and then every second. */
function asking(
  options: ActiveHealthOptions = {},
  { urls = ['http://a'], random = (): number => 0.5 } = {},
) {
  const active = { intervalMs: 1_000, ...options };
  const pool = new UpstreamPool(urls, { health: { active, passive: false }, random });
  const told: string[] = [];
  pool.on('ejected', ({ url }, bar) => told.push(`${bar} ${url}`));
  pool.on('recovered', ({ url }) => told.push(`recovered ${url}`));
  const questions: Question[] = [];
  const ask = (upstream: Upstream, path: string, timeoutMs: number, needsBody: boolean) =>
    new Promise<ProbeResult>((resolve, reject) => {
      const { url } = upstream;
      questions.push({
        ...{ url, path, timeoutMs, needsBody, at: Date.now() },
        answer: async (status, body = '') => {
          resolve({ status, body });
          await jest.advanceTimersByTimeAsync(0);
        },
        fail: async () => {
          reject(new Error('no answer'));
          await jest.advanceTimersByTimeAsync(0);
        },
      });
    });
  /** The next question; each pause is as long as it takes. */
  const next = async (): Promise<Question> => {
    const { length } = questions;
    for (let i = 0; i < 100 && questions.length === length; i++) {
      await jest.advanceTimersToNextTimerAsync();
    }
    return questions[length] as Question;
  };
  return { pool, told, questions, next, begin: () => pool.probeWith(ask) };
}

/** Answers questions in turn: a number is a status, `undefined` no answer. */
async function answers(
  { next }: { next(): Promise<Question> },
  ...given: (number | undefined)[]
): Promise<void> {
  for (const status of given) {
    const question = await next();
    await (status === undefined ? question.fail() : question.answer(status));
  }
}

describe('when it asks', () => {
  it('pauses for no longer than a timer can wait, which then would not wait at all', async () => {
    const longest = asking({ intervalMs: 2 ** 31 - 1 }, { random: () => 0.99 });
    longest.begin();
    await answers(longest, 200);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(longest.questions).toHaveLength(1);
    await longest.pool.close();
  });

  it('is off when it is turned off', async () => {
    const pool = new UpstreamPool(['http://a'], { health: { active: false } });
    let questions = 0;
    pool.probeWith(async () => ({ status: ++questions, body: '' }));
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions).toBe(0);
  });

  it('asks nothing until a pipeline lends its transport, and then once for all pipelines', async () => {
    const { questions, begin } = asking();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions).toHaveLength(0);
    begin();
    begin();
    await jest.advanceTimersByTimeAsync(500);
    expect(questions).toHaveLength(1);
  });

  it('spreads the first questions over the interval, a second at most', async () => {
    const urls = Array.from({ length: 100 }, (_, i) => `http://a${i}`);
    const { questions, begin } = asking({ intervalMs: 10_000 }, { urls, random: seeded(4) });
    const start = Date.now();
    begin();
    await jest.advanceTimersByTimeAsync(1_000);
    const times = questions.map(({ at }) => at - start);
    expect(times).toHaveLength(100);
    expect(Math.min(...times)).toBeLessThan(100);
    expect(Math.max(...times)).toBeGreaterThan(900);
    expect(times.filter((ms) => ms < 500).length).toBeGreaterThan(35);
  });

  it('pauses for the interval between two questions, give or take a tenth', async () => {
    const asked = asking({ intervalMs: 10_000 }, { random: seeded(5) });
    asked.begin();
    const pauses: number[] = [];
    for (let i = 0; i < 50; i++) {
      const question = await asked.next();
      pauses.push(question.at - (asked.questions[i - 1]?.at ?? question.at));
      await question.answer(200);
    }
    pauses.shift();
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(9_000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(11_000);
    expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(1_500);
  });

  it('has one question at a time under way for each upstream', async () => {
    const { questions, begin } = asking({}, { urls: ['http://a', 'http://b'] });
    begin();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions.map(({ url }) => url)).toEqual(['http://a', 'http://b']);
    await questions[0]?.answer(200);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions.map(({ url }) => url)).toEqual(['http://a', 'http://b', 'http://a']);
  });

  it('asks for / within two seconds by default, and for what it is told to', async () => {
    const usual = asking();
    usual.begin();
    expect(await usual.next()).toMatchObject({ path: '/', timeoutMs: 2_000, needsBody: false });
    const given = asking({ path: '/up?deep', timeoutMs: 50, expectBody: 'ok' });
    given.begin();
    const wanted = { path: '/up?deep', timeoutMs: 50, needsBody: true };
    expect(await given.next()).toMatchObject(wanted);
  });

  it('asks every ten seconds by default', async () => {
    const asked = asking({ intervalMs: undefined });
    asked.begin();
    await answers(asked, 200, 200);
    expect((asked.questions[1]?.at ?? 0) - (asked.questions[0]?.at ?? 0)).toBe(10_000);
  });

  it('asks what joins the pool, and no longer what has left it', async () => {
    const { pool, questions, begin } = asking();
    begin();
    pool.add('http://b');
    await jest.advanceTimersByTimeAsync(1_000);
    expect(questions.map(({ url }) => url)).toEqual(['http://a', 'http://b']);
    pool.remove('http://a');
    for (const question of questions.splice(0)) await question.answer(500);
    await jest.advanceTimersByTimeAsync(1_500);
    expect(questions.map(({ url }) => url)).toEqual(['http://b']);
  });

  it('asks discovered upstreams too', async () => {
    const found = (async function* discover() {
      yield ['http://a', 'http://b'];
      await new Promise(() => {});
    })();
    const active = { initial: 'unhealthy', intervalMs: 1_000 } as const;
    const pool = new UpstreamPool(found, { health: { active } });
    const asked: string[] = [];
    pool.probeWith(async ({ url }) => {
      asked.push(url);
      return { status: 200, body: '' };
    });
    await jest.advanceTimersByTimeAsync(1_000);
    expect(new Set(asked)).toEqual(new Set(['http://a', 'http://b']));
    expect(pool.eligible).toHaveLength(2);
    await pool.close();
  });

  it('asks no more once the pool is closed, whatever is still to be answered', async () => {
    const { pool, questions, begin, told } = asking({ unhealthyAfter: 1 });
    begin();
    await jest.advanceTimersByTimeAsync(500);
    await pool.close();
    await questions[0]?.fail();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions).toHaveLength(1);
    expect(told).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('a pool that is closed', () => {
  it.each<[string, (pool: UpstreamPool) => unknown]>([
    ['add()', (pool) => pool.add('http://b')],
    ['update()', (pool) => pool.update(['http://b'])],
  ])('asks nothing of what %s brings', async (_, change) => {
    const { pool, questions, begin } = asking();
    begin();
    await pool.close();
    change(pool);
    await jest.advanceTimersByTimeAsync(60_000);
    expect([questions.length, jest.getTimerCount()]).toEqual([0, 0]);
  });

  it('begins to ask nothing when a pipeline comes that late', async () => {
    const { pool, questions, begin } = asking();
    await pool.close();
    pool.add('http://b');
    begin();
    await jest.advanceTimersByTimeAsync(60_000);
    expect(questions).toHaveLength(0);
  });
});

describe('what it makes of the answers', () => {
  it('takes an upstream out after three bad ones in a row, and back after two good ones', async () => {
    const asked = asking();
    asked.begin();
    await answers(asked, 500, undefined, 200, 500, 500);
    expect(asked.told).toEqual([]);
    await answers(asked, undefined);
    expect(asked.told).toEqual(['unhealthy http://a']);
    expect(asked.pool.eligible).toEqual([]);
    expect(asked.pool.stats()[0]).toMatchObject({ usable: false, bars: ['unhealthy'] });
    await answers(asked, 200, 500, 200);
    expect(asked.told).toHaveLength(1);
    await answers(asked, 200);
    expect(asked.told).toEqual(['unhealthy http://a', 'recovered http://a']);
  });

  it('tells a change once, however long it lasts', async () => {
    const asked = asking({ healthyAfter: 1, unhealthyAfter: 1 });
    asked.begin();
    await answers(asked, 500, 500, 500, 200, 200, 200);
    expect(asked.told).toEqual(['unhealthy http://a', 'recovered http://a']);
  });

  it('counts what is passed to it', async () => {
    const asked = asking({ healthyAfter: 3, unhealthyAfter: 2 });
    asked.begin();
    await answers(asked, 500, 500);
    expect(asked.pool.eligible).toHaveLength(0);
    await answers(asked, 200, 200);
    expect(asked.pool.eligible).toHaveLength(0);
    await answers(asked, 200);
    expect(asked.pool.eligible).toHaveLength(1);
  });

  it('trusts a healthy beginning, and lets one good answer end an unhealthy one', async () => {
    expect(asking().pool.eligible).toHaveLength(1);
    const asked = asking({ initial: 'unhealthy', healthyAfter: 5 });
    expect(asked.pool.eligible).toHaveLength(0);
    asked.begin();
    await answers(asked, 200);
    expect(asked.pool.eligible).toHaveLength(1);
    await answers(asked, 500, 500, 500, 200);
    expect(asked.pool.eligible).toHaveLength(0);
  });

  it('wants a row of good answers after an unhealthy beginning that went on badly', async () => {
    const asked = asking({ initial: 'unhealthy', healthyAfter: 2 });
    asked.begin();
    await answers(asked, 500, 200);
    expect(asked.pool.eligible).toHaveLength(0);
    await answers(asked, 200);
    expect(asked.pool.eligible).toHaveLength(1);
  });

  it('does not hear what an upstream says after it has left and come again', async () => {
    const { pool, questions, begin } = asking({ unhealthyAfter: 1 });
    begin();
    await jest.advanceTimersByTimeAsync(500);
    pool.remove('http://a');
    pool.add('http://a');
    await questions[0]?.fail();
    expect(pool.eligible).toHaveLength(1);
  });

  it.each<[ActiveHealthOptions['expectStatus'], number[], number[]]>([
    [undefined, [200, 204, 301, 399], [199, 400, 404, 500, 503]],
    [204, [204], [200, 301, 500]],
    [
      [200, 401],
      [200, 401],
      [204, 403],
    ],
    [(status) => status < 500, [200, 404], [500]],
  ])('takes %p for the good status', async (expectStatus, good, bad) => {
    for (const [statuses, left] of [[good, 1] as const, [bad, 0] as const]) {
      for (const status of statuses) {
        const asked = asking({ expectStatus, unhealthyAfter: 1 });
        asked.begin();
        await answers(asked, status);
        expect([status, asked.pool.eligible.length]).toEqual([status, left]);
      }
    }
  });

  it.each<[string | RegExp, string, number]>([
    ['ready', 'all is ready here', 1],
    ['ready', 'not yet', 0],
    [/^up\b/m, 'since:\nup today', 1],
    [/^up\b/g, 'down', 0],
  ])('looks for %p in %p', async (expectBody, body, left) => {
    const asked = asking({ expectBody, unhealthyAfter: 1 });
    asked.begin();
    for (let i = 0; i < 2; i++) await (await asked.next()).answer(200, body);
    expect(asked.pool.eligible).toHaveLength(left);
  });

  it('wants both status and body', async () => {
    const asked = asking({ expectStatus: 200, expectBody: 'ok', unhealthyAfter: 1 });
    asked.begin();
    await (await asked.next()).answer(503, 'ok');
    expect(asked.pool.eligible).toHaveLength(0);
  });
});

describe('an expectStatus that says neither yes nor no', () => {
  it.each<[string, (status: number) => unknown]>([
    ['a promise', async () => true],
    [
      'a promise that rejects',
      async () => {
        throw new Error('a bug');
      },
    ],
    ['undefined', () => undefined],
    [
      'nothing, since it throws',
      () => {
        throw new Error('it must return true or false, received an error');
      },
    ],
  ])('is told of once, and the usual rule holds: %s', async (_, expectStatus) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const asked = asking({
      expectStatus: expectStatus as (status: number) => boolean,
      unhealthyAfter: 1,
      healthyAfter: 1,
    });
    asked.begin();
    const eligible: number[] = [];
    for (const status of [500, 200, 404]) {
      await answers(asked, status);
      eligible.push(asked.pool.eligible.length);
    }
    expect(eligible).toEqual([0, 1, 0]);
    expect(warn.mock.calls).toMatchObject([
      [
        'UpstreamPool: health.active.expectStatus has failed',
        { detail: expect.stringContaining('it must return true or false, received ') },
      ],
    ]);
    warn.mockRestore();
  });
});

describe('options of active health', () => {
  it.each<[string, unknown, string]>([
    ['path', 'up', 'must be a path, received "up"'],
    ['path', '/a b', 'must be a path, received "/a b"'],
    ['path', '/\r\nHost: b', 'must be a path, received "/\\r\\nHost: b"'],
    ['path', 1, 'must be a path, received 1'],
    ['path', '/up#x', 'must be without a fragment, which is never sent, received "/up#x"'],
    ['intervalMs', 0, 'must be a whole number from 1 to 2147483647, received 0'],
    ['timeoutMs', '2s', 'must be a whole number, received "2s"'],
    ['healthyAfter', 0, 'must be a whole number of at least 1, received 0'],
    ['unhealthyAfter', -1, 'must be a whole number of at least 1, received -1'],
    ['initial', 'unknown', 'must be one of "healthy", "unhealthy", received "unknown"'],
    ['expectStatus', 99, 'must be a whole number from 100 to 599, received 99'],
    ['expectStatus', [200, 600], 'must be a whole number from 100 to 599, received 600'],
    ['expectStatus', '200', 'must be a function, received "200"'],
    ['expectBody', 3, 'must be a string or a RegExp, received 3'],
  ])('refuse %s: %p', (name, value, message) => {
    const active = { [name]: value } as ActiveHealthOptions;
    expect(() => new UpstreamPool(['http://a'], { health: { active } })).toThrow(
      `UpstreamPool: health.active.${name} ${message}`,
    );
  });

  it('refuse what they do not know', () => {
    const active = { interval: 3 } as ActiveHealthOptions;
    expect(() => new UpstreamPool(['http://a'], { health: { active } })).toThrow(
      'UpstreamPool: health.active: unknown option "interval", did you mean "intervalMs"?',
    );
  });
});

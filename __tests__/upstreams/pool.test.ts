import { describe, expect, it, jest } from '@jest/globals';
import {
  type Exchange,
  roundRobin,
  type Strategy,
  type Upstream,
  type UpstreamInit,
  UpstreamPool,
  type UpstreamPoolOptions,
} from 'headrace';
import { anExchange, seeded } from '../helpers/exchanges.js';
import { closeAfter } from '../helpers/servers.js';

const URLS = ['http://a', 'http://b', 'http://c'];

/** Everything a pool tells, in order. */
function listening(pool: UpstreamPool): string[] {
  const told: string[] = [];
  pool.on('change', (eligible) => told.push(`change ${eligible.join(' ')}`));
  pool.on('ejected', (upstream, bar) => told.push(`ejected ${upstream} ${bar}`));
  pool.on('recovered', (upstream) => told.push(`recovered ${upstream}`));
  pool.on('drained', (upstream) => told.push(`drained ${upstream}`));
  return told;
}

function urls(upstreams: readonly Upstream[]): string[] {
  return upstreams.map(String);
}

/** Ends an exchange as its answer would. */
function end(exchange: Exchange): void {
  exchange.settle('completed');
}

describe('what may be chosen', () => {
  it('is every upstream, in the order given, chosen in turn by default', () => {
    const pool = new UpstreamPool(URLS);
    expect(urls(pool.upstreams)).toEqual(URLS);
    expect(urls(pool.eligible)).toEqual(URLS);
    const picked = [1, 2, 3, 4].map(() => pool.pick(anExchange())?.url);
    expect(picked).toEqual([...URLS, 'http://a']);
  });

  it('leaves out what has no weight', () => {
    const pool = new UpstreamPool([{ url: 'http://a', weight: 0 }, 'http://b']);
    expect(urls(pool.eligible)).toEqual(['http://b']);
    for (let i = 0; i < 10; i++) expect(pool.pick(anExchange())?.url).toBe('http://b');
  });

  it('is nothing in an empty list, and where everything is barred', () => {
    expect(new UpstreamPool([]).pick(anExchange())).toBeUndefined();
    const pool = new UpstreamPool(URLS);
    for (const upstream of pool.upstreams) upstream.bar('open');
    expect(pool.eligible).toEqual([]);
    expect(pool.pick(anExchange())).toBeUndefined();
  });

  it('leaves out what is barred until the last bar is lifted', () => {
    const pool = new UpstreamPool(URLS);
    const [a] = pool.upstreams as [Upstream];
    a.bar('open');
    a.bar('unhealthy');
    a.lift('open');
    expect(urls(pool.eligible)).toEqual(['http://b', 'http://c']);
    a.lift('unhealthy');
    expect(urls(pool.eligible)).toEqual(URLS);
  });

  it('is the same array until something changes', () => {
    const pool = new UpstreamPool(URLS);
    const { eligible } = pool;
    pool.pick(anExchange());
    expect(pool.eligible).toBe(eligible);
    pool.upstreams[0]?.bar('open');
    expect(pool.eligible).not.toBe(eligible);
    expect(urls(eligible)).toEqual(URLS);
  });

  it('goes by a weight from the moment it is set', () => {
    const pool = new UpstreamPool(URLS);
    const told = listening(pool);
    const [a, b] = pool.upstreams as [Upstream, Upstream];
    pool.pick(anExchange());
    b.weight = 0;
    expect(urls(pool.eligible)).toEqual(['http://a', 'http://c']);
    for (let i = 0; i < 10; i++) expect(pool.pick(anExchange())).not.toBe(b);
    b.weight = 2;
    expect(urls(pool.eligible)).toEqual(URLS);
    a.weight = 1;
    expect(told).toEqual(['change http://a http://c', 'change http://a http://b http://c']);
  });

  it.each(['weighted-round-robin', 'random', 'least-connections', 'power-of-two'] as const)(
    'gives a share by the weight that was set last: %s',
    (strategy) => {
      const pool = new UpstreamPool(['http://a', 'http://b'], { strategy });
      const [a, b] = pool.upstreams as [Upstream, Upstream];
      const share = (): number => {
        let picked = 0;
        for (let i = 0; i < 4_000; i++) {
          const exchange = anExchange();
          if (pool.pick(exchange) === a) picked += 1;
          end(exchange);
        }
        return picked / 4_000;
      };
      expect(share()).toBeCloseTo(0.5, 1);
      a.weight = 3;
      expect(share()).toBeCloseTo(0.75, 1);
      b.weight = 0;
      expect(share()).toBe(1);
    },
  );

  it('goes by a priority from the moment it is set', () => {
    const pool = new UpstreamPool(URLS);
    const told = listening(pool);
    const [a] = pool.upstreams as [Upstream];
    a.priority = 1;
    expect(urls(pool.eligible)).toEqual(['http://b', 'http://c']);
    a.priority = 0;
    expect(told).toEqual(['change http://b http://c', `change ${URLS.join(' ')}`]);
  });

  it('is told once when a list changes several weights', () => {
    const pool = new UpstreamPool(URLS);
    const told = listening(pool);
    pool.update(URLS.map((url, i) => ({ url, weight: i, priority: i })));
    expect(told).toEqual(['change http://b']);
    expect(pool.stats().map(({ weight, priority }) => [weight, priority])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
  });

  it('is of a backup priority only while no better one may be used', () => {
    const pool = new UpstreamPool([
      { url: 'http://backup', priority: 2 },
      { url: 'http://a', priority: 1 },
      { url: 'http://b', priority: 1 },
    ]);
    const [, a, b] = pool.upstreams as [Upstream, Upstream, Upstream];
    expect(urls(pool.eligible)).toEqual(['http://a', 'http://b']);
    a.bar('ejected');
    expect(urls(pool.eligible)).toEqual(['http://b']);
    b.bar('unhealthy');
    expect(urls(pool.eligible)).toEqual(['http://backup']);
    b.lift('unhealthy');
    expect(urls(pool.eligible)).toEqual(['http://b']);
  });
});

describe('pick', () => {
  it('goes to those in reserve, by their priority, once all before them have been tried', () => {
    const pool = new UpstreamPool([
      { url: 'http://last', priority: 7 },
      { url: 'http://reserve-1', priority: 1 },
      { url: 'http://reserve-2', priority: 1 },
      'http://a',
      'http://b',
    ]);
    const exchange = anExchange();
    const tried: Upstream[] = [];
    for (let i = 0; i < 5; i++) tried.push(pool.pick(exchange, tried) as Upstream);
    const order = tried.map(({ hostname }) => hostname.replace(/-.*/, '')).join(' ');
    expect(order).toMatch(/^(a b|b a) reserve reserve last$/);
    expect(urls(pool.eligible)).toEqual(['http://a', 'http://b']);
    expect(['a', 'b']).toContain(pool.pick(exchange, tried)?.hostname);
  });

  it('passes by those in reserve that may not be used, and gives nothing once it is closed', async () => {
    const pool = new UpstreamPool([
      'http://a',
      { url: 'http://reserve', priority: 1 },
      { url: 'http://last', priority: 2 },
    ]);
    const [a, reserve] = pool.upstreams as [Upstream, Upstream];
    reserve.bar('unhealthy');
    expect(pool.pick(anExchange(), [a])?.hostname).toBe('last');
    await pool.close();
    expect(pool.pick(anExchange(), [a])).toBeUndefined();
  });

  it('counts a request as in flight from the pick to the end of its exchange', () => {
    const pool = new UpstreamPool(['http://a']);
    const [a] = pool.upstreams;
    const exchanges = [anExchange(), anExchange()];
    for (const exchange of exchanges) pool.pick(exchange);
    expect(a?.inFlight).toBe(2);
    for (const exchange of exchanges) end(exchange);
    expect(a?.inFlight).toBe(0);
  });

  it('moves the count when an exchange is given to another upstream', () => {
    const pool = new UpstreamPool(['http://a', 'http://b']);
    const exchange = anExchange();
    pool.pick(exchange);
    pool.pick(exchange);
    expect(pool.upstreams.map(({ inFlight }) => inFlight)).toEqual([0, 1]);
    pool.pick(anExchange(), pool.upstreams);
    end(exchange);
    expect(pool.upstreams.map(({ inFlight }) => inFlight)).toEqual([1, 0]);
  });

  it('counts nothing for a client that is gone already', () => {
    const pool = new UpstreamPool(['http://a']);
    const settled = anExchange();
    settled.settle('client-closed');
    pool.pick(settled);
    const closed = anExchange();
    Object.defineProperty(closed.res, 'closed', { value: true });
    pool.pick(closed);
    expect(pool.upstreams[0]?.inFlight).toBe(0);
  });

  it('leaves out what was tried while there is anything else', () => {
    const pool = new UpstreamPool(URLS);
    const [a, b, c] = pool.upstreams as [Upstream, Upstream, Upstream];
    for (let i = 0; i < 5; i++) {
      expect(pool.pick(anExchange(), [a])).not.toBe(a);
      expect(pool.pick(anExchange(), [a, c])).toBe(b);
    }
    c.bar('ejected');
    b.bar('ejected');
    expect(pool.pick(anExchange(), [a])).toBe(a);
  });

  it('asks a strategy of one’s own, with what may be chosen and the exchange', () => {
    const seen: [readonly Upstream[], Exchange][] = [];
    const strategy: Strategy = {
      pick: (candidates, exchange) => {
        seen.push([candidates, exchange]);
        return candidates[candidates.length - 1];
      },
    };
    const pool = new UpstreamPool(URLS, { strategy });
    const exchange = anExchange();
    expect(pool.pick(exchange)?.url).toBe('http://c');
    expect(seen).toEqual([[pool.eligible, exchange]]);
    expect(exchange.pool).toBe(pool);
  });

  it('tells a strategy that wants to know how long the heads took', () => {
    const observed: [string, number][] = [];
    const strategy: Strategy = {
      pick: ([first]) => first,
      observe: ({ url }, ms) => observed.push([url, ms]),
    };
    const pool = new UpstreamPool(URLS, { strategy });
    pool.upstreams[1]?.noteAnswer(200, 12);
    expect(observed).toEqual([['http://b', 12]]);
  });
});

describe('changing the list', () => {
  it('adds at the end, and refuses what is there already', () => {
    const pool = new UpstreamPool(['http://a']);
    expect(pool.add({ url: 'http://b', weight: 3 })).toMatchObject({ url: 'http://b', weight: 3 });
    expect(urls(pool.eligible)).toEqual(['http://a', 'http://b']);
    expect(() => pool.add('http://a/')).toThrow(
      'UpstreamPool: add() got "http://a", which is there already',
    );
    expect(() => pool.add('htp://c')).toThrow(
      'UpstreamPool: add().url must be an http(s) URL, received "htp://c"',
    );
  });

  it('removes by URL, however it is written, and says whether there was one', () => {
    const pool = new UpstreamPool(URLS);
    expect(pool.remove(new URL('http://user:secret@b/'))).toBe(true);
    expect(pool.remove('http://b')).toBe(false);
    expect(urls(pool.upstreams)).toEqual(['http://a', 'http://c']);
    expect(() => pool.remove('b')).toThrow(
      'UpstreamPool: remove() must be an http(s) URL, received "b"',
    );
  });

  it('keeps what stays in a new list, its counts and its health', () => {
    const pool = new UpstreamPool(URLS);
    const [, b] = pool.upstreams as [Upstream, Upstream];
    pool.pick(anExchange());
    b.bar('ejected');
    b.noteFailure('ERR_PROXY_RESET');
    pool.update([{ url: 'http://b', weight: 5, priority: 1 }, 'http://d']);
    expect(pool.upstreams[0]).toBe(b);
    expect(b).toMatchObject({ weight: 5, priority: 1, usable: false });
    expect(pool.stats()[0]?.failures).toEqual({ ERR_PROXY_RESET: 1 });
    expect(urls(pool.eligible)).toEqual(['http://d']);
  });

  it('changes nothing when a new list is none', () => {
    const pool = new UpstreamPool(URLS);
    const told = listening(pool);
    const bad: [unknown, string][] = [
      ['http://a', 'upstreams must be an array, received "http://a"'],
      [['http://d', 'd'], 'upstreams[1].url must be an http(s) URL, received "d"'],
      [['http://d', 'http://D:80/'], 'upstreams[1].url is listed twice: "http://d"'],
      [
        [{ url: 'http://d', weight: -1 }],
        'upstreams[0].weight must be a number of at least 0, received -1',
      ],
    ];
    for (const [list, message] of bad) {
      expect(() => pool.update(list as UpstreamInit[])).toThrow(`UpstreamPool: ${message}`);
    }
    expect(urls(pool.upstreams)).toEqual(URLS);
    expect(told).toEqual([]);
  });

  it('finds its way through any row of changes', () => {
    const random = seeded(9);
    const names = Array.from({ length: 12 }, (_, i) => `http://host${i}`);
    const pool = new UpstreamPool(names);
    let expected = [...names];
    const drained: string[] = [];
    pool.on('drained', ({ url }) => drained.push(url));
    let gone = 0;
    for (let i = 0; i < 500; i++) {
      const before = expected;
      const url = names[Math.floor(random() * names.length)] as string;
      const choice = random();
      if (choice < 0.3) {
        expected = names.filter(() => random() < 0.6);
        pool.update(expected);
      } else if (expected.includes(url)) {
        expected = expected.filter((one) => one !== url);
        pool.remove(url);
      } else {
        expected = [...expected, url];
        pool.add(url);
      }
      gone += before.filter((one) => !expected.includes(one)).length;
      expect(urls(pool.upstreams)).toEqual(expected);
      expect(urls(pool.eligible)).toEqual(expected);
      expect(drained).toHaveLength(gone);
    }
  });
});

describe('draining', () => {
  it('lets what is in flight finish, and tells it once', () => {
    const pool = new UpstreamPool(URLS);
    const told: string[] = [];
    pool.on('drained', ({ url }) => told.push(url));
    const [first, second] = [anExchange(), anExchange()];
    const a = pool.pick(first) as Upstream;
    pool.give(second, a);
    pool.remove('http://a');
    expect([...a.bars]).toEqual(['draining']);
    const { draining } = pool;
    expect(draining).toEqual([a]);
    end(first);
    expect(told).toEqual([]);
    expect(pool.draining).toBe(draining);
    end(second);
    expect(told).toEqual(['http://a']);
    expect(pool.draining).toEqual([]);
  });

  it('happens at once where nothing is in flight', () => {
    const pool = new UpstreamPool(URLS);
    const told = listening(pool);
    pool.remove('http://b');
    expect(told).toEqual(['drained http://b', 'change http://a http://c']);
  });

  it('is of the one that was removed, not of the one that came in its place', () => {
    const pool = new UpstreamPool(['http://a']);
    const drained: Upstream[] = [];
    pool.on('drained', (upstream) => drained.push(upstream));
    const exchange = anExchange();
    const old = pool.pick(exchange) as Upstream;
    pool.remove('http://a');
    const anew = pool.add('http://a');
    const other = anExchange();
    pool.pick(other);
    end(other);
    expect(drained).toEqual([]);
    end(exchange);
    expect(drained).toEqual([old]);
    expect(anew.usable).toBe(true);
  });

  it('closes connections only when nothing is in flight on them', () => {
    const pool = new UpstreamPool(['http://a']);
    const exchange = anExchange();
    const a = pool.pick(exchange) as Upstream;
    let closed = 0;
    a.connections.set({}, { close: async () => void closed++ });
    pool.remove('http://a');
    expect(closed).toBe(0);
    end(exchange);
    expect(closed).toBe(1);
  });
});

describe('what a pool tells', () => {
  it('is each bar and the end of the last one, with what may be chosen then', () => {
    const pool = new UpstreamPool(['http://a', 'http://b']);
    const told = listening(pool);
    const [a] = pool.upstreams as [Upstream];
    a.bar('ejected');
    a.bar('ejected');
    a.bar('unhealthy');
    a.lift('ejected');
    a.lift('ejected');
    a.lift('unhealthy');
    expect(told).toEqual([
      'change http://b',
      'ejected http://a ejected',
      'change http://b',
      'ejected http://a unhealthy',
      'change http://b',
      'change http://a http://b',
      'recovered http://a',
    ]);
  });

  it('is told no more to a listener that has been taken off', () => {
    const pool = new UpstreamPool(URLS);
    let told = 0;
    const listener = (): void => void told++;
    pool.on('change', listener);
    pool.add('http://d');
    pool.off('change', listener);
    pool.add('http://e');
    expect(told).toBe(1);
  });

  it('goes on when a listener throws, and warns', () => {
    const pool = new UpstreamPool(URLS);
    // Jest's copy of `process` hears nothing of the events of the real one.
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    pool.on('ejected', () => {
      throw new Error('of the listener');
    });
    pool.upstreams[0]?.bar('ejected');
    expect(pool.eligible).toHaveLength(2);
    expect(warn).toHaveBeenCalledWith("A listener of pool.on('ejected') threw", {
      type: 'HeadraceWarning',
      code: 'HEADRACE_LISTENER',
      detail: expect.stringContaining('of the listener'),
    });
  });

  it.each<[string, () => unknown]>([
    ['a promise', () => Promise.reject(new Error('of the listener'))],
    [
      'a thenable',
      () =>
        Object.defineProperty({}, 'then', {
          value: (_: unknown, reject: (error: Error) => void) => reject(new Error('later')),
        }),
    ],
  ])('warns of a listener that rejects later, by %s, and tells the others', async (_, reject) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const pool = new UpstreamPool(URLS);
    const told: unknown[] = [];
    pool.on('ejected', reject as () => void).on('ejected', ({ url }) => told.push(url));
    pool.upstreams[0]?.bar('ejected');
    await new Promise(setImmediate);
    expect(told).toEqual([pool.upstreams[0]?.url]);
    expect(warn.mock.calls).toMatchObject([["A listener of pool.on('ejected') threw", {}]]);
  });

  it.each<[unknown, unknown, string]>([
    ['ejeced', () => {}, 'received "ejeced", did you mean "ejected"?'],
    [undefined, () => {}, 'the event must be one of "change", "ejected", "recovered", "circuit", '],
    ['change', 5, "('change'): the listener must be a function, received 5"],
  ])(
    'cannot be heard by other names, or by what is no function: %p, %p',
    (event, listener, message) => {
      const pool = new UpstreamPool(URLS);
      for (const method of ['on', 'off'] as const) {
        const call = () => pool[method](event as 'change', listener as () => void);
        expect(call).toThrow(TypeError);
        expect(call).toThrow(`pool.${method}(`);
        expect(call).toThrow(message);
      }
    },
  );
});

describe('close', () => {
  it('leaves nothing to choose', async () => {
    const pool = new UpstreamPool(URLS);
    await pool.close();
    expect(pool.pick(anExchange())).toBeUndefined();
    expect(pool.eligible).toEqual([]);
    expect(pool.stats()).toHaveLength(3);
  });

  it('waits for all connections, those of draining upstreams too, and takes a second call', async () => {
    const pool = new UpstreamPool(['http://a', 'http://b']);
    pool.pick(anExchange());
    const [a, b] = pool.upstreams as [Upstream, Upstream];
    const closed: string[] = [];
    for (const upstream of [a, b]) {
      const close = async (): Promise<void> => {
        await Promise.resolve();
        closed.push(upstream.url);
      };
      upstream.connections.set({}, { close });
    }
    pool.remove('http://a');
    expect(closed).toEqual([]);
    await pool.close();
    expect(closed).toEqual(['http://b', 'http://a']);
    await pool.close();
    expect(closed).toHaveLength(2);
  });
});

describe('options of a pool', () => {
  it.each<[unknown, string]>([
    [undefined, 'upstreams must be an array, received undefined'],
    [null, 'upstreams must be an array, received null'],
    ['http://a', 'upstreams must be an array, received "http://a"'],
    [{ 0: 'http://a' }, 'upstreams must be an array, received an object ["0"]'],
    [[undefined], 'upstreams[0].url must be an http(s) URL, received undefined'],
    [['http://a', 'htp://b'], 'upstreams[1].url must be an http(s) URL, received "htp://b"'],
    [[{ weight: 1 }], 'upstreams[0].url must be an http(s) URL, received undefined'],
    [
      [{ url: 'http://a', wieght: 1 }],
      'upstreams[0]: unknown option "wieght", did you mean "weight"?',
    ],
    [['http://a', 'http://a/'], 'upstreams[1].url is listed twice: "http://a"'],
  ])('refuse the list %p', (list, message) => {
    expect(() => new UpstreamPool(list as UpstreamInit[])).toThrow(`UpstreamPool: ${message}`);
  });

  it.each<[object, string]>([
    [{ strategy: 'round-robbin' }, 'did you mean "round-robin"?'],
    [{ strategy: 1 }, 'strategy must be a name or an object with pick(), received 1'],
    [{ strategy: {} }, 'strategy must be a name or an object with pick(), received an object []'],
    [{ strategy: null }, 'strategy must be a name or an object with pick(), received null'],
    [{ now: 5 }, 'now must be a function, received 5'],
    [{ random: 0.5 }, 'random must be a function, received 0.5'],
    [{ health: [] }, 'health: options must be an object, received an array of 0'],
    [{ health: { active: 0 } }, 'health.active: options must be an object, received 0'],
    [{ health: { passive: null } }, 'health.passive: options must be an object, received null'],
    [{ health: { passive: true } }, 'health.passive: options must be an object, received true'],
    [{ health: { active: true } }, 'health.active: options must be an object, received true'],
    [
      { transport: { connections: 0 } },
      'transport: connections must be a whole number of at least 1',
    ],
    [{ transport: { conections: 5 } }, 'transport: unknown option "conections", did you mean'],
    [{ startegy: 'random' }, 'unknown option "startegy", did you mean "strategy"?'],
  ])('refuse %p', (options, message) => {
    const make = () => new UpstreamPool(URLS, options as UpstreamPoolOptions);
    expect(make).toThrow(/^UpstreamPool: /);
    expect(make).toThrow(message);
  });

  it('are not changed, and undefined is the default', () => {
    const options = Object.freeze({
      strategy: undefined,
      health: undefined,
      slowStartMs: undefined,
    });
    expect(new UpstreamPool(Object.freeze([...URLS]), options).pick(anExchange())?.url).toBe(
      'http://a',
    );
  });
});

const LIST = ['http://a', 'http://b:8080/base'];

describe('a pool as it is made', () => {
  it('lists its upstreams in the order given', () => {
    const pool = new UpstreamPool([...LIST, new URL('http://c'), { url: 'unix:/d' }]);
    expect(pool.upstreams.map(String)).toEqual([...LIST, 'http://c', 'unix:/d']);
    expect(pool.eligible.map(String)).toEqual(pool.upstreams.map(String));
  });

  it('chooses round robin by default, and by that name', () => {
    for (const options of [{}, { strategy: 'round-robin' as const }, { strategy: roundRobin() }]) {
      const pool = new UpstreamPool(LIST, options);
      const picks = Array.from({ length: 3 }, () => pool.pick(anExchange())?.url);
      expect(picks).toEqual(['http://a', 'http://b:8080/base', 'http://a']);
    }
  });

  it('chooses by a strategy of one’s own, which gets the candidates and the exchange', () => {
    const seen: unknown[] = [];
    const strategy: Strategy = {
      pick(candidates, exchange) {
        seen.push(candidates.length, exchange);
        return candidates[1];
      },
    };
    const given = anExchange();
    expect(new UpstreamPool(LIST, { strategy }).pick(given)?.url).toBe('http://b:8080/base');
    expect(seen).toEqual([2, given]);
  });

  it('closes the connections to all', async () => {
    const pool = new UpstreamPool(LIST);
    const closed: string[] = [];
    for (const upstream of pool.upstreams)
      upstream.connections.set({}, { close: async () => void closed.push(upstream.url) });
    await pool.close();
    expect(closed).toEqual(LIST);
  });

  it.each([
    ['http://a', 'UpstreamPool: upstreams must be an array, received "http://a"'],
    [undefined, 'UpstreamPool: upstreams must be an array, received undefined'],
    [
      ['http://a', 'htp://b'],
      'UpstreamPool: upstreams[1].url must be an http(s) URL, received "htp://b"',
    ],
    [[{ url: 5 }], 'UpstreamPool: upstreams[0].url must be an http(s) URL, received 5'],
    [
      [{ ulr: 'http://a' }],
      'UpstreamPool: upstreams[0]: unknown option "ulr", did you mean "url"?',
    ],
    [['http://a', 'http://A:80/'], 'UpstreamPool: upstreams[1].url is listed twice: "http://a"'],
  ])('refuses %j', (list, message) => {
    expect(() => new UpstreamPool(list as never)).toThrow(new TypeError(message));
  });

  it.each([
    [{ stratgy: 'x' }, 'UpstreamPool: unknown option "stratgy", did you mean "strategy"?'],
    [
      { strategy: { choose() {} } },
      'UpstreamPool: strategy must be a name or an object with pick(), received an object ["choose"]',
    ],
    [
      { strategy: roundRobin },
      'UpstreamPool: strategy must be a name or an object with pick(), received function roundRobin',
    ],
    [
      { strategy: null },
      'UpstreamPool: strategy must be a name or an object with pick(), received null',
    ],
  ])('refuses the options %p', (options, message) => {
    expect(() => new UpstreamPool(LIST, options as never)).toThrow(new TypeError(message));
  });

  it('does not touch what it is given', () => {
    const list = Object.freeze([Object.freeze({ url: 'http://a' })]);
    const options = Object.freeze({ strategy: Object.freeze(roundRobin()) });
    const pool = new UpstreamPool(list, options);
    expect(pool.pick(anExchange())?.url).toBe('http://a');
  });
});

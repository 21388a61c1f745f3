import { inspect } from 'node:util';
import { describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { type Bar, Upstream, type UpstreamInit } from 'headrace';
import { anExchange } from '../helpers/exchanges.js';

describe('Upstream', () => {
  it('tells all who watch it, though one of them throws', () => {
    const upstream = new Upstream('http://a');
    const changes: number[] = [];
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const watcher = {
      loadChanged: () => {
        throw new Error('of the user');
      },
    };
    upstream.watch(watcher);
    upstream.watch({ loadChanged: (change) => changes.push(change) });
    upstream.inFlight += 1;
    upstream.inFlight -= 1;
    expect(changes).toEqual([1, -1]);
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      'loadChanged() of a watcher threw',
      'loadChanged() of a watcher threw',
    ]);
    warn.mockRestore();
  });

  it.each([
    ['http://localhost:3000', 'http://localhost:3000', 'http:', 'localhost', '', ''],
    ['HTTP://LocalHost:80/', 'http://localhost', 'http:', 'localhost', '', ''],
    ['https://example.org/base/', 'https://example.org', 'https:', 'example.org', '/base', ''],
    ['http://10.0.0.1/a/b?c=d&e', 'http://10.0.0.1', 'http:', '10.0.0.1', '/a/b', 'c=d&e'],
    ['http://[::1]:8080/x', 'http://[::1]:8080', 'http:', '::1', '/x', ''],
    ['https://[2001:DB8::1]?q', 'https://[2001:db8::1]', 'https:', '2001:db8::1', '', 'q'],
    ['http://h/a%2Fb//c', 'http://h', 'http:', 'h', '/a%2Fb//c', ''],
  ])('takes %s apart', (url, origin, protocol, hostname, basePath, query) => {
    const parts = { origin, protocol, hostname, basePath, query, socketPath: undefined };
    expect(new Upstream(url)).toMatchObject(parts);
    expect(new Upstream(new URL(url))).toMatchObject(parts);
    expect(new Upstream({ url })).toMatchObject(parts);
  });

  it.each([
    ['unix:/run/app.sock', '/run/app.sock', '', '', 'unix:/run/app.sock'],
    ['unix:/run/app.sock:/base/', '/run/app.sock', '/base', '', 'unix:/run/app.sock:/base'],
    ['unix:/s:/base?a=b', '/s', '/base', 'a=b', 'unix:/s:/base?a=b'],
    ['unix:/s?a=b', '/s', '', 'a=b', 'unix:/s?a=b'],
  ])('takes %s apart', (target, socketPath, basePath, query, url) => {
    expect(new Upstream(target)).toMatchObject({
      socketPath,
      basePath,
      query,
      url,
      protocol: 'http:',
      origin: 'http://localhost',
    });
  });

  it('asks TLS for names, never for addresses', () => {
    expect(new Upstream('https://example.org').servername).toBe('example.org');
    expect(new Upstream('https://10.0.0.1').servername).toBe('');
    expect(new Upstream('https://[::1]').servername).toBe('');
  });

  it('reads as its URL, so that it can be made again from it', () => {
    const origin = fc.constantFrom(
      'http://h',
      'https://a.example:8443',
      'http://[::1]:81',
      'unix:/s',
    );
    const path = fc.constantFrom('', '/a', '/a/b%20c');
    const query = fc.constantFrom('', '?x=1', '?x=/y');
    fc.assert(
      fc.property(origin, path, query, (origin, path, query) => {
        const colon = origin.startsWith('unix:') && path !== '' ? ':' : '';
        const { url } = new Upstream(`${origin}${colon}${path}${query}`);
        expect(url).toBe(`${origin}${colon}${path}${query}`);
        const { origin: again, basePath, query: kept, socketPath } = new Upstream(url);
        const first = new Upstream(`${origin}${colon}${path}${query}`);
        expect(first).toMatchObject({ origin: again, basePath, query: kept, socketPath });
      }),
    );
  });

  it.each([
    'htp://a',
    'http:/a',
    'http:a',
    '//a',
    '/path',
    '',
    'http://',
    'http://a b',
    'http://a/#top',
    'ftp://a',
    'unix:relative.sock',
    'unix:',
    'unix:/s:base',
    'unix:/s#top',
    'javascript:alert(1)',
  ])('refuses %j', (url) => {
    expect(() => new Upstream(url)).toThrow(
      new TypeError(`Upstream: url must be an http(s) URL, received "${url}"`),
    );
  });

  it.each([
    ['localhost:3000', 'http://localhost:3000'],
    ['localhost', 'http://localhost'],
    ['10.0.0.1:80/base', 'http://10.0.0.1:80/base'],
    ['[::1]:3000', 'http://[::1]:3000'],
    ['ws://a:3000', 'http://a:3000'],
    ['wss://a', 'https://a'],
  ])('refuses %j, and knows what was meant', (url, meant) => {
    expect(() => new Upstream(url)).toThrow(
      new TypeError(
        `Upstream: url must be an http(s) URL, received "${url}", did you mean "${meant}"?`,
      ),
    );
  });

  it.each([[undefined], [5], [true], [() => {}]])('refuses %p', (url) => {
    expect(() => new Upstream(url as never)).toThrow(/^Upstream: url must be an http\(s\) URL, /);
    expect(() => new Upstream({ url: url as never })).toThrow(
      /must be an http\(s\) URL, received /,
    );
  });

  it('refuses null and lists, and options that it does not know', () => {
    expect(() => new Upstream(null as never)).toThrow(/^Upstream: options must be an object/);
    expect(() => new Upstream([] as never)).toThrow(/received an array of 0$/);
    expect(() => new Upstream({ uri: 'http://a' } as never)).toThrow(
      new TypeError('Upstream: unknown option "uri", did you mean "url"?'),
    );
  });

  it('says where the target came from', () => {
    expect(() => new Upstream('htp://a', 'loadBalancer: upstreams[1].url')).toThrow(
      new TypeError('loadBalancer: upstreams[1].url must be an http(s) URL, received "htp://a"'),
    );
    expect(() => new Upstream({ x: 1 } as never, 'loadBalancer: upstreams[1].url')).toThrow(
      /^loadBalancer: upstreams\[1\]: unknown option "x"/,
    );
  });

  it('closes its connections', async () => {
    const upstream = new Upstream('http://localhost');
    let closed = 0;
    const connection = { close: async () => void closed++ };
    upstream.connections.set({}, connection).set({}, connection);
    await upstream.close();
    await upstream.close();
    expect(closed).toBe(2);
    expect(upstream.connections.size).toBe(0);
  });
});

describe('credentials in a target', () => {
  it.each([
    ['http://user:secret@host', 'user:secret'],
    ['http://user@host', 'user:'],
    ['http://:secret@host', ':secret'],
    ['http://us%40er:s%3Acret%C3%BC@host', 'us@er:s:cretü'],
  ])('%s are used', (url, credentials) => {
    const basic = `Basic ${Buffer.from(credentials).toString('base64')}`;
    expect(new Upstream(url).authorization).toBe(basic);
  });

  it('are not there when there are none', () => {
    expect(new Upstream('http://host').authorization).toBeUndefined();
  });

  it('are never shown', () => {
    const upstream = new Upstream('https://user:secret@host:8443/base?q');
    const basic = Buffer.from('user:secret').toString('base64');
    const shown = [
      upstream.url,
      String(upstream),
      JSON.stringify(upstream),
      JSON.stringify({ ...upstream }),
      inspect(upstream),
      inspect({ upstream }, { depth: 9 }),
    ];
    for (const text of shown) {
      expect(text).not.toMatch(/user|secret/);
      expect(text).not.toContain(basic);
    }
    expect(upstream.url).toBe('https://host:8443/base?q');
    expect(String(upstream)).toBe(upstream.url);
    expect(JSON.stringify(upstream)).toBe('{"url":"https://host:8443/base?q"}');
  });

  it('are not shown by errors either', () => {
    for (const url of [
      'htp://user:secret@host',
      'http://user:secret@host/#top',
      'user:secret@host',
    ])
      expect(() => new Upstream(url)).toThrow(/received "[^"]*\*\*\*@host/);
  });

  it('that are not encoded as they should be are refused in the factory', () => {
    expect(() => new Upstream('http://user:100%secret@host', 'proxyPass: target')).toThrow(
      new TypeError(
        'proxyPass: target has credentials that are not percent-encoded, received "http://***@host/"',
      ),
    );
  });

  it('are shown no more than the TLS keys of the connections', () => {
    const upstream = new Upstream('https://host');
    upstream.connections.set({ tls: { key: 'PRIVATE KEY' } }, { close: async () => {} });
    expect(inspect(upstream, { depth: 9 })).not.toContain('PRIVATE KEY');
  });
});

describe('bars', () => {
  it('keep an upstream from being chosen as long as one stands', () => {
    const upstream = new Upstream('http://a');
    const bars: Bar[] = ['ejected', 'unhealthy', 'draining', 'held', 'open'];
    for (const bar of bars) {
      upstream.bar(bar);
      expect(upstream.usable).toBe(false);
    }
    expect([...upstream.bars]).toEqual(bars);
    for (const bar of bars) {
      expect(upstream.usable).toBe(false);
      upstream.lift(bar);
    }
    expect(upstream.usable).toBe(true);
  });

  it('are told to the observer when they change, and only then', () => {
    const upstream = new Upstream('http://a');
    const told: [Bar, boolean][] = [];
    upstream.observer = {
      barred: (_upstream, bar, on) => told.push([bar, on]),
      answered: () => {},
      failed: () => {},
      idle: () => {},
      changed: () => {},
      circuitChanged: () => {},
    };
    upstream.lift('open');
    upstream.bar('open');
    upstream.bar('open');
    upstream.lift('open');
    upstream.lift('open');
    expect(told).toEqual([
      ['open', true],
      ['open', false],
    ]);
  });

  it('move the time since when things stand as they do', () => {
    const upstream = new Upstream('http://a');
    const made = upstream.since;
    upstream.lift('open');
    expect(upstream.since).toBe(made);
    upstream.bar('open');
    expect(upstream.since).toBeGreaterThan(made);
  });
});

describe('weight and priority', () => {
  it('are 1 and 0 by default', () => {
    expect(new Upstream('http://a')).toMatchObject({ weight: 1, priority: 0 });
    const init = { url: 'http://a', weight: undefined, priority: undefined };
    expect(new Upstream(init)).toMatchObject({ weight: 1, priority: 0 });
  });

  it('take a fraction of weight, and none at all, which gets nothing', () => {
    expect(new Upstream({ url: 'http://a', weight: 0.5 }).usable).toBe(true);
    expect(new Upstream({ url: 'http://a', weight: 0 }).usable).toBe(false);
  });

  it.each<[string, unknown, string]>([
    ['weight', -1, 'must be a number of at least 0, received -1'],
    ['weight', Number.NaN, 'must be a number of at least 0, received NaN'],
    ['weight', Number.POSITIVE_INFINITY, 'must be a number of at least 0, received Infinity'],
    ['weight', '2', 'must be a number of at least 0, received "2"'],
    ['priority', -1, 'must be a whole number of at least 0, received -1'],
    ['priority', 0.5, 'must be a whole number of at least 0, received 0.5'],
  ])('refuse %s: %p', (name, value, message) => {
    const init = { url: 'http://a', [name]: value } as UpstreamInit;
    expect(() => new Upstream(init, 'list[3].url')).toThrow(`list[3].${name} ${message}`);
    const upstream = new Upstream({ url: 'http://a', weight: 2, priority: 3 });
    expect(() => Object.assign(upstream, { [name]: value })).toThrow(
      `Upstream: ${name} ${message}`,
    );
    expect(upstream).toMatchObject({ weight: 2, priority: 3 });
  });

  it('can be set where no pool has to hear of it', () => {
    const upstream = Object.assign(new Upstream('http://a'), { weight: 0, priority: 2 });
    expect(upstream).toMatchObject({ weight: 0, priority: 2, usable: false });
  });
});

describe('requests in flight', () => {
  it('are told to the observer when the last one has ended', () => {
    const upstream = new Upstream('http://a');
    let idle = 0;
    upstream.observer = {
      barred: () => {},
      answered: () => {},
      failed: () => {},
      idle: () => void idle++,
      changed: () => {},
      circuitChanged: () => {},
    };
    const exchanges = [anExchange(), anExchange()];
    for (const exchange of exchanges) exchange.lease(upstream);
    exchanges[0]?.settle('completed');
    expect([upstream.inFlight, idle]).toEqual([1, 0]);
    exchanges[1]?.settle('failed');
    exchanges[1]?.settle('failed');
    expect([upstream.inFlight, idle]).toEqual([0, 1]);
  });
});

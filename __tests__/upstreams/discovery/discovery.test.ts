import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, jest } from '@jest/globals';
import {
  type Discovery,
  fromDns,
  fromFile,
  loadBalancer,
  proxyPass,
  UpstreamPool,
  type UpstreamPoolOptions,
} from 'headrace';
import { generated, pushSource } from '../../helpers/discovery.js';
import { dnsmasq, dnsServer } from '../../helpers/dnsmasq.js';
import { closeAfter, gateway, serve } from '../../helpers/servers.js';
import { eventually } from '../../helpers/settled.js';

/** A pool that follows a source until the test is over, and what it tells. */
function poolOf(source: Discovery, options: UpstreamPoolOptions = {}) {
  const pool = new UpstreamPool(source, { random: () => 0.1, ...options });
  closeAfter(() => pool.close());
  const errors: unknown[] = [];
  const drained: string[] = [];
  let changes = 0;
  pool.on('discoveryError', (error) => errors.push(error));
  pool.on('drained', ({ url }) => drained.push(url));
  pool.on('change', () => {
    changes += 1;
  });
  const urls = () => pool.upstreams.map(({ url }) => url);
  const has = (...list: string[]) =>
    eventually(`the upstreams ${list}`, () => String(urls()) === String(list));
  return { pool, errors, drained, urls, has, changes: () => changes };
}

/** A gateway before a pool; what it answers, and with which status. */
async function through(pool: UpstreamPool) {
  const { url } = await gateway('node:http', loadBalancer({ upstreams: pool }), proxyPass());
  return async () => {
    const response = await fetch(url);
    return `${response.status} ${await response.text()}`;
  };
}

const named = (name: string) => serve((_req, res) => res.end(name));

describe('a pool fed by a source', () => {
  it('answers 503 until the first list has come', async () => {
    const { url } = await named('a');
    const source = pushSource();
    const { pool, has } = poolOf(source);
    const { port } = await gateway('express 5', loadBalancer({ upstreams: pool }), proxyPass());
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(503);
    source.push([url]);
    await has(url);
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(200);
  });

  it('keeps what is known of the upstreams that stay', async () => {
    const [a, b, c] = await Promise.all([named('a'), named('b'), named('c')]);
    const source = pushSource();
    const { pool, has } = poolOf(source);
    const get = await through(pool);
    source.push([a.url, b.url]);
    await has(a.url, b.url);
    expect([await get(), await get()].sort()).toEqual(['200 a', '200 b']);
    const [, stays] = pool.upstreams;
    source.push([{ url: b.url, weight: 5, priority: 0 }, c.url]);
    await has(b.url, c.url);
    expect(pool.upstreams[0]).toBe(stays);
    expect(pool.stats()).toMatchObject([
      { url: b.url, weight: 5, requests: 1 },
      { url: c.url, weight: 1, requests: 0 },
    ]);
  });

  it('lets what is in flight finish on an upstream that goes, and tells when it has', async () => {
    const answers: ServerResponse[] = [];
    const slow = await serve((_req, res) => {
      answers.push(res);
    });
    const quick = await named('quick');
    const source = pushSource();
    const { pool, drained, has } = poolOf(source);
    const get = await through(pool);
    source.push([slow.url]);
    await has(slow.url);
    const held = get();
    await eventually('the request', () => answers.length === 1);
    source.push([quick.url]);
    await has(quick.url);
    expect(await get()).toBe('200 quick');
    expect(drained).toEqual([]);
    answers[0]?.end('slow');
    expect(await held).toBe('200 slow');
    await eventually('the end', () => drained.length === 1);
    expect(drained).toEqual([slow.url]);
  });

  it('closes the connections to an upstream that has gone', async () => {
    const a = await named('a');
    const connected = once(a.server, 'connection');
    const source = pushSource();
    const { pool, has, drained } = poolOf(source);
    const get = await through(pool);
    source.push([a.url]);
    await has(a.url);
    await get();
    const [socket] = await connected;
    source.push([]);
    await eventually('the end', () => drained.length === 1);
    if (!socket.destroyed) await once(socket, 'close');
    expect(await get()).toMatch(/^503 /);
  });

  it.each([
    [undefined, /upstreams must be an array, received undefined/],
    ['http://127.0.0.1:1', /upstreams must be an array, received "http:\/\/127.0.0.1:1"/],
    [[42], /upstreams\[0\]\.url must be an http\(s\) URL, received 42/],
    [[null], /upstreams\[0\]: options must be an object, received null/],
    [['http://a', 'htp://b'], /upstreams\[1\]\.url must be an http\(s\) URL, received "htp:\/\/b"/],
    [[{ url: 'http://a', weight: -1 }], /upstreams\[0\]\.weight must be a number of at least 0/],
    [[{ url: 'http://a', wait: 1 }], /upstreams\[0\]: unknown option "wait"/],
    [['http://a', 'http://a/'], /upstreams\[1\]\.url is listed twice: "http:\/\/a"/],
  ])('stays as it is when a source yields %j', async (garbage, message) => {
    const source = pushSource();
    const { errors, urls, has } = poolOf(source);
    source.push(['http://127.0.0.1:1']);
    await has('http://127.0.0.1:1');
    source.push(garbage);
    await eventually('the error', () => errors.length === 1);
    expect(String(errors[0])).toMatch(message);
    expect(urls()).toEqual(['http://127.0.0.1:1']);
    source.push(['http://127.0.0.1:2']);
    await has('http://127.0.0.1:2');
  });

  it('takes the good one of two lists that come at once, and tells of the other', async () => {
    const source = pushSource();
    const { errors, has } = poolOf(source);
    source.push([], ['http://127.0.0.1:1'], ['htp://b']);
    await has('http://127.0.0.1:1');
    await eventually('the error', () => errors.length === 1);
  });

  it('serves on when its source throws, and tells', async () => {
    const { url } = await named('a');
    let begun = 0;
    const { pool, errors, has } = poolOf(
      generated(async function* () {
        begun += 1;
        if (begun === 1) yield [url];
        throw new Error(`down ${begun}`);
      }),
    );
    const get = await through(pool);
    await has(url);
    await eventually('some errors', () => errors.length >= 3);
    expect(errors.slice(0, 2)).toEqual([new Error('down 1'), new Error('down 2')]);
    expect(await get()).toBe('200 a');
  });

  it('is not changed by a list that is the same', async () => {
    const source = pushSource();
    const { pool, changes, has } = poolOf(source);
    source.push(['http://127.0.0.1:1', 'http://127.0.0.1:2']);
    await has('http://127.0.0.1:1', 'http://127.0.0.1:2');
    const { eligible } = pool;
    source.push(['http://127.0.0.1:1', new URL('http://127.0.0.1:2/')]);
    await delay(50);
    expect(changes()).toBe(1);
    expect(pool.eligible).toBe(eligible);
    source.push(['http://127.0.0.1:1', { url: 'http://127.0.0.1:2', weight: 2 }]);
    await eventually('the change', () => changes() === 2);
    source.push([{ url: 'http://127.0.0.1:2', weight: 2 }, 'http://127.0.0.1:1']);
    await has('http://127.0.0.1:2', 'http://127.0.0.1:1');
    expect(changes()).toBe(3);
  });

  it('takes an upstream with other credentials or another transport for a new one', async () => {
    const source = pushSource();
    const { pool, drained, has } = poolOf(source);
    const versions = [
      'http://me:one@127.0.0.1:1',
      'http://me:two@127.0.0.1:1',
      { url: 'http://me:two@127.0.0.1:1', transport: { connections: 1 } },
      { url: 'http://me:two@127.0.0.1:1', transport: { connections: 2 } },
    ];
    for (const [i, version] of versions.entries()) {
      source.push([version]);
      await has('http://127.0.0.1:1');
      await eventually(`version ${i}`, () => drained.length === i);
    }
    const [last] = pool.upstreams;
    expect(last?.settings?.connections).toBe(2);
    const same = { url: 'http://me:two@127.0.0.1:1', transport: { connections: 2 } };
    source.push([same, 'http://127.0.0.1:2']);
    await has('http://127.0.0.1:1', 'http://127.0.0.1:2');
    expect(pool.upstreams[0]).toBe(last);
    expect(drained).toHaveLength(3);
  });

  it('is not upset by listeners that throw', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const source = pushSource();
    const { pool, errors, has } = poolOf(source);
    pool.on('change', () => {
      throw new Error('a listener of mine');
    });
    source.push(['http://127.0.0.1:1'], ['http://127.0.0.1:2']);
    await has('http://127.0.0.1:2');
    expect(errors).toEqual([]);
    expect(warn).toHaveBeenCalledTimes(2);
    expect(warn).toHaveBeenCalledWith("A listener of pool.on('change') threw", {
      type: 'HeadraceWarning',
      code: 'HEADRACE_LISTENER',
      detail: expect.stringContaining('a listener of mine'),
    });
  });

  it('forgets what has left, however its last requests end', async () => {
    const slow = await serve(() => {});
    const source = pushSource();
    const ejected: string[] = [];
    const { pool, has, drained } = poolOf(source, { health: { passive: { maxFailures: 1 } } });
    pool.on('ejected', ({ url }) => ejected.push(url));
    const get = await through(pool);
    source.push([slow.url, 'http://127.0.0.1:1', 'http://127.0.0.1:2']);
    await has(slow.url, 'http://127.0.0.1:1', 'http://127.0.0.1:2');
    const [leaving] = pool.upstreams;
    const requested = once(slow.server, 'request');
    const held = get();
    await requested;
    source.push(['http://127.0.0.1:1', 'http://127.0.0.1:2']);
    await has('http://127.0.0.1:1', 'http://127.0.0.1:2');
    slow.server.closeAllConnections();
    expect(await held).toMatch(/^502 /);
    await eventually('the end', () => drained.length === 1);
    expect(ejected).toEqual([]);
    expect([...(leaving?.bars ?? [])]).toEqual(['draining']);
  });

  it('stops following when it is closed', async () => {
    const source = pushSource();
    const { pool, has, urls } = poolOf(source);
    source.push(['http://127.0.0.1:1']);
    await has('http://127.0.0.1:1');
    await pool.close();
    expect(source.returned).toBe(1);
    source.push(['http://127.0.0.1:2']);
    await delay(50);
    expect(urls()).toEqual(['http://127.0.0.1:1']);
  });

  it('loses no request while it is changed 100 times a second', async () => {
    const servers = await Promise.all(['a', 'b', 'c', 'd'].map(named));
    const all = servers.map(({ url }) => url);
    const source = pushSource();
    const { pool, drained } = poolOf(source);
    const get = await through(pool);
    source.push(all);
    await eventually('the first list', () => pool.upstreams.length === all.length);

    let running = true;
    const answers: string[] = [];
    const clients = Array.from({ length: 8 }, async () => {
      while (running) answers.push(await get());
    });
    const started = performance.now();
    for (let i = 0; i < 100; i++) {
      source.push(all.filter((_, index) => index !== i % all.length));
      await delay(Math.max(0, started + (i + 1) * 10 - performance.now()));
    }
    running = false;
    await Promise.all(clients);
    expect(answers.filter((answer) => !answer.startsWith('200 '))).toEqual([]);
    expect(answers.length).toBeGreaterThan(50);
    expect(drained.length).toBeGreaterThan(20);
  });

  it.each([
    [undefined, 'UpstreamPool: upstreams must be an array, received undefined'],
    ['http://a', 'UpstreamPool: upstreams must be an array, received "http://a"'],
    [{}, 'UpstreamPool: upstreams must be an array, received an object []'],
  ])('is not made of %j', (list, message) => {
    expect(() => new UpstreamPool(list as never)).toThrow(new TypeError(message));
  });
});

describe('a gateway', () => {
  it('sends to what a file names', async () => {
    const [a, b] = await Promise.all([named('a'), named('b')]);
    const folder = await mkdtemp(join(tmpdir(), 'headrace-pool-'));
    closeAfter(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'upstreams.json');
    writeFileSync(file, JSON.stringify([a.url]));
    const { pool, has } = poolOf(fromFile(file, { debounceMs: 5 }));
    const get = await through(pool);
    await has(a.url);
    expect(await get()).toBe('200 a');
    writeFileSync(file, JSON.stringify([{ url: b.url, weight: 2 }]));
    await has(b.url);
    expect(await get()).toBe('200 b');
  });

  const withDns = dnsmasq === undefined && !process.env.CI ? it.skip : it;

  withDns('sends to what DNS names (needs dnsmasq: apt-get install dnsmasq-base)', async () => {
    const [main, spare] = await Promise.all([named('main'), named('spare')]);
    const hosts = ['host-record=main.test,127.0.0.1', 'host-record=spare.test,127.0.0.1'];
    const dns = await dnsServer(
      ...hosts,
      `srv-host=_api._tcp.test,main.test,${main.port},0,1`,
      `srv-host=_api._tcp.test,spare.test,${spare.port},1,1`,
    );
    const { pool, has } = poolOf(
      fromDns({
        hostname: '_api._tcp.test',
        type: 'SRV',
        intervalMs: 20,
        resolver: dns.resolver,
      }),
    );
    const get = await through(pool);
    await has(main.url, spare.url);
    expect([await get(), await get()]).toEqual(['200 main', '200 main']);
    pool.upstreams[0]?.bar('unhealthy');
    expect(await get()).toBe('200 spare');
    await dns.serve(...hosts, `srv-host=_api._tcp.test,spare.test,${spare.port},1,1`);
    await has(spare.url);
    expect(await get()).toBe('200 spare');
  });
});

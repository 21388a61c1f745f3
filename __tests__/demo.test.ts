import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, it } from '@jest/globals';
import express from 'express';
import request from 'supertest';
import { WebSocket } from 'ws';
import { backend } from '../demo/backend.js';
import { gateway } from '../demo/gateway.js';
import { load } from '../demo/load.js';
import { backends, balanced } from '../demo/routes/balanced.js';
import { type Demo, start } from '../demo/start.js';
import { tour } from '../demo/tour.js';
import { runDemo } from './helpers/demo.js';
import { samplesOf } from './helpers/prometheus.js';
import { closeAfter, serve } from './helpers/servers.js';
import { eventually } from './helpers/settled.js';

const DOWN = 'http://127.0.0.1:1';
const FREE = Object.fromEntries(
  ['GATEWAY', 'FORWARD', 'SERVER', 'SECOND', 'THIRD'].map((name) => [`DEMO_${name}_PORT`, '0']),
);
const ANY_PORTS = { server: 0, second: 0, third: 0, gateway: 0, forward: 0 };

describe('the demo', () => {
  let demo: Demo;
  let logged: string[];

  beforeEach(async () => {
    logged = [];
    demo = await start(ANY_PORTS, (line) => logged.push(line));
    closeAfter(() => demo.close());
  });

  it('has a backend with a front page and a user', async () => {
    expect((await request(demo.server).get('/')).text).toBe('response from server backend\n');
    expect((await request(demo.server).get('/user/1')).text).toBe(
      'user info from server backend\n',
    );
  });

  it('is a whole proxy in one line', async () => {
    const res = await request(demo.gateway).get('/simple/user/1');
    expect(res.text).toBe('user info from server backend\n');
  });

  it('cuts the prefix, and logs the path as old -> new', async () => {
    const res = await request(demo.gateway).get('/proxy/user/1?full=yes');
    expect(res.text).toBe('user info from server backend\n');
    expect((await request(demo.gateway).get('/proxy')).text).toBe('response from server backend\n');
    expect(logged).toEqual(['/proxy/user/1?full=yes -> /user/1?full=yes', '/proxy -> /']);
  });

  it.each(['get', 'post', 'put', 'patch', 'delete', 'options'] as const)(
    'passes %s on, with its body',
    async (method) => {
      const res = await request(demo.gateway)
        [method]('/proxy/echo')
        .type('text/plain')
        .send('hello');
      expect(res.body).toMatchObject({ method: method.toUpperCase(), url: '/echo', body: 'hello' });
    },
  );

  it('answers HEAD without a body', async () => {
    const res = await request(demo.gateway).head('/proxy/user/1');
    expect(res.status).toBe(200);
    expect(res.headers['content-length']).toBe('30');
    expect(res.text).toBeUndefined();
  });

  it('asks each backend in turn', async () => {
    expect(await ask(demo.gateway, 4)).toEqual([
      'response from server backend\n',
      'response from second backend\n',
      'response from third backend\n',
      'response from server backend\n',
    ]);
    expect(logged).toEqual([]);
  });

  it('asks another backend when one is broken, and leaves that one out after two failures', async () => {
    const broken = await request(demo.third).post('/break');
    expect(broken.text).toBe('the third backend is broken\n');
    expect((await request(demo.third).get('/')).status).toBe(503);

    for (const text of await ask(demo.gateway, 8)) {
      expect(text).toMatch(/^response from (server|second) backend\n$/);
    }
    expect(logged.filter((line) => !line.startsWith('/balanced: '))).toEqual([
      `${demo.third} is out`,
    ]);
    const retried = `/balanced: ${demo.third} 503, then ${demo.server} 200`;
    expect(logged.filter((line) => line.startsWith('/balanced: '))).toEqual([retried, retried]);
  });

  it('shows what it knows of its backends', async () => {
    await request(demo.third).post('/break');
    await ask(demo.gateway, 8);
    const { body } = await request(demo.gateway).get('/balanced/stats');
    expect(body).toMatchObject([
      { url: demo.server, usable: true, bars: [] },
      { url: demo.second, usable: true, bars: [] },
      { url: demo.third, usable: false, bars: ['ejected'], requests: 2, inFlight: 0 },
    ]);
  });

  it('edits headers, there and back', async () => {
    const res = await request(demo.gateway).get('/echo').set('User-Agent', 'a test');
    expect(res.body.headers['x-greeting']).toBe('hello from the gateway');
    expect(res.body.headers['user-agent']).toBeUndefined();
    expect(res.headers['x-proxy']).toBe('magical');
    expect(res.headers['x-powered-by']).toBeUndefined();
  });

  it('has the news once for all who ask, until they are forgotten', async () => {
    const ask = () => request(demo.gateway).get('/news');
    const [first, second, third] = [...(await Promise.all([ask(), ask()])), await ask()];
    expect([second.text, third.text]).toEqual([first.text, first.text]);
    expect(third.headers['cache-status']).toMatch(/^headrace; hit; ttl=[1-9]$/);
    expect((await request(demo.gateway).post('/news/forget')).text).toBe('forgotten: 1\n');
    expect((await ask()).text).not.toBe(first.text);
  });

  it('rewrites a page that comes in gzip', async () => {
    const original = await request(demo.server).get('/page');
    expect(original.headers['content-encoding']).toBe('gzip');
    const res = await request(demo.gateway).get('/page');
    expect(res.headers['content-encoding']).toBeUndefined();
    expect(res.text).toBe('<h1>Hello from the gateway</h1>\n');
    expect(res.headers['content-length']).toBe(String(res.text.length));
  });

  it('passes a parsed JSON body on as it was edited', async () => {
    const res = await request(demo.gateway).post('/json').send({ a: 1 });
    expect(res.body).toMatchObject({ url: '/echo', body: '{"a":1,"seenBy":"gateway"}' });
  });

  it('sends what the backend has, and falls through to a route of its own where it has nothing', async () => {
    const known = await request(demo.gateway).get('/user/1');
    expect(known.text).toBe('user info from server backend\n');
    const unknown = await request(demo.gateway).get('/user/2');
    expect([unknown.status, unknown.text]).toEqual([200, 'user 2, from the gateway itself\n']);
  });

  it('leads redirects and cookies back to itself', async () => {
    const res = await request(demo.gateway).get('/shop/login');
    expect(res.headers.location).toBe(`${demo.gateway}/shop/account`);
    expect(res.headers['set-cookie']).toEqual(['session=abc; Path=/shop; HttpOnly']);
    expect((await request(demo.gateway).get('/shop/account')).text).toBe('the account page\n');
  });

  it('is a forward proxy to what is on this machine, with and without a tunnel', async () => {
    const url = `${demo.server}/user/1`;
    for (const args of [['-x'], ['-p', '-x']]) {
      const { stdout } = await promisify(execFile)('curl', ['-sS', ...args, demo.forward, url]);
      expect(stdout).toBe('user info from server backend\n');
    }
    await eventually('the log of both', () => logged.length === 2);
    const [plain, tunnelled] = logged;
    expect(plain).toBe(`GET ${url}: 200, 30 bytes`);
    expect(tunnelled).toMatch(/^CONNECT localhost:\d+: 200, \d{3} bytes$/);
  });

  it('has a page that talks over a WebSocket, both at one path', async () => {
    const page = await request(demo.gateway).get('/ws');
    expect([page.status, page.type]).toEqual([200, 'text/html']);
    const socket = new WebSocket(`${demo.gateway.replace('http', 'ws')}/ws`);
    const heard: string[] = [];
    socket.on('message', (data) => heard.push(String(data)));
    await once(socket, 'open');
    socket.send('hello');
    await eventually('the echo', () => heard.includes('hello'));
    await eventually('the time', () => heard.some((line) => /^\d{4}-/.test(line)));
    socket.close();
    await once(socket, 'close');
  });

  it('trips the breaker of a broken backend, and answers at once', async () => {
    await request(demo.third).post('/break');
    const statuses: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      const { status, headers } = await request(demo.gateway).get('/breaker');
      statuses.push([status, headers['retry-after']]);
    }
    expect(statuses.slice(0, 3)).toEqual(Array(3).fill([503, undefined]));
    expect(statuses[3]).toEqual([503, '5']);
    expect(logged).toContain('the breaker of the third backend is open');
  });

  it('turns the sixth request in ten seconds away', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      statuses.push((await request(demo.gateway).get('/limited')).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
  });

  it('lets one through at a time, has one wait, and turns the third away', async () => {
    const asked = [1, 2, 3].map(() => request(demo.gateway).get('/narrow/slow'));
    const answers = await Promise.all(asked);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503]);
  });

  it('has something for clients while a backend is down', async () => {
    const res = await request(demo.gateway).get('/degraded');
    expect([res.status, res.text]).toEqual([200, 'what we had yesterday\n']);
    expect(logged).toEqual(['a fallback for ERR_PROXY_CONNECT']);
  });

  it('answers 502 for a backend that is not there, and logs the code', async () => {
    const res = await request(demo.gateway).get('/down/here');
    expect(res.status).toBe(502);
    expect(res.body).toMatchObject({ code: 'ERR_PROXY_CONNECT' });
    expect(logged).toEqual(['GET /down/here: ERR_PROXY_CONNECT']);
  });

  it('has something to show behind every command of its tour', async () => {
    for (const { curl } of tour(demo)) {
      // Of a loop, what it repeats.
      const { url, ...init } = fetchLike(/curl .*?(?=;| & |$)/.exec(curl)?.[0] ?? '');
      const res = await fetch(url, init);
      await res.arrayBuffer();
      expect([curl, res.status]).toEqual([curl, url.endsWith('/down') ? 502 : 200]);
    }
  });

  it('has a load that the status page shows', async () => {
    const readers = load(demo.gateway);
    closeAfter(() => readers.stop());
    const stats = async () => (await request(demo.gateway).get('/balanced/stats')).body;
    const counts = async () => (await stats()).map((one: { requests: number }) => one.requests);
    while ((await counts()).includes(0));
    const { body } = await request(demo.gateway).get('/status?format=json');
    expect(body).toMatchObject({
      title: 'The demo gateway',
      pools: [
        { name: 'all three', eligible: 3, of: 3, upstreams: [{ url: demo.server }, {}, {}] },
        { name: 'behind the breaker', upstreams: [{ url: demo.third }] },
      ],
    });
  });

  it('has metrics of all that it has: pools, breakers, limits, budgets', async () => {
    await request(demo.third).post('/break');
    for (let i = 0; i < 3; i++) await request(demo.gateway).get('/breaker');
    await ask(demo.gateway, 3);
    const { status, text } = await request(demo.gateway).get('/metrics');
    expect(status).toBe(200);
    const found = samplesOf(text);
    const requests = 'method="GET",route="/breaker/*",status="503",outcome="completed"';
    expect(found.get(`headrace_requests_total{${requests}}`)).toBe(3);
    expect(found.get('headrace_pool_upstreams{pool="all three"}')).toBe(3);
    expect(found.get('headrace_breaker_circuits{breaker="breaker",state="open"}')).toBe(1);
    expect(found.get('headrace_limit_in_flight{limit="narrow"}')).toBe(0);
    expect(found.get('headrace_retry_budget_left{budget="balanced"}')).toBeGreaterThanOrEqual(2);
  });

  it('closes while a page is open', async () => {
    const events = await fetch(`${demo.gateway}/status?format=events`);
    await demo.close();
    await events.text();
  });

  it('closes while a client keeps a connection open', async () => {
    const { port } = new URL(demo.gateway);
    const idle = connect(Number(port), '127.0.0.1');
    await once(idle, 'connect');
    const closed = once(idle, 'close');
    idle.on('error', () => {});
    await demo.close();
    await closed;
    await expect(fetch(demo.gateway)).rejects.toThrow();
  });
});

it('has a broken backend back once it is mended', async () => {
  const names = ['server', 'second', 'third'];
  const running = await Promise.all(names.map((name) => serve(backend(name))));
  const [, , third = ''] = running.map(({ url }) => url);
  const logged: string[] = [];
  const log = (line: string) => void logged.push(line);
  const urls = running.map(({ url }) => url);
  const { url } = await serve(express().use(balanced(backends(urls, log, 50), log).router));

  await request(third).post('/break');
  await ask(url, 8);
  expect(logged).toContain(`${third} is out`);
  await request(third).post('/mend');
  // On a slow machine it may have been back and out again meanwhile.
  const latest = () => logged.filter((line) => line.startsWith(third)).at(-1);
  await eventually('its return', () => latest() === `${third} is back`);
  expect((await ask(url, 3)).sort()).toEqual([
    'response from second backend\n',
    'response from server backend\n',
    'response from third backend\n',
  ]);
});

it('answers 502 once the backend of a running gateway is down', async () => {
  const upstream = await serve(backend('server'));
  const backends = { server: upstream.url, second: DOWN, third: 'http://127.0.0.1:2' };
  const { app, close } = gateway(backends, () => {});
  closeAfter(close);
  const front = await serve(app);
  expect((await request(front.url).get('/proxy/user/1')).status).toBe(200);
  await new Promise((done) => upstream.server.close(done));
  expect((await request(front.url).get('/proxy/user/1')).status).toBe(502);
});

describe('npm run demo', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('prints where it is, and ends on %s', async (signal) => {
    const { child, output } = runDemo('demo', FREE);
    const text = await output((all) => all.includes('Ctrl+C'));
    const places = [
      'gateway',
      'forward proxy',
      'server backend',
      'second backend',
      'third backend',
    ];
    for (const name of places) {
      expect(text).toMatch(new RegExp(`^the ${name} +http://localhost:\\d+$`, 'm'));
    }
    const at = (name: string) => new RegExp(`^the ${name} +(\\S+)$`, 'm').exec(text)?.[1] ?? '';
    const front = at('gateway');
    const [forward, server, third] = [
      at('forward proxy'),
      at('server backend'),
      at('third backend'),
    ];
    const [first] = text.match(/http:\S+/) ?? [];
    expect(first).toBe(`${front}/status`);
    expect(text).toContain(`${front}/metrics\n`);
    const stops = tour({ gateway: front, forward, server, third });
    for (const { curl } of stops) expect(text).toContain(`\n${curl}\n`);

    expect((await request(front).get('/proxy/user/1')).text).toBe(
      'user info from server backend\n',
    );
    await output((all) => all.includes('/proxy/user/1 -> /user/1'));

    const ended = once(child, 'close');
    child.kill(signal);
    await ended;
    await expect(fetch(front)).rejects.toThrow();
  });

  it('says which port is taken', async () => {
    const { port } = await serve(() => {});
    const { child, output } = runDemo('demo', { ...FREE, DEMO_GATEWAY_PORT: String(port) });
    const ended = once(child, 'close');
    const text = await output((all) => all.includes('DEMO_GATEWAY_PORT'));
    expect(text).toContain(`address already in use 127.0.0.1:${port}`);
    expect(await ended).toEqual([1, null]);
  });
});

/** What so many requests for `/balanced` bring, one after the other. */
async function ask(url: string, times: number): Promise<string[]> {
  const texts: string[] = [];
  for (let i = 0; i < times; i++) texts.push((await request(url).get('/balanced')).text);
  return texts;
}

/** What a curl command of the tour asks for, in the words of `fetch`. */
function fetchLike(curl: string): RequestInit & { url: string } {
  const [, ...words] = [...curl.matchAll(/'([^']*)'|(\S+)/g)].map(
    ([, quoted, bare]) => quoted ?? bare ?? '',
  );
  const after = (flag: string) => words.find((_, i) => words[i - 1] === flag);
  const [name = 'Connection', value = 'close'] = after('-H')?.split(': ') ?? [];
  const body = after('-d') ?? null;
  const method = after('-X') ?? (body === null ? 'GET' : 'POST');
  return { url: words.at(-1) ?? '', method, body, headers: { [name]: value } };
}

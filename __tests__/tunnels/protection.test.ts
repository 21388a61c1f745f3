import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import {
  type CircuitBreakerOptions,
  circuitBreaker,
  concurrencyLimit,
  proxyErrors,
  proxyPass,
  rateLimiter,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { closeAfter, type RawUpstream, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import {
  chatUpstream,
  switching,
  tunnelClient,
  tunnelGateway,
  upgradeRequest,
} from '../helpers/tunnels.js';

const opened = (text: string) => text.startsWith('HTTP/1.1 101 ');

describe('concurrencyLimit over tunnels', () => {
  it.each(['the client', 'the upstream'])(
    'holds a place until the tunnel has ended, here with %s, and gives it to who waits',
    async (ending) => {
      const upstream = await chatUpstream();
      const limit = concurrencyLimit({ limit: 1, queue: { size: 1, timeoutMs: 10_000 } });
      const pass = proxyPass(upstream.url);
      closeAfter(() => pass.close());
      const { port } = await tunnelGateway('express 5', limit, pass, proxyErrors());
      const first = await tunnelClient(port);
      const second = await rawClient(port, upgradeRequest());
      await eventually('a place in the queue', () => limit.waiting === 1);
      const refused = await rawRequest(port, upgradeRequest());
      expect([refused.status, refused.header('retry-after')]).toEqual([503, '1']);
      expect(refused.body).toContain('ERR_PROXY_OVERLOADED');

      // What passes through the tunnel changes nothing.
      first.write('hello');
      await eventually('the bytes', () => upstream.received().endsWith('hello'));
      upstream.sockets[0]?.write('hello');
      await first.until((text) => text.endsWith('hello'));
      expect([limit.inFlight, limit.waiting, upstream.sockets.length]).toEqual([1, 1, 1]);

      if (ending === 'the client') first.socket.end();
      else upstream.sockets[0]?.end();
      await second.until(opened);
      expect([limit.inFlight, limit.waiting]).toEqual([1, 0]);
      if (ending === 'the client') second.socket.resetAndDestroy();
      else upstream.sockets[1]?.resetAndDestroy();
      await eventually('rest', () => limit.inFlight === 0);
    },
  );

  it('gives up the place of a client that leaves the queue, and the one of a refusal', async () => {
    const upstream = await rawUpstream((request) =>
      request.includes('X-No: 1') ? 'HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n' : undefined,
    );
    const limit = concurrencyLimit({ limit: 1, queue: { size: 1, timeoutMs: 10_000 } });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await tunnelGateway('express 5', limit, pass, proxyErrors());
    expect((await rawRequest(port, upgradeRequest('X-No: 1'))).status).toBe(401);
    await eventually('rest', () => limit.inFlight === 0);
    const first = await rawClient(port, upgradeRequest());
    await eventually('a place', () => limit.inFlight === 1);
    const second = await rawClient(port, upgradeRequest());
    await eventually('a place in the queue', () => limit.waiting === 1);
    second.socket.destroy();
    await eventually('an empty queue', () => limit.waiting === 0);
    first.socket.destroy();
    await eventually('rest', () => limit.inFlight === 0);
  });
});

describe('rateLimiter over tunnels', () => {
  it('answers a handshake too many with a plain 429, and leaves open tunnels alone', async () => {
    const upstream = await chatUpstream();
    const limiter = rateLimiter({ limit: 1 });
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await tunnelGateway('express 5', limiter, pass, proxyErrors());
    const client = await tunnelClient(port);
    expect(client.received()).toMatch(/^ratelimit: .*; r=0;/im);
    const refused = await rawRequest(port, upgradeRequest());
    expect(refused.status).toBe(429);
    expect(Number(refused.header('retry-after'))).toBeGreaterThan(0);
    client.write('still there');
    await eventually('the bytes', () => upstream.received().endsWith('still there'));
    expect(upstream.sockets).toHaveLength(1);
  });
});

/** A gateway with a breaker that opens at the second failure, before an upstream. */
async function guarded(target: string, options: CircuitBreakerOptions = {}) {
  let time = 0;
  const breaker = circuitBreaker({
    volumeThreshold: 2,
    resetTimeoutMs: 5_000,
    now: () => time,
    ...options,
  });
  const pass = proxyPass(target);
  closeAfter(() => pass.close());
  const { port } = await tunnelGateway('express 5', breaker, pass, proxyErrors());
  return {
    port,
    ask: () => rawRequest(port, upgradeRequest()),
    pass: (ms: number) => {
      time += ms;
    },
    state: () => Object.entries(breaker.circuits).find(([, count]) => count > 0)?.[0],
  };
}

/** An upstream that answers each upgrade as it is told to; by nothing while `answer` is undefined. */
async function moody(): Promise<{ upstream: RawUpstream; will: { answer: string | undefined } }> {
  const will: { answer: string | undefined } = { answer: switching('chat') };
  const upstream = await rawUpstream((request) =>
    request.startsWith('GET /chat ') ? will.answer : undefined,
  );
  return { upstream, will };
}

const refusing = (status: number) => `HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`;

describe('circuitBreaker over tunnels', () => {
  it('counts a refused upgrade as its status says', async () => {
    const { upstream, will } = await moody();
    const { ask, state } = await guarded(upstream.url);
    will.answer = refusing(401);
    for (let i = 0; i < 4; i++) expect((await ask()).status).toBe(401);
    expect(state()).toBe('closed');
    will.answer = refusing(503);
    // Five failures among nine are more than half of them.
    for (let i = 0; i < 5; i++) expect((await ask()).status).toBe(503);
    expect(state()).toBe('open');
    const seen = upstream.received();
    const refused = await ask();
    expect([refused.status, refused.header('retry-after')]).toEqual([503, '5']);
    expect(refused.body).toContain('ERR_PROXY_CIRCUIT_OPEN');
    expect(upstream.received()).toBe(seen);
  });

  it('is opened by connect errors, and by what switches to something else', async () => {
    const { upstream, will } = await moody();
    will.answer = switching('other');
    for (const target of ['http://127.0.0.1:1', upstream.url]) {
      const { ask, state } = await guarded(target);
      const statuses: number[] = [];
      for (let i = 0; i < 3; i++) statuses.push((await ask()).status);
      expect([statuses, state()]).toEqual([[502, 502, 503], 'open']);
    }
  });

  it('answers an upgrade with the fallback while it is open, as a plain response', async () => {
    const { upstream, will } = await moody();
    const { port } = await guarded(upstream.url, {
      fallback: ({ code }) =>
        code === 'ERR_PROXY_CIRCUIT_OPEN' ? { status: 404, body: 'no chat today' } : undefined,
    });
    will.answer = refusing(500);
    for (let i = 0; i < 2; i++) expect((await rawRequest(port, upgradeRequest())).status).toBe(500);
    const client = await rawClient(port, `${upgradeRequest()}early bytes`);
    const text = await client.closed();
    expect(text).toMatch(/^HTTP\/1\.1 404 [\s\S]*\r\n\r\nno chat today$/);
    expect(text).toMatch(/^connection: close\r$/im);
    expect(text).not.toMatch(/^upgrade:/im);
  });

  it('is over with the probe when that has got its 101, however long the tunnel lives', async () => {
    const { upstream, will } = await moody();
    const { port, ask, pass, state } = await guarded(upstream.url);
    will.answer = refusing(500);
    for (let i = 0; i < 2; i++) await ask();
    pass(5_000);
    expect(state()).toBe('half-open');
    will.answer = switching('chat');
    const probe = await tunnelClient(port);
    expect(state()).toBe('closed');
    // The next ones need not wait for its end, and its end says nothing.
    const other = await tunnelClient(port);
    const gone = once(probe.socket, 'close');
    for (const socket of upstream.sockets.slice(0, -1)) socket.resetAndDestroy();
    await gone;
    other.write('still there');
    await eventually('the bytes', () => upstream.received().endsWith('still there'));
    expect(state()).toBe('closed');
  });

  it('takes no tunnel that began before for a probe, when it ends', async () => {
    const { upstream, will } = await moody();
    const { port, ask, pass, state } = await guarded(upstream.url);
    const early = await tunnelClient(port);
    const far = upstream.sockets[0] as Socket;
    will.answer = refusing(500);
    for (let i = 0; i < 2; i++) await ask();
    expect(state()).toBe('open');
    early.write('it goes on');
    await eventually('the bytes', () => upstream.received().includes('it goes on'));
    pass(5_000);
    will.answer = undefined;
    const before = upstream.received().length;
    const probe = await rawClient(port, upgradeRequest());
    await eventually('the probe', () => upstream.received().length > before);
    const gone = once(early.socket, 'close');
    far.resetAndDestroy();
    await gone;
    // The place of the probe is taken still.
    expect([state(), (await ask()).status]).toEqual(['half-open', 503]);
    upstream.sockets.at(-1)?.write(switching('chat'));
    await probe.until(opened);
    expect(state()).toBe('closed');
  });
});

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { proxyPass, type Upstream, UpstreamPool } from 'headrace';
import { probe } from '../../src/transport/probe.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { closeAfter, gateway, OK, rawUpstream } from '../helpers/servers.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** The same numbers in every run, so that a failure can be seen again (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('an upstream that closes idle connections', () => {
  it('under the first request behind a health probe shows in nothing', async () => {
    const carried = new Map<Socket, number>();
    const upstream = await rawUpstream((_request, socket) => {
      const before = carried.get(socket) ?? 0;
      carried.set(socket, before + 1);
      if (before === 0) return OK;
      socket.destroy();
      return undefined;
    });
    const pool = new UpstreamPool([{ url: upstream.url, transport: {} }]);
    closeAfter(() => pool.close());
    await probe(pool.upstreams[0] as Upstream, '/', 1_000, true);
    // undici takes a connection back once it is done with telling of the end.
    await new Promise(setImmediate);
    const { port } = await gateway('express 5', proxyPass(pool));
    expect((await rawRequest(port, GET)).status).toBe(200);
    expect([...carried.values()]).toEqual([2, 1]);
  });

  it('at random shows in none of up to 10,000 GET requests', async () => {
    const chance = random(1);
    const carried = new Map<Socket, number>();
    let races = 0;
    const upstream = await rawUpstream((_request, socket) => {
      const before = carried.get(socket) ?? 0;
      carried.set(socket, before + 1);
      const resets = chance() < 0.5;
      const close = () => {
        // Node loses a socket that is reset while it ends.
        if (socket.writableEnded || !resets) socket.end();
        else socket.resetAndDestroy();
      };
      if (before > 0 && chance() < 0.2) {
        // The request was on its way when the connection closed.
        races++;
        close();
        return undefined;
      }
      if (chance() < 0.2) setTimeout(close, chance() * 5);
      return OK;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url));

    let left = 10_000;
    // A busy machine, or Jest looking for open handles, makes it fewer.
    const until = performance.now() + 4_000;
    const statuses = new Map<string, number>();
    const client = async (): Promise<void> => {
      const socket = connect({ port, host: '127.0.0.1' });
      closeAfter(() => socket.destroy());
      while (left-- > 0 && performance.now() < until) {
        socket.write(GET);
        const [answer] = await once(socket, 'data');
        const status = String(answer).slice(9, 12);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 64 }, client));
    expect([...statuses.keys()]).toEqual(['200']);
    expect(races).toBeGreaterThan(10);
  });

  it.each([
    ['GET', '', true],
    ['HEAD', '', true],
    ['OPTIONS', '', true],
    ['PUT', '', true],
    ['DELETE', '', true],
    ['PUT', 'body', false],
    ['POST', '', false],
    ['POST', 'body', false],
    ['PATCH', 'body', false],
  ])('as %s "%s" comes: it is sent again, %s', async (method, body, again) => {
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('GET /first') || socket !== upstream.sockets[0]) {
        return request.startsWith('HEAD') ? OK.slice(0, -2) : OK;
      }
      socket.resetAndDestroy();
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    await rawRequest(port, GET.replace('/', '/first'));
    const length = method === 'POST' || body !== '' ? `Content-Length: ${body.length}\r\n` : '';
    const res = await rawRequest(
      port,
      `${method} /second HTTP/1.1\r\nHost: gateway\r\n${length}\r\n${body}`,
    );
    expect(res.status).toBe(again ? 200 : 502);
    expect(upstream.received().match(/ \/second /g)).toHaveLength(again ? 2 : 1);
  });

  it.each([
    ['one byte', 'H'],
    ['half a head', 'HTTP/1.1 200 OK\r\nX-'],
    ['100 Continue', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ])('and ends behind %s of its answer is not one that nothing came from', async (_what, bytes) => {
    const upstream = await rawUpstream((request, socket) => {
      if (!request.startsWith('DELETE')) return OK;
      // A gateway that reads both at once would know of the bytes only by the end.
      socket.write(bytes, () => setTimeout(() => socket.end(), 20));
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url, { connections: 1 }));
    await rawRequest(port, GET);
    const res = await rawRequest(port, 'DELETE /a HTTP/1.1\r\nHost: gateway\r\n\r\n');
    expect(res.status).toBe(502);
    expect(upstream.received().match(/^DELETE/gm)).toHaveLength(1);
  });

  it.each([
    ['reset', (socket: Socket) => socket.resetAndDestroy()],
    ['ended', (socket: Socket) => socket.end()],
    ['spoiled', (socket: Socket) => socket.write('evil')],
  ])(
    'and is %s while a POST waits for it: that is sent over another, once',
    async (_how, spoil) => {
      const upstream = await rawUpstream();
      const { port } = await gateway(
        'express 5',
        (req, _res, next) => {
          if (req.method !== 'POST') return next();
          spoil(upstream.sockets[0] as Socket);
          // From here, undici looks at the connection once more before it writes.
          return setImmediate(next);
        },
        proxyPass(upstream.url, { connections: 1 }),
      );
      await rawRequest(port, GET);
      const res = await rawRequest(
        port,
        'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody',
      );
      expect(res.status).toBe(200);
      const [first, ...others] = upstream.connections();
      expect(first).not.toContain('POST');
      expect(others.join('')).toMatch(/^POST \/ HTTP\/1\.1\r\n.*\r\n\r\nbody$/s);
    },
  );
});

describe('bytes that nobody asked an upstream for', () => {
  const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';

  it.each([
    ['a response', EVIL],
    ['half a response', EVIL.slice(0, 20)],
    ['a response without its end', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nevil'],
    ['an interim response', 'HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n'],
    ['garbage', 'evil evil evil'],
    ['one byte', 'H'],
  ])('reach nobody while the connection is idle: %s', async (_what, bytes) => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', proxyPass(upstream.url, { connections: 1 }));
    const client = await rawClient(port, GET);
    await client.until((text) => text.endsWith('ok'));
    const [socket] = upstream.sockets as [Socket];
    const closed = once(socket, 'close');
    socket.write(bytes);
    await closed;

    client.write(GET);
    const received = await client.until((text) => text.split('HTTP/1.1 200').length === 3);
    expect(received).toMatch(/ok$/);
    expect((await rawRequest(port, GET)).body).toBe('ok');
    expect(received).not.toContain('evil');
  });

  it.each([
    ['behind a length', 'GET', `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok${EVIL}`],
    [
      'behind the last chunk',
      'GET',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${EVIL}`,
    ],
    [
      'as the body of an answer to HEAD',
      'HEAD',
      `HTTP/1.1 200 OK\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
    ],
    ['as the body of a 204', 'GET', `HTTP/1.1 204 No Content\r\n\r\n${EVIL}`],
    [
      'as the body of a 304',
      'GET',
      `HTTP/1.1 304 Not Modified\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
    ],
  ])('reach nobody %s', async (_where, method, answer) => {
    const upstream = await rawUpstream((request) => (request.includes('/next') ? OK : answer));
    const { port } = await gateway('express 5', proxyPass(upstream.url, { connections: 1 }));
    const client = await rawClient(port, GET.replace('GET', method));
    await client.until((text) => text.includes('\r\n\r\n'));
    client.write(GET.replace('/', '/next'));
    const received = await client.until((text) =>
      /\r\n\r\n(ok)?HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s.test(text),
    );
    expect(received).not.toContain('evil');
    expect((await rawRequest(port, GET.replace('/', '/next'))).body).toBe('ok');
  });

  it.each([
    ['a response', EVIL],
    ['an interim response', 'HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n'],
    ['garbage', 'evil evil evil'],
  ])('reach nobody behind a response, though requests are waiting: %s', async (_what, bytes) => {
    let first = true;
    const upstream = await rawUpstream((_request, socket) => {
      if (!first) return OK;
      first = false;
      answer = () => socket.write(OK + bytes);
      asked();
      return undefined;
    });
    let answer = (): unknown => undefined;
    let asked = (): void => {};
    const waiting = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const { port, server } = await gateway(
      'express 5',
      proxyPass(upstream.url, { connections: 1 }),
    );
    const clients = [await rawClient(port, GET)];
    await waiting;
    // They queue for the one connection.
    for (let i = 0; i < 3; i++) {
      const arrived = once(server, 'request');
      clients.push(await rawClient(port, GET));
      await arrived;
    }
    answer();
    for (const client of clients) {
      const received = await client.until((text) => text.endsWith('ok'));
      expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(received).not.toContain('evil');
    }
  });
});

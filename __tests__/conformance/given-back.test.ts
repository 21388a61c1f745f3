import { randomBytes } from 'node:crypto';
import dns from 'node:dns';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import {
  exchangeOf,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  retry,
  sendResponse,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { http2Upstream } from '../helpers/http2.js';
import { closeAfter, gateway, type Middleware, OK, rawUpstream } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';

describe('streams of HTTP/2', () => {
  it('come free when a body that has come whole is dropped unread', async () => {
    const { port: upstreamPort } = await http2Upstream((stream, { ':path': path }) => {
      if (path === '/small') return void stream.end('ok');
      stream.respond({ ':status': 404 });
      stream.end(Buffer.alloc(150_000));
    });
    const pass = proxyPass(`http://127.0.0.1:${upstreamPort}`, {
      http2: 'prior-knowledge',
      connections: 1,
      queueTimeoutMs: 1_000,
      hold: true,
    });
    const ownPage: Middleware = async (req, res, next) => {
      if (exchangeOf(req, res).response?.status !== 404) return next();
      // By now all of it is there.
      await delay(5);
      res.end('a page of our own');
    };
    const { port } = await gateway('express 5', pass, ownPage, sendResponse(), proxyErrors());
    for (let i = 0; i < 110; i += 10) {
      await Promise.all(Array.from({ length: 10 }, () => rawRequest(port, GET)));
    }
    expect((await rawRequest(port, GET.replace('/', '/small'))).body).toBe('ok');
  });

  it('are to be had after a connection could not even be begun', async () => {
    const { port: upstreamPort } = await http2Upstream((stream) => stream.end('ok'));
    let lookups = 0;
    const lookup: typeof dns.lookup = Object.assign(
      (host: string, options: object, done: never) => {
        if (lookups++ === 0) throw new Error('not ready');
        return dns.lookup(host, { ...options, family: 4 }, done);
      },
    ) as never;
    const pass = proxyPass(`http://localhost:${upstreamPort}`, {
      http2: 'prior-knowledge',
      queueTimeoutMs: 1_000,
      tls: { lookup } as never,
    });
    closeAfter(() => pass.close());
    const { port } = await gateway('express 5', pass, proxyErrors());
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await rawRequest(port, GET)).status);
    expect(statuses).toEqual([502, 200, 200]);
  });
});

describe('the time that a client may stand still', () => {
  it('is over with the body, and cuts nobody else off', async () => {
    const chunk = `1000\r\n${randomBytes(2_048).toString('hex')}\r\n`;
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('GET /many')) {
        socket.write(
          'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n',
        );
        socket.end(`${chunk.repeat(300)}0\r\n\r\n`);
      } else {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n');
        const timer = setInterval(() => socket.write('0'), 150);
        closeAfter(() => clearInterval(timer));
      }
      return undefined;
    });
    const packed = compression({ threshold: 0, filter: (req) => req.url === '/many', level: 0 });
    const pass = proxyPass(upstream.url, { bodyTimeoutMs: 1_000, connections: 1 });
    const { port } = await gateway('express 5', packed, pass);
    const many = GET.replace('/', '/many').replace('gateway', 'gateway\r\nAccept-Encoding: gzip');
    expect((await rawRequest(port, many)).status).toBe(200);
    expect((await rawRequest(port, GET)).body).toBe('0000000000');
  });
});

describe('a connection whose uploads are refused', () => {
  it('is left as it was when they end before their answers', async () => {
    const refusing: Middleware = async (_error, _req, res, _next) => {
      await delay(40);
      res.writeHead(502, { 'content-length': 2 }).end('no');
    };
    const fourParameters: Middleware = (error, req, res, next) => refusing(error, req, res, next);
    const { server, port } = await gateway(
      'express 5',
      proxyPass('http://127.0.0.1:1'),
      fourParameters,
    );
    let socket: Socket | undefined;
    server.on('connection', (opened: Socket) => {
      socket = opened;
    });
    const client = await rawClient(port);
    const half = 'x'.repeat(10_000);
    for (let i = 1; i <= 8; i++) {
      client.write(`POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 20000\r\n\r\n${half}`);
      await delay(15);
      client.write(half);
      await client.until((text) => text.split('HTTP/1.1 502').length === i + 1);
    }
    await settled(() => socket?.listenerCount('close') ?? 0, 30);
    expect(Object.hasOwn(socket as Socket, 'destroySoon')).toBe(false);
    expect(socket?.listenerCount('close')).toBeLessThan(4);
  });
});

describe('what a balancer has chosen', () => {
  it('is not in flight there when the request is sent to somebody else', async () => {
    let answer = (): unknown => undefined;
    const upstream = await rawUpstream((_request, socket) => {
      answer = () => socket.write(OK);
      return undefined;
    });
    const balancer = loadBalancer({ upstreams: ['http://127.0.0.1:1'] });
    const { port } = await gateway('express 5', balancer, proxyPass(upstream.url));
    const asked = rawRequest(port, GET);
    await eventually('the request', () => upstream.received() !== '');
    expect(balancer.upstreams.stats()[0]?.inFlight).toBe(0);
    answer();
    expect((await asked).body).toBe('ok');
  });
});

describe('an upload that one pipeline has read', () => {
  it('is there for the next one, where both have retry()', async () => {
    const [first, second] = [
      await rawUpstream('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'),
      await rawUpstream(),
    ];
    const { port } = await gateway(
      'express 5',
      retry({ bufferBodyBytes: 2 }),
      proxyPass(first.url, { hold: true }),
      retry(),
      proxyPass(second.url),
    );
    const small =
      'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab';
    expect((await rawRequest(port, small)).body).toBe('ok');
    expect(second.received()).toMatch(/\r\n\r\nab$/);
  });
});

describe('pieces of a body that an edit pipes, behind compression()', () => {
  it('reach the client as they come', async () => {
    let more = (): unknown => undefined;
    const upstream = await rawUpstream((_request, socket) => {
      socket.write(
        'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      more = () => socket.write('5\r\nfirst\r\n');
      return undefined;
    });
    const { port } = await gateway(
      'express 5',
      compression({ threshold: 0, filter: () => true, level: 0 }),
      modifyResponse((response) => response.pipeThrough(new PassThrough())),
      proxyPass(upstream.url),
    );
    const client = await rawClient(
      port,
      GET.replace('gateway', 'gateway\r\nAccept-Encoding: gzip'),
    );
    await client.until((text) => text.includes('\r\n\r\n'));
    more();
    // At this level gzip leaves text as it is.
    await client.until((text) => text.includes('first'));
  });
});

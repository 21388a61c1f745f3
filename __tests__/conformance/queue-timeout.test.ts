import { constants, type ServerHttp2Stream } from 'node:http2';
import { describe, expect, it } from '@jest/globals';
import {
  exchangeOf,
  loadBalancer,
  type ProxyPassOptions,
  proxyPass,
  retry,
  Upstream,
  UpstreamPool,
} from 'headrace';
import { Pool } from 'undici';
import type { ConnectionOptions } from '../../src/connection-settings.js';
import { connectionsTo } from '../../src/transport/connections.js';
import { type RawClient, rawClient, rawRequest } from '../helpers/client.js';
import { http2Upstream } from '../helpers/http2.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, gateway, type Middleware, OK, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
const UPLOADS = [
  'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\n\r\nabc',
  'POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
];
const WAIT_MS = 60;

/** An upstream whose answers, but for `/next`, wait until they are let go. */
interface Held {
  readonly url: string;
  /** How many requests have come. */
  readonly requests: () => number;
  letGo(): void;
}

async function heldHttp1(): Promise<Held> {
  const answers: (() => unknown)[] = [];
  const upstream = await rawUpstream((request, socket) => {
    if (request.startsWith('GET /next')) return OK;
    answers.push(() => socket.write(OK));
    return undefined;
  });
  return {
    url: upstream.url,
    requests: () => upstream.received().match(/^(?:GET|POST) /gm)?.length ?? 0,
    letGo: () => {
      for (const answer of answers.splice(0)) answer();
    },
  };
}

async function heldHttp2(): Promise<Held> {
  const held: ServerHttp2Stream[] = [];
  const { port, streams } = await http2Upstream(
    (stream, { ':path': path }) => {
      if (path === '/next') stream.end('ok');
      else held.push(stream);
    },
    { settings: { maxConcurrentStreams: 1 } },
  );
  return {
    url: `http://127.0.0.1:${port}`,
    requests: () => streams.length,
    letGo: () => {
      for (const stream of held.splice(0)) stream.end('ok');
    },
  };
}

type Way = readonly [
  what: string,
  held: () => Promise<Held>,
  options: (url: string) => ProxyPassOptions,
];

const ways: readonly Way[] = [
  ['connections of HTTP/1.1', heldHttp1, () => ({ connections: 1 })],
  ['streams of HTTP/2', heldHttp2, () => ({ connections: 1, http2: 'prior-knowledge' })],
  [
    "connections of the user's own dispatcher",
    heldHttp1,
    (url) => {
      const dispatcher = new Pool(url, { connections: 1 });
      closeAfter(() => dispatcher.destroy());
      return { dispatcher };
    },
  ],
];

describe.each(ways)('a request, when all %s are in use', (_what, held, optionsFor) => {
  it('gets 503 when none comes free in time, and the one before it its answer', async () => {
    const upstream = await held();
    const { errors, record } = recordErrors();
    const options = { ...optionsFor(upstream.url), queueTimeoutMs: WAIT_MS };
    const { port } = await gateway('express 5', proxyPass(upstream.url, options), record);
    const first = await rawClient(port, GET);
    await eventually('the first request', () => upstream.requests() === 1);

    for (const request of [GET, ...UPLOADS]) {
      const begin = performance.now();
      const { status, headers } = await rawRequest(
        port,
        request.replace('Host: gateway', 'Host: gateway\r\nConnection: close'),
      );
      expect(performance.now() - begin).toBeGreaterThanOrEqual(WAIT_MS);
      expect(status).toBe(503);
      expect(headers).toContainEqual(['Retry-After', '1']);
    }
    expect(errors.map(({ code }) => code)).toEqual(Array(3).fill('ERR_PROXY_OVERLOADED'));

    upstream.letGo();
    await first.until((text) => text.includes('ok'));
    expect((await rawRequest(port, NEXT)).body).toBe('ok');
    expect(upstream.requests()).toBe(2);
  });

  it('has all the time of an answer once it has been sent', async () => {
    const upstream = await held();
    const options = { ...optionsFor(upstream.url), queueTimeoutMs: WAIT_MS };
    const { port } = await gateway('express 5', proxyPass(upstream.url, options));
    const clients: RawClient[] = [];
    for (let i = 1; i <= 2; i++) {
      clients.push(await rawClient(port, GET));
      if (i === 1) await eventually('the first request', () => upstream.requests() === 1);
    }
    // The second one has waited, but not for too long.
    upstream.letGo();
    await eventually('the second request', () => upstream.requests() === 2);
    await new Promise((resolve) => setTimeout(resolve, 3 * WAIT_MS));
    upstream.letGo();
    for (const client of clients) await client.until((text) => text.includes('ok'));
  });
});

describe('a request that no connection came free for', () => {
  it('goes to another upstream with retry(), an upload as well, and is held against nobody', async () => {
    const [busy, free] = [await heldHttp1(), await rawUpstream()];
    const transport = { connections: 1, queueTimeoutMs: WAIT_MS };
    const pool = new UpstreamPool(
      [
        { url: busy.url, transport },
        { url: free.url, priority: 1 },
      ],
      {
        health: { passive: { maxFailures: 1 } },
      },
    );
    closeAfter(() => pool.close());
    const { port } = await gateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      retry(),
      proxyPass(),
    );
    await rawClient(port, GET);
    await eventually('the first request', () => busy.requests() === 1);
    for (const request of UPLOADS) {
      const client = await rawClient(port, request);
      await client.until((text) => text.includes('ok'));
    }
    expect(busy.requests()).toBe(1);
    expect(free.received().match(/abc/g)).toHaveLength(2);
    expect(pool.upstreams[0]?.usable).toBe(true);
    expect(pool.upstreams[0]?.failures.get('ERR_PROXY_OVERLOADED')).toBe(2);
  });

  it('leaves the line of HTTP/2', async () => {
    const upstream = await heldHttp2();
    const { port, waiting } = await inLine(upstream.url, { queueTimeoutMs: WAIT_MS });
    await rawClient(port, GET);
    await eventually('the first request', () => upstream.requests() === 1);
    const client = await rawClient(port, GET);
    await eventually('one that waits', () => waiting() === 1);
    await client.until((text) => text.startsWith('HTTP/1.1 503'));
    expect(waiting()).toBe(0);
  });

  it('since a session has given it back fails as one without an answer', async () => {
    const refused: ServerHttp2Stream[] = [];
    const upstream = await http2Upstream(
      (stream, { ':path': path }) => {
        if (path === '/refused') refused.push(stream);
        else stream.respond({ ':status': 200 });
      },
      { settings: { maxConcurrentStreams: 2 } },
    );
    const url = `http://127.0.0.1:${upstream.port}`;
    const { port, waiting } = await inLine(url, {}, { headersTimeoutMs: 300 });
    await rawClient(port, GET);
    await eventually('the first request', () => upstream.streams.length === 1);
    const client = await rawClient(port, GET.replace('/', '/refused'));
    await eventually('the second request', () => refused.length === 1);
    await rawClient(port, GET);
    await eventually('one that waits', () => waiting() === 1);
    // Who has waited takes its place.
    refused[0]?.close(constants.NGHTTP2_REFUSED_STREAM);
    await client.until((text) => text.startsWith('HTTP/1.1 504'));
    expect(refused).toHaveLength(1);
    expect(waiting()).toBe(0);
  });
});

/** A gateway with one connection of HTTP/2, and how many requests wait for it. */
async function inLine(url: string, transport: ConnectionOptions, options: ProxyPassOptions = {}) {
  const http2 = { connections: 1, http2: 'prior-knowledge' } as const;
  const upstream = new Upstream({ url, transport: { ...http2, ...transport } });
  closeAfter(() => upstream.close());
  const { port } = await gateway('express 5', toUpstream(upstream), proxyPass(options));
  const { settings } = upstream;
  if (settings === undefined) throw new Error('it has settings of its own');
  return { port, waiting: () => connectionsTo(upstream, settings).counts?.().waiting };
}

function toUpstream(upstream: Upstream): Middleware {
  return (req, res, next) => {
    exchangeOf(req, res).upstream = upstream;
    next();
  };
}

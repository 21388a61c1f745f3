import { once } from 'node:events';
import type { RequestListener, Server } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import {
  attach,
  concurrencyLimit,
  type Exchange,
  exchangeOf,
  loadBalancer,
  modifyResponse,
  type ProxyPassOptions,
  proxyPass,
  sendResponse,
  UpstreamPool,
} from 'headrace';
import { blackHole } from '../helpers/black-hole.js';
import { type RawClient, rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import {
  closeAfter,
  type Framework,
  frameworks,
  gateway,
  listen,
  type Middleware,
  OK,
  type RawUpstream,
  rawUpstream,
} from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\nAccept-Encoding: gzip\r\n\r\n';
const UPLOAD = 'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000000\r\n\r\nbegin';
const CHUNKED_UPLOAD =
  'POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: gateway\r\n\r\n';
const OK_HEAD = 'HTTP/1.1 200 OK\r\n';

/** The exchanges of a gateway as they begin, and what went to its error middleware. */
interface Watched {
  readonly server: Server;
  readonly port: number;
  readonly exchanges: Exchange[];
  readonly errors: unknown[];
}

async function watched(framework: Framework, ...middleware: Middleware[]): Promise<Watched> {
  const exchanges: Exchange[] = [];
  const { errors, record } = recordErrors();
  const { server, port } = await gateway(
    framework,
    (req, res, next) => {
      exchanges.push(exchangeOf(req, res));
      next();
    },
    ...middleware,
    record,
  );
  return { server, port, exchanges, errors };
}

/** An upstream that answers at the first bytes of a request. */
interface HastyUpstream {
  readonly url: string;
  /** The sockets, oldest first. */
  readonly sockets: Socket[];
  /** Resolves when it has got a request that it does not finish. */
  readonly asked: Promise<void>;
}

/** Answers `/next` in full, and says these bytes to everything else. */
async function upstreamThatSays(bytes: string): Promise<HastyUpstream> {
  const sockets: Socket[] = [];
  let tell = (): void => {};
  const asked = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const isNext = String(chunk).startsWith('GET /next');
      socket.write(isNext ? OK : bytes);
      if (!isNext) tell();
    });
  });
  const port = await listen(server);
  closeAfter(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { url: `http://127.0.0.1:${port}`, sockets, asked };
}

/** The client has gone: nothing went wrong, and nothing is left of the call. */
async function expectLeft(
  { exchanges, errors }: Watched,
  upstream: Pick<HastyUpstream, 'sockets'>,
): Promise<void> {
  const [exchange] = exchanges;
  await eventually('the outcome', () => exchange?.outcome !== undefined);
  expect(exchange?.outcome).toMatchObject({
    type: 'client-closed',
    error: { code: 'ERR_PROXY_CLIENT_CLOSED', status: 499 },
  });
  await eventually('the end of the call', () => upstream.sockets[0]?.destroyed === true, 500);
  const blamed = exchange?.attempts.map(({ error }) => error?.code ?? 'ERR_PROXY_CLIENT_CLOSED');
  expect(new Set(blamed)).toEqual(new Set(['ERR_PROXY_CLIENT_CLOSED']));
  expect(errors).toEqual([]);
}

const ways: [how: string, leave: (socket: Socket) => unknown][] = [
  ['closes', (socket) => socket.destroy()],
  ['ends', (socket) => socket.end()],
  ['resets', (socket) => socket.resetAndDestroy()],
];

type Stage = readonly [when: string, request: string, says: string, seen: RegExp];

const NOTHING_YET = /^$/;

const stages: readonly Stage[] = [
  ['while waiting', GET, '', NOTHING_YET],
  ['while waiting, after a hint', GET, 'HTTP/1.1 103 Early Hints\r\n\r\n', /103 Early Hints/],
  ['while the head is coming', GET, `${OK_HEAD}X-Half: `, NOTHING_YET],
  ['while uploading', UPLOAD, '', NOTHING_YET],
  ['while uploading in chunks', CHUNKED_UPLOAD, '', NOTHING_YET],
  ['while uploading, its answer begun', UPLOAD, `${OK_HEAD}Content-Length: 9\r\n\r\nhalf`, /half$/],
  ['while downloading', GET, `${OK_HEAD}Content-Length: 9\r\n\r\nhalf`, /half$/],
  [
    'while downloading chunks',
    GET,
    `${OK_HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`,
    /half/,
  ],
  ['while downloading to the end of the connection', GET, `${OK_HEAD}\r\nhalf`, /half/],
];

describe.each(frameworks)('a client of %s that leaves', (framework) => {
  it.each(stages)(
    '%s ends the call: client-closed, and nobody is blamed',
    async (_when, request, says, seen) => {
      for (const [, leave] of ways) {
        const upstream = await upstreamThatSays(says);
        const gone = await watched(framework, proxyPass(upstream.url));
        const client = await rawClient(gone.port, request);
        await upstream.asked;
        await client.until((text) => seen.test(text));
        leave(client.socket);
        await expectLeft(gone, upstream);
        expect((await rawRequest(gone.port, NEXT)).body).toBe('ok');
      }
    },
  );
});

describe('a client that leaves', () => {
  /** What stands before and behind `proxyPass()` while the body is on its way. */
  const pipelines: [what: string, make: (url: string) => Middleware[]][] = [
    ['compression()', (url) => [compression({ threshold: 0 }), proxyPass(url)]],
    [
      'an edit that reads the body',
      (url) => [modifyResponse(async (response) => void (await response.text())), proxyPass(url)],
    ],
    [
      'an edit that pipes it',
      (url) => [
        modifyResponse((response) => response.pipeThrough(new PassThrough())),
        proxyPass(url),
      ],
    ],
    [
      'an edit that never ends',
      (url) => [modifyResponse(() => new Promise(() => {})), proxyPass(url)],
    ],
    ['a response that is held', (url) => [proxyPass(url, { hold: true }), () => {}]],
    [
      'a held response that is sent',
      (url) => [proxyPass(url, { hold: true }), sendResponse() as Middleware],
    ],
    [
      'a wrapper round the call',
      (url) => [
        (req, res, next) => {
          exchangeOf(req, res).around((_exchange, send) => send());
          next();
        },
        proxyPass(url),
      ],
    ],
  ];

  it.each(pipelines)('ends the call through %s', async (_what, make) => {
    const upstream = await upstreamThatSays(
      `${OK_HEAD}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`,
    );
    const gone = await watched('express 5', ...make(upstream.url));
    const client = await rawClient(gone.port, GET);
    await upstream.asked;
    await eventually('the head', () => gone.exchanges[0]?.attempts[0]?.status === 200);
    client.socket.destroy();
    await expectLeft(gone, upstream);
  });

  it('and did not read ends a call that was held back for it', async () => {
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('GET /next')) return OK;
      const pour = (): void => void (socket.writable && socket.write(Buffer.alloc(65_536), pour));
      socket.write(`${OK_HEAD}\r\n`, pour);
      return undefined;
    });
    const gone = await watched('express 5', proxyPass(upstream.url));
    const client = await rawClient(gone.port);
    client.socket.pause();
    client.write(GET);
    await eventually('the head', () => gone.exchanges[0]?.attempts[0]?.status === 200);
    await settled(() => gone.exchanges[0]?.bytesReceived ?? 0);
    client.socket.destroy();
    await expectLeft(gone, upstream);
  });

  it('while it waits for a connection leaves that to others', async () => {
    let answer = (): unknown => undefined;
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('GET /next')) return OK;
      answer = () => socket.write(OK);
      return undefined;
    });
    const gone = await watched('express 5', proxyPass(upstream.url, { connections: 1 }));
    const first = await rawClient(gone.port, GET);
    await eventually('the first call', () => upstream.received() !== '');
    const waiting: RawClient[] = [];
    for (const request of [GET, UPLOAD, GET]) waiting.push(await rawClient(gone.port, request));
    await eventually('the others', () => gone.exchanges.length === 4);
    for (const { socket } of waiting) socket.destroy();
    await eventually('their outcomes', () =>
      gone.exchanges.slice(1).every(({ outcome }) => outcome?.type === 'client-closed'),
    );
    answer();
    await first.until((text) => text.endsWith('ok'));
    expect((await rawRequest(gone.port, NEXT)).body).toBe('ok');
    expect(upstream.sockets).toHaveLength(1);
    expect(upstream.received().match(/^(GET|POST) /gm)).toHaveLength(2);
    expect(gone.errors).toEqual([]);
  });

  it('while the connection is made is no failure to connect', async () => {
    const { url } = await blackHole();
    const gone = await watched('express 5', proxyPass(url, { connectTimeoutMs: 60 }));
    const client = await rawClient(gone.port, GET);
    await eventually('the request', () => gone.exchanges[0]?.attempts.length === 1);
    client.socket.destroy();
    const [exchange] = gone.exchanges;
    await eventually('the outcome', () => exchange?.outcome !== undefined);
    expect(exchange?.outcome?.type).toBe('client-closed');
    expect(exchange?.attempts[0]?.error?.code).toBe('ERR_PROXY_CLIENT_CLOSED');
    expect(gone.errors).toEqual([]);
  });

  it('before the request is sent has none sent', async () => {
    const upstream = await rawUpstream();
    let goOn = (): void => {};
    const gone = await watched(
      'express 5',
      (_req, _res, next) => {
        goOn = next;
      },
      proxyPass(upstream.url),
    );
    const client = await rawClient(gone.port, GET);
    await eventually('the request', () => gone.exchanges.length === 1);
    const [exchange] = gone.exchanges as [Exchange];
    const closed = once(exchange.res, 'close');
    client.socket.destroy();
    await closed;
    goOn();
    await eventually('the outcome', () => exchange.outcome !== undefined);
    expect(exchange.outcome?.type).toBe('client-closed');
    expect(await settled(() => upstream.sockets.length, 50)).toBe(0);
    expect(gone.errors).toEqual([]);
  });

  it('behind its whole answer is nothing: completed', async () => {
    const upstream = await rawUpstream();
    const gone = await watched('express 5', proxyPass(upstream.url));
    const client = await rawClient(gone.port, GET);
    await client.until((text) => text.endsWith('ok'));
    client.socket.destroy();
    await eventually('the outcome', () => gone.exchanges[0]?.outcome !== undefined);
    expect(gone.exchanges[0]?.outcome?.type).toBe('completed');
  });

  it('costs the upstream no further connection', async () => {
    const options: ProxyPassOptions = { connections: 4 };
    const upstream = await upstreamThatSays('');
    const gone = await watched('express 5', proxyPass(upstream.url, options));
    for (let i = 0; i < 3; i++) {
      const client = await rawClient(gone.port, GET);
      await eventually('the call', () => (upstream.sockets[i]?.bytesRead ?? 0) > 0);
      client.socket.destroy();
      await eventually('its end', () => upstream.sockets[i]?.destroyed === true);
      expect(await settled(() => upstream.sockets.length, 50)).toBe(i + 1);
    }
  });

  it('leaves no socket, timer or listener behind, however many do', async () => {
    const upstream = await upstreamThatSays('');
    const half = await upstreamThatSays(`${OK_HEAD}Content-Length: 9\r\n\r\nhalf`);
    const options: ProxyPassOptions = { headersTimeoutMs: 60_000 };
    const waiting = await watched('express 5', proxyPass(upstream.url, options));
    const downloading = await watched('express 5', proxyPass(half.url, options));

    const wave = async (): Promise<void> => {
      const clients = await Promise.all(
        Array.from({ length: 60 }, (_, i) =>
          rawClient((i % 2 === 0 ? waiting : downloading).port, i % 3 === 0 ? UPLOAD : GET),
        ),
      );
      const all = () => [...waiting.exchanges, ...downloading.exchanges];
      await eventually('the calls', () => all().every(({ attempts }) => attempts.length === 1));
      for (const [i, { socket }] of clients.entries()) ways[i % ways.length]?.[1](socket);
      await eventually('the outcomes', () => all().every(({ outcome }) => outcome !== undefined));
      await eventually('the ends of the calls', () =>
        [...upstream.sockets, ...half.sockets].every(({ closed }) => closed),
      );
      waiting.exchanges.length = 0;
      downloading.exchanges.length = 0;
    };
    const resources = () =>
      settled(
        () => process.getActiveResourcesInfo().filter((name) => /TCP|Timeout/.test(name)).length,
      );

    await wave();
    const before = await resources();
    await wave();
    await wave();
    expect(await resources()).toBeLessThanOrEqual(before);
    expect([...waiting.errors, ...downloading.errors]).toEqual([]);
  });
});

describe.each(frameworks)(
  'a client of %s that sends several requests at once and leaves',
  (framework) => {
    const SLOW = 'GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n';

    /** Of five pipelined requests the first reaches the upstream, then their client is gone. */
    async function leaveFive(gone: Watched, upstream: RawUpstream): Promise<void> {
      const client = await rawClient(gone.port, SLOW.repeat(5));
      await eventually('the first call', () => upstream.received() !== '');
      await eventually('the others', () => gone.exchanges.length === 5);
      client.socket.destroy();
    }

    const slow = (): Promise<RawUpstream> =>
      rawUpstream((bytes) => (bytes.startsWith('GET /slow') ? undefined : OK));

    it.each([
      ['by itself', false],
      ['behind attach()', true],
    ])('ends all of them and gives back what they held, %s', async (_, isAttached) => {
      const upstream = await slow();
      const pool = new UpstreamPool([upstream.url]);
      const limit = concurrencyLimit({ limit: 5 });
      const middleware = [loadBalancer({ upstreams: pool }), limit, proxyPass()];
      const gone = await watched(framework, ...middleware);
      if (isAttached) {
        const [app] = gone.server.listeners('request');
        attach(gone.server, app as RequestListener);
      }
      await leaveFive(gone, upstream);

      await eventually('the outcomes', () => gone.exchanges.every(({ outcome }) => outcome));
      expect(gone.exchanges.map(({ outcome }) => String(outcome))).toEqual(
        Array(5).fill('client-closed'),
      );
      await eventually('the ends of the calls', () =>
        upstream.sockets.every(({ destroyed }) => destroyed),
      );
      expect(pool.upstreams[0]?.inFlight).toBe(0);
      expect(gone.errors).toEqual([]);
      expect((await rawRequest(gone.port, NEXT)).body).toBe('ok');
    });
  },
);

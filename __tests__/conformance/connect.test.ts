import { once } from 'node:events';
import { createServer, ServerResponse } from 'node:http';
import { createServer as createNetServer, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  attach,
  concurrencyLimit,
  type Exchange,
  exchangeOf,
  type ForwardProxyOptions,
  fallback,
  forwardProxy,
  modifyResponse,
  type ProxyError,
  type TargetLookup,
  UpstreamResponse,
} from 'headrace';
import { blackHole } from '../helpers/black-hole.js';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { names } from '../helpers/names.js';
import { recordErrors } from '../helpers/record-errors.js';
import {
  appOf,
  closeAfter,
  type Framework,
  frameworks,
  listen,
  type Middleware,
} from '../helpers/servers.js';

interface Ground {
  readonly port: number;
  readonly errors: readonly ProxyError[];
  /** The exchanges of all requests, as they came. */
  readonly exchanges: readonly Exchange[];
}

/** A forward proxy that may go to loopback, listening until the test is over. */
async function proxying(
  options: ForwardProxyOptions = {},
  framework: Framework = 'express 5',
  ...before: Middleware[]
): Promise<Ground> {
  const proxy = forwardProxy({ allow: '127.0.0.0/8', ...options });
  closeAfter(() => proxy.close());
  const exchanges: Exchange[] = [];
  const note: Middleware = (req, res, next) => {
    exchanges.push(exchangeOf(req, res));
    next();
  };
  const { errors, record } = recordErrors();
  const app = appOf(framework, note, ...before, proxy, record);
  const server = createServer(app);
  const port = await listen(server);
  const attached = attach(server, app);
  closeAfter(() => attached.close());
  return { port, errors, exchanges };
}

/** A server that is no HTTP server; `greet` is given each of its sockets. */
async function target(
  greet: (socket: Socket) => void,
): Promise<{ port: number; taken: () => number }> {
  let taken = 0;
  const server = createNetServer({ allowHalfOpen: true }, (socket) => {
    taken += 1;
    socket.on('error', () => {});
    closeAfter(() => socket.destroy());
    greet(socket);
  });
  return { port: await listen(server), taken: () => taken };
}

/** Sends back what comes, and ends when the other side does. */
const echo = (socket: Socket): void => void socket.pipe(socket);

const connectTo = (authority: string, ...lines: string[]) =>
  [`CONNECT ${authority} HTTP/1.1`, 'Host: proxy', ...lines, '', ''].join('\r\n');

/** What stands behind the head of the answer. */
const behindHead = (text: string) => text.slice(text.indexOf('\r\n\r\n') + 4);

describe('CONNECT', () => {
  it.each(frameworks)('opens a tunnel to the server it names, under %s', async (framework) => {
    const server = await target(echo);
    const { port } = await proxying({}, framework);
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    const head = await client.until((text) => text.endsWith('\r\n\r\n'));
    expect(head).toMatch(/^HTTP\/1\.1 200 Connection Established\r\n/i);
    expect(head).not.toMatch(/content-length|transfer-encoding/i);
    client.write('hello');
    await client.until((text) => text.endsWith('\r\n\r\nhello'));
    client.socket.end();
    await client.closed();
  });

  it('takes along what the client sends right behind it', async () => {
    const server = await target(echo);
    const { port } = await proxying();
    const client = await rawClient(port, `${connectTo(`127.0.0.1:${server.port}`)}early bytes`);
    await client.until((text) => text.endsWith('\r\n\r\nearly bytes'));
  });

  it('passes on what the server says first', async () => {
    const server = await target((socket) => void socket.write('220 ready'));
    const { port } = await proxying();
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    await client.until((text) => text.endsWith('\r\n\r\n220 ready'));
  });

  it('tries the next address where nothing listens on the first', async () => {
    const server = await target(echo);
    const { lookup } = names({ 'several.example': ['127.0.0.3', '127.0.0.1'] });
    const { port } = await proxying({ lookup });
    const client = await rawClient(port, `${connectTo(`several.example:${server.port}`)}hello`);
    await client.until((text) => text.endsWith('hello'));
  });

  it('ends the one side when the other has ended, and not before', async () => {
    const server = await target((socket) => {
      let asked = '';
      socket.on('data', (chunk) => {
        asked += chunk;
      });
      socket.on('end', () => socket.end(`you said ${asked}`));
    });
    const { port } = await proxying();
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    await client.until((text) => text.endsWith('\r\n\r\n'));
    client.socket.end('all');
    expect(behindHead(await client.closed())).toBe('you said all');
  });

  it('is in the outcome, with its bytes', async () => {
    const server = await target(echo);
    const { port, exchanges } = await proxying();
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    await client.until((text) => text.endsWith('\r\n\r\n'));
    const ended = new Promise<Exchange>((resolve) => exchanges[0]?.onOutcome(resolve));
    client.socket.end('hello');
    await client.closed();
    const { outcome, attempts, upstream } = await ended;
    expect(outcome).toMatchObject({ type: 'upgraded', bytesSent: 5, bytesReceived: 5 });
    expect(attempts).toMatchObject([{ upstream, status: 200, error: undefined }]);
    expect(upstream?.url).toBe(`https://127.0.0.1:${server.port}`);
    expect(upstream?.inFlight).toBe(0);
  });

  it('counts where tunnels are limited', async () => {
    const server = await target(echo);
    const limit = concurrencyLimit({ limit: 1 });
    const { port } = await proxying({}, 'express 5', limit);
    const bytes = connectTo(`127.0.0.1:${server.port}`);
    const first = await rawClient(port, bytes);
    await first.until((text) => text.endsWith('\r\n\r\n'));
    expect((await rawRequest(port, bytes)).status).toBe(503);
    first.socket.end();
    await first.closed();
    const later = await rawClient(port, bytes);
    await later.until((text) => text.startsWith('HTTP/1.1 200 '));
  });

  it('ends a tunnel that stands still for tunnelIdleMs', async () => {
    const server = await target(echo);
    const { port } = await proxying({ tunnelIdleMs: 100 });
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    await client.until((text) => text.endsWith('\r\n\r\n'));
    client.write('hello');
    expect(behindHead(await client.closed())).toBe('hello');
  });

  it('waits for the middleware before it: 407, and credentials that go no further', async () => {
    const server = await target(echo);
    const known: Middleware = (req, res, next) => {
      if (req.headers['proxy-authorization'] !== undefined) return next();
      res.statusCode = 407;
      res.setHeader('Proxy-Authenticate', 'Basic realm="proxy"');
      res.end();
    };
    const { port } = await proxying({}, 'express 5', known);
    const refused = await rawRequest(port, connectTo(`127.0.0.1:${server.port}`));
    expect(refused.status).toBe(407);
    expect(refused.header('proxy-authenticate')).toBe('Basic realm="proxy"');
    expect(server.taken()).toBe(0);
    const client = await rawClient(
      port,
      connectTo(`127.0.0.1:${server.port}`, 'Proxy-Authorization: Basic YTpi'),
    );
    client.write('hello');
    expect(behindHead(await client.until((text) => text.endsWith('hello')))).toBe('hello');
  });
});

describe('an edit of the response to CONNECT', () => {
  it('sets fields, and cannot give the tunnel a body', async () => {
    const server = await target(echo);
    const edit = modifyResponse(async (response) => {
      response.headers.set('X-Proxy', 'magical');
      response.body = `${await response.text()}<script>`;
    });
    const { port } = await proxying({}, 'express 5', edit);
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
    client.write('hello');
    const text = await client.until((all) => all.endsWith('hello'));
    expect(text).toMatch(/\r\nX-Proxy: magical\r\n/);
    expect(behindHead(text)).toBe('hello');
  });

  it('makes a refusal of it, body and all', async () => {
    const ended: Promise<unknown>[] = [];
    const server = await target((socket) => void ended.push(once(socket.resume(), 'end')));
    const edit = modifyResponse((response) => {
      response.status = 403;
      response.body = 'not today';
    });
    const { port } = await proxying({}, 'express 5', edit);
    const response = await rawRequest(port, connectTo(`127.0.0.1:${server.port}`));
    expect([response.status, response.body]).toEqual([403, 'not today']);
    await Promise.all(ended);
  });
});

it('an answer that was made up in place of a connection is no open tunnel', async () => {
  const { port } = await proxying(
    {},
    'express 5',
    fallback(() => new UpstreamResponse({ status: 200, body: 'yesterday' })),
  );
  for (const authority of ['192.0.2.1:443', '127.0.0.1:1', '127.0.0.1:0']) {
    expect((await rawRequest(port, connectTo(authority))).status).toBe(502);
  }
  const refusing = fallback(() => new UpstreamResponse({ status: 404, body: 'not here' }));
  const other = await proxying({}, 'express 5', refusing);
  const response = await rawRequest(other.port, connectTo('192.0.2.1:443'));
  expect([response.status, response.body]).toEqual([404, 'not here']);
});

it('CONNECT that did not come through attach() is 500, and the message says what to do', async () => {
  const proxy = forwardProxy();
  closeAfter(() => proxy.close());
  const { errors, record } = recordErrors();
  const server = createServer();
  const app = appOf('node:http', proxy, record);
  server.on('connect', (req, socket) => {
    const res = new ServerResponse(req);
    res.assignSocket(socket as Socket);
    res.on('finish', () => socket.end());
    app(req, res);
  });
  const port = await listen(server);
  expect((await rawRequest(port, connectTo('127.0.0.1:443'))).status).toBe(500);
  expect(errors.map(({ message }) => message)).toEqual([
    'forwardProxy: CONNECT comes through attach(server, app) alone',
  ]);
});

describe('CONNECT is refused', () => {
  it.each([
    ...['/', '*', 'a', 'a:', ':443', '/path', '/a:443'],
    ...['127.0.0.1:0', '127.0.0.1:65536', '127.0.0.1:99999999', '127.0.0.1:-1', '127.0.0.1:0x50'],
    ...['127.0.0.1:443/', '127.0.0.1:443/path', '127.0.0.1:443?x', '127.0.0.1:443#x'],
    ...['user@127.0.0.1:443', 'user:password@127.0.0.1:443', 'http://127.0.0.1:443', 'https://a/'],
    ...['127.0.0.1\0:443', 'a\0.example:443', '127.0.0.1 :443', '127.0.0.1:443 x', 'a\t:443'],
    ...['[::1%25lo]:443', '[fe80::1%eth0]:443', '[::1', '::1:443', '[::1]', '[127.0.0.1]:443'],
    ...['%31%32%37.0.0.1:443', 'b\xfccher.example:443', 'a..b:443', 'a,b:443'],
  ])('with 400 and a closed connection for %j', async (authority) => {
    for (const framework of ['express 5', 'connect'] as const) {
      const { port, exchanges } = await proxying({ allow: () => true }, framework);
      const client = await rawClient(port, connectTo(authority));
      const text = await client.closed();
      expect(parseResponses(text).map(({ status }) => status)).toEqual([400]);
      expect(exchanges.flatMap(({ attempts }) => attempts)).toEqual([]);
    }
  });

  it.each([
    ['Content-Length: 5', 'hello'],
    ['Transfer-Encoding: chunked', '0\r\n\r\n'],
  ])('with 400 when it has a body: %s', async (line, body) => {
    const server = await target(echo);
    const { port } = await proxying();
    const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`, line) + body);
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 400 /);
    expect(server.taken()).toBe(0);
  });

  it.each([
    '127.0.0.1',
    '127.1',
    '0x7f000001',
    '[::ffff:127.0.0.1]',
    'inside.example',
    'localhost',
  ])('with 403 for what is not allowed: %s', async (host) => {
    const server = await target(echo);
    const { lookup } = names({ 'inside.example': '127.0.0.1', localhost: '127.0.0.1' });
    const { port, errors } = await proxying({ allow: server.port, lookup });
    const client = await rawClient(port, connectTo(`${host}:${server.port}`));
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 403 /);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_FORBIDDEN_TARGET']);
    expect(server.taken()).toBe(0);
  });

  it('with 403 for a name whose second address would be another one', async () => {
    const server = await target(echo);
    let asked = 0;
    const lookup: TargetLookup = (_hostname, _options, callback) =>
      callback(null, [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }]);
    const { port } = await proxying({ allow: '127.0.0.1', lookup });
    const bytes = connectTo(`rebound.example:${server.port}`);
    const client = await rawClient(port, `${bytes}hello`);
    await client.until((text) => text.endsWith('hello'));
    expect(asked).toBe(1);
    expect((await rawRequest(port, bytes)).status).toBe(403);
  });

  it('with 502 when nothing listens, and when there is no such name', async () => {
    const { port, errors } = await proxying({ lookup: names({}).lookup });
    expect((await rawRequest(port, connectTo('127.0.0.1:1'))).status).toBe(502);
    expect((await rawRequest(port, connectTo('lost.example:443'))).status).toBe(502);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_CONNECT', 'ERR_PROXY_CONNECT']);
  });

  it('with 504 when connecting takes too long', async () => {
    const hole = await blackHole();
    const { port, errors } = await proxying({ connectTimeoutMs: 100 });
    expect((await rawRequest(port, connectTo(`127.0.0.1:${hole.port}`))).status).toBe(504);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_CONNECT_TIMEOUT']);
  });

  it('with 508 when it leads back to the proxy, or has been here', async () => {
    const { port } = await proxying();
    expect((await rawRequest(port, connectTo(`127.0.0.1:${port}`))).status).toBe(508);
    const again = connectTo('127.0.0.1:1', 'Via: 1.1 headrace');
    expect((await rawRequest(port, again)).status).toBe(508);
  });
});

it('a client that leaves while its tunnel is being opened takes the attempt with it', async () => {
  const hole = await blackHole();
  const { port, exchanges } = await proxying();
  const client = await rawClient(port, connectTo(`127.0.0.1:${hole.port}`));
  while (exchanges[0]?.attempts.length !== 1) await new Promise(setImmediate);
  const [exchange] = exchanges;
  client.socket.destroy();
  await new Promise((resolve) => exchange?.onOutcome(resolve));
  expect(exchange?.outcome?.type).toBe('client-closed');
  expect(exchange?.attempts[0]?.error?.code).toBe('ERR_PROXY_CLIENT_CLOSED');
});

it('a server that breaks off breaks the tunnel off', async () => {
  const server = await target((socket) => {
    socket.once('data', () => socket.resetAndDestroy());
  });
  const { port } = await proxying();
  const client = await rawClient(port, connectTo(`127.0.0.1:${server.port}`));
  await client.until((text) => text.endsWith('\r\n\r\n'));
  client.write('hello');
  expect(behindHead(await client.closed())).toBe('');
});

it('whatever a client names, it gets one clear answer and reaches nothing else', async () => {
  const server = await target(echo);
  const { lookup } = names({ localhost: '127.0.0.1' });
  const allow = `127.0.0.1:${server.port}`;
  const { port, exchanges } = await proxying({ allow, lookup });
  const piece = fc.oneof(
    fc.constantFrom(
      '127.0.0.1',
      '[::1]',
      'localhost',
      ':',
      `:${server.port}`,
      '@',
      '/',
      '%00',
      '.',
    ),
    fc.string({ maxLength: 6 }).map((text) => text.replace(/[\r\n ]/g, '')),
  );
  const authority = fc.array(piece, { minLength: 1, maxLength: 6 }).map((list) => list.join(''));
  await fc.assert(
    fc.asyncProperty(authority, async (text) => {
      const client = await rawClient(port, connectTo(text));
      const answer = await client.untilOrClosed((all) => all.includes('\r\n\r\n'));
      expect(answer).toMatch(/^HTTP\/1\.1 (?:200|400|403|404|502|505) /);
      client.socket.destroy();
    }),
    { numRuns: 200 },
  );
  const reached = exchanges.flatMap(({ attempts }) => attempts.map(({ upstream }) => upstream.url));
  const origins = ['127.0.0.1', 'localhost'].map((host) => `https://${host}:${server.port}`);
  expect(reached.filter((url) => !origins.includes(url))).toEqual([]);
});

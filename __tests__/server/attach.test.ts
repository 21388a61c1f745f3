import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import { type AttachOptions, attach, proxyPass } from 'headrace';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { seeded } from '../helpers/exchanges.js';
import { appOf, listen, serve } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';
import { attachedTo, chatUpstream, tunnelClient } from '../helpers/tunnels.js';

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** A server with an attached app. */
async function attached(app: RequestListener, options?: AttachOptions) {
  const { server, port } = await serve(app);
  return { server, port, ...attach(server, app, options) };
}

/** A request that waits for its 100, with these lines about what it expects. */
function expecting(...lines: string[]): string {
  return ['POST / HTTP/1.1', 'Host: a', ...lines, 'Content-Length: 5', '', ''].join('\r\n');
}

describe('attach', () => {
  it('sends the 100 when something begins to read the body, and once', async () => {
    const reads: string[] = [];
    const { port } = await attached((req, res) => {
      reads.push('handler');
      req.on('data', (chunk) => reads.push(String(chunk)));
      req.on('end', () => res.end('whole'));
    });
    const client = await rawClient(port, expecting('Expect: 100-Continue'));
    await client.until((text) => text === CONTINUE);
    expect(reads).toEqual(['handler']);
    client.write('hello');
    const text = await client.until((text) => text.endsWith('whole'));
    expect(text.match(/100 Continue/g)).toHaveLength(1);
    expect(reads).toEqual(['handler', 'hello']);
  });

  it('sends none when the request is refused', async () => {
    const app = express();
    app.use((_req, res) => void res.sendStatus(403));
    const { port } = await attached(app);
    const client = await rawClient(port, expecting('Expect: 100-continue'));
    const text = await client.until((text) => text.endsWith('Forbidden'));
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
  });

  it('sends the 100 of a pipelined request in its turn, and none into its answer', async () => {
    const finish: (() => void)[] = [];
    const { port } = await attached((req, res) => {
      if (req.url === '/slow') {
        finish.push(() => res.end('slow'));
        return;
      }
      let body = '';
      req.on('data', (chunk) => {
        body += chunk;
      });
      // Bytes make Node put the head before whatever waits for its turn.
      req.on('end', () => res.end(Buffer.from(body.repeat(3))));
    });
    const slow = 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const late of [false, true]) {
      const client = await rawClient(port, slow + expecting('Expect: 100-continue'));
      if (!late) client.write('hello');
      await eventually('the first', () => finish.length === 1);
      await settled(() => client.received().length);
      finish.pop()?.();
      await client.until((text) => text.includes('slow'));
      if (late) {
        await client.until((text) => text.endsWith(CONTINUE));
        client.write('hello');
      }
      const text = await client.until((text) => text.endsWith('hellohellohello'));
      const [, answer] = parseResponses(text);
      expect(answer).toMatchObject({ status: 200, body: 'hellohellohello' });
      client.socket.destroy();
    }
  });

  it.each([
    ['an unknown expectation', ['Expect: 200-ok']],
    ['one that only has the word in it', ['Expect: y 100-continue']],
    ['two of them', ['Expect: 100-continue', 'Expect: 100-continue']],
  ])('answers 417 to %s, and closes', async (_, lines) => {
    let calls = 0;
    const { port } = await attached((_req, res) => {
      calls++;
      res.end();
    });
    const client = await rawClient(port, expecting(...lines));
    const [response] = parseResponses(await client.closed());
    expect(response).toMatchObject({ status: 417, body: '' });
    expect(calls).toBe(0);
  });

  it.each([
    [undefined, 'received undefined'],
    [null, 'received null'],
    ['server', 'received "server"'],
    [{}, 'received an object []'],
    [express(), 'received function app'],
  ])('refuses %p for a server', (server, received) => {
    expect(() => attach(server as never, () => {})).toThrow(
      new TypeError(`attach: server must be an http or https server, ${received}`),
    );
  });

  it('refuses what is no app', () => {
    expect(() => attach(createServer(), {} as never)).toThrow(
      new TypeError('attach: app must be a function, received an object []'),
    );
  });
});

describe('the apps of one server', () => {
  const upgrade = (path: string) =>
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`;
  const named =
    (name: string): RequestListener =>
    (req, res) =>
      void res.end(`${name}: ${req.url}`);

  it('share one listener for each event, and an upgrade goes to the first that wants it', async () => {
    const { server, port } = await serve(named('plain'));
    attach(server, named('first'), { upgrades: (req) => req.url === '/first' });
    attach(server, named('second'), { upgrades: (req) => req.url === '/second' });
    for (const event of ['upgrade', 'connect', 'checkContinue', 'checkExpectation']) {
      expect(server.listenerCount(event)).toBe(1);
    }
    expect((await rawRequest(port, upgrade('/first'))).body).toBe('first: /first');
    expect((await rawRequest(port, upgrade('/second'))).body).toBe('second: /second');
    // Nobody wants it, and nobody else listens: it is no upgrade.
    expect((await rawRequest(port, upgrade('/third'))).body).toBe('first: /third');
  });

  it('leave an upgrade that none of them wants to others', async () => {
    const { server, port } = await serve(named('plain'));
    attach(server, named('first'), { upgrades: () => false });
    server.on('upgrade', (_req, socket) => socket.end('mine'));
    const client = await rawClient(port, upgrade('/'));
    expect(await client.closed()).toBe('mine');
  });

  it.each([[false], [undefined], [null], [0]])('do so where a function says %p', async (answer) => {
    const { server, port } = await serve(named('plain'));
    attach(server, named('first'), { upgrades: () => answer as boolean });
    server.on('upgrade', (_req, socket) => socket.end('mine'));
    const client = await rawClient(port, upgrade('/'));
    expect(await client.closed()).toBe('mine');
  });

  it.each<[string, () => unknown]>([
    ['a promise', async () => false],
    ['a promise that rejects', async () => Promise.reject(new Error('of the user'))],
    ['text', () => 'no'],
  ])('take no upgrade for which a function gives %s', async (_what, upgrades) => {
    const { port } = await attached(named('plain'), { upgrades: upgrades as () => boolean });
    const client = await rawClient(port, upgrade('/x'));
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 500 /);
  });

  it('that trip over an upgrade do not take the process with them', async () => {
    const { port } = await attached(named('plain'), {
      upgrades: (req) => new URL(req.url as string).pathname === '/',
    });
    const client = await rawClient(port, upgrade('/x'));
    expect(await client.closed()).toMatch(
      /^HTTP\/1\.1 500 Internal Server Error\r\nConnection: close/,
    );
  });
});

describe('the timeouts of the server', () => {
  const timeoutsOf = (server: Server) => [
    server.headersTimeout,
    server.requestTimeout,
    server.keepAliveTimeout,
  ];

  it('are sane ones where nobody has said anything', () => {
    const server = createServer();
    attach(server, () => {});
    expect(timeoutsOf(server)).toEqual([20_000, 300_000, 65_000]);
    expect(server).toMatchObject({ connectionsCheckingInterval: 5_000 });
  });

  it('are left as they have been set on the server', () => {
    const server = createServer({ requestTimeout: 1_000_000, connectionsCheckingInterval: 7_000 });
    server.headersTimeout = 0;
    server.keepAliveTimeout = 1_234;
    attach(server, () => {});
    expect(timeoutsOf(server)).toEqual([0, 1_000_000, 1_234]);
    expect(server).toMatchObject({ connectionsCheckingInterval: 7_000 });
  });

  it('are what the options say', () => {
    const server = createServer({ requestTimeout: 1_000_000 });
    const options = { headersTimeoutMs: 1, requestTimeoutMs: 2, keepAliveTimeoutMs: 3 };
    attach(server, () => {}, options);
    expect(timeoutsOf(server)).toEqual([1, 2, 3]);
  });

  it('end a head that does not come with 408', async () => {
    const server = createServer({ connectionsCheckingInterval: 50 }, (_req, res) => res.end());
    attach(server, () => {}, { headersTimeoutMs: 100 });
    const client = await rawClient(await listen(server), 'GET / HTTP/1.1\r\nHo');
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it.each([
    [{ headersTimeoutMs: -1 }, 'attach: headersTimeoutMs must be a whole number from 1'],
    [{ requestTimeoutMs: 1.5 }, 'attach: requestTimeoutMs must be a whole number from 1'],
    [
      { keepAliveTimeoutMs: '5' },
      'attach: keepAliveTimeoutMs must be a whole number, received "5"',
    ],
    [{ drainMs: -1 }, 'attach: drainMs must be a whole number from 0'],
    [{ upgrades: '/ws' }, 'attach: upgrades must be a function, received "/ws"'],
    [{ drain: 5 }, 'attach: unknown option "drain", did you mean "drainMs"?'],
  ])('or other options that are not what they should be are refused: %j', (options, message) => {
    const server = createServer();
    expect(() => attach(server, () => {}, options as never)).toThrow(message);
    expect(server.listenerCount('upgrade')).toBe(0);
    expect(server.keepAliveTimeout).toBe(createServer().keepAliveTimeout);
  });
});

describe('first bytes that are no HTTP', () => {
  it('get a status or a closed connection, ten thousand times', async () => {
    const { port } = await attached((_req, res) => res.end());
    const random = seeded(1);
    const lines = [
      'GET / HTTP/1.1\r\n',
      'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n',
      'Connection: upgrade\r\n',
      '',
    ];
    const send = async () => {
      const bytes = Buffer.from(Array.from({ length: 1 + random() * 60 }, () => random() * 256));
      const begin = lines[Math.floor(random() * lines.length)] as string;
      const client = await rawClient(port, Buffer.concat([Buffer.from(begin), bytes]));
      client.socket.end();
      const text = await client.closed(20_000);
      expect(text === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(text)).toBe(true);
    };
    for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 100 }, send));
    const answer = await rawRequest(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer.status).toBe(200);
  }, 180_000);
});

describe('close', () => {
  it('gives tunnels drainMs, and then ends them', async () => {
    const upstream = await chatUpstream();
    const { port, close } = await attachedTo(appOf('express 5', proxyPass(upstream.url)), {
      drainMs: 200,
    });
    const client = await tunnelClient(port);
    const began = performance.now();
    const closed = close();
    client.write('still open');
    await eventually('the bytes', () => upstream.received().endsWith('still open'));
    await closed;
    expect(performance.now() - began).toBeGreaterThan(190);
    await client.closed();
    await eventually('the end of the upstream', () => upstream.sockets[0]?.destroyed === true);
  });

  it('waits no longer than the last tunnel', async () => {
    const upstream = await chatUpstream();
    const { port, close } = await attachedTo(appOf('express 5', proxyPass(upstream.url)));
    const client = await tunnelClient(port);
    const closed = close();
    client.socket.end();
    upstream.sockets[0]?.end();
    await closed;
    await client.closed();
  });

  it('ends answers that do not come to an end', async () => {
    const { port, close } = await attachedTo((_req, res) => void res.write('forever'), {
      drainMs: 50,
    });
    const client = await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.includes('forever'));
    await close();
    await client.closed();
  });

  it('with nothing in flight takes milliseconds', async () => {
    const { port, close } = await attachedTo((_req, res) => void res.end('ok'));
    const client = await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    const began = performance.now();
    await close();
    expect(performance.now() - began).toBeLessThan(1_000);
    await client.closed();
  });

  it('of one that was closed by other means waits for its tunnels all the same', async () => {
    const upstream = await chatUpstream();
    const { port, server, close } = await attachedTo(appOf('express 5', proxyPass(upstream.url)), {
      drainMs: 100,
    });
    const client = await tunnelClient(port);
    server.close();
    await close();
    await client.closed();
  });

  it('takes no new connections, and leaves the events to others', async () => {
    const { server, port, close } = await attached((_req, res) => res.end());
    await close();
    expect(server.listening).toBe(false);
    expect(server.listenerCount('checkContinue')).toBe(0);
    expect(server.listenerCount('checkExpectation')).toBe(0);
    expect(server.listenerCount('upgrade')).toBe(0);
    expect(server.listenerCount('connect')).toBe(0);
    await expect(rawClient(port)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('called twice, resolves both times when all has ended', async () => {
    const ended: string[] = [];
    let arrive: (res: ServerResponse) => void = () => {};
    const arrival = new Promise<ServerResponse>((resolve) => {
      arrive = resolve;
    });
    const { port, close } = await attached((_req, res) => arrive(res));
    await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const res = await arrival;
    res.once('finish', () => ended.push('answer'));
    const first = close().then(() => ended.push('first'));
    const second = close().then(() => ended.push('second'));
    res.end('done');
    await Promise.all([first, second]);
    expect(ended[0]).toBe('answer');
    expect(ended).toHaveLength(3);
  });

  it('of a server that never listened, or is closed, resolves', async () => {
    const server = createServer();
    const { close } = attach(server, () => {});
    await close();
    await close();
    const { server: other, close: closeOther } = await attached((_req, res) => res.end());
    await new Promise((resolve) => other.close(resolve));
    await closeOther();
  });
});

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import { type Handler, loadBalancer, proxyErrors, proxyPass, retry } from 'headrace';
import { Server as SocketServer } from 'socket.io';
import { io } from 'socket.io-client';
import { type ClientOptions, type ServerOptions, WebSocket, WebSocketServer } from 'ws';
import { chromium } from '../helpers/browser.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { appOf, closeAfter, listen, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import { attachedTo, tunnelGateway, upgradeRequest } from '../helpers/tunnels.js';

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const EXTENSIONS = 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99';

/** A WebSocket server that sends back what it gets, after a line about the handshake. */
async function echo(options: ServerOptions = {}, name = 'echo') {
  const server = createServer();
  const sockets = new WebSocketServer({ server, ...options });
  sockets.on('connection', (socket, req) => {
    socket.send(`${name} ${req.url}`);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  closeAfter(() => {
    for (const client of sockets.clients) client.terminate();
    sockets.close();
  });
  const port = await listen(server);
  return { sockets, url: `http://127.0.0.1:${port}` };
}

/** A client that is connected, and has heard the first line. */
async function client(port: number, path: string, protocols?: string[], options?: ClientOptions) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options);
  closeAfter(() => socket.terminate());
  const [first] = await once(socket, 'message');
  return { socket, first: String(first) };
}

/** The status that refuses a client. */
async function refusal(port: number, path: string): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  const [request, response] = await once(socket, 'unexpected-response');
  request.destroy();
  return response.statusCode;
}

describe('a WebSocket', () => {
  it('is the first request ever, with its path and query', async () => {
    const { url } = await echo();
    const { port } = await tunnelGateway('express 5', proxyPass(`${url}/base`));
    const { first } = await client(port, '/room?name=ada&x=%2F');
    expect(first).toBe('echo /base/room?name=ada&x=%2F');
  });

  it('carries text, binary and 16 MiB, with and without compression', async () => {
    const { url } = await echo({ perMessageDeflate: true, maxPayload: 32 * 1_048_576 });
    const { port } = await tunnelGateway('express 5', proxyPass(url));
    for (const perMessageDeflate of [true, false]) {
      const { socket } = await client(port, '/', [], { perMessageDeflate });
      expect(socket.extensions).toBe(perMessageDeflate ? 'permessage-deflate' : '');
      const big = randomBytes(16 * 1_048_576);
      for (const data of ['grüße', Buffer.from([0, 255]), big]) {
        const answered = once(socket, 'message');
        socket.send(data);
        const [bytes, isBinary] = await answered;
        expect(isBinary).toBe(typeof data !== 'string');
        expect(Buffer.compare(bytes, Buffer.from(data))).toBe(0);
      }
    }
  }, 60_000);

  it('passes pings, pongs and close codes on, both ways', async () => {
    const { url, sockets } = await echo();
    const { port } = await tunnelGateway('express 5', proxyPass(url));
    const { socket } = await client(port, '/');
    const [far] = [...sockets.clients] as [WebSocket];
    const pinged = once(far, 'ping');
    const ponged = once(socket, 'pong');
    socket.ping('a');
    expect(String((await pinged)[0])).toBe('a');
    expect(String((await ponged)[0])).toBe('a');
    const farPonged = once(far, 'pong');
    far.ping('b');
    expect(String((await farPonged)[0])).toBe('b');
    const closed = once(far, 'close');
    socket.close(4001, 'done');
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([4001, 'done']);

    const { socket: second } = await client(port, '/');
    const secondClosed = once(second, 'close');
    for (const one of sockets.clients) one.close(4002, 'enough');
    const [secondCode, secondReason] = await secondClosed;
    expect([secondCode, String(secondReason)]).toEqual([4002, 'enough']);
  });

  it('agrees on a subprotocol with the upstream', async () => {
    const { url } = await echo({ handleProtocols: () => 'b' });
    const { port } = await tunnelGateway('express 5', proxyPass(url));
    const { socket } = await client(port, '/', ['a', 'b']);
    expect(socket.protocol).toBe('b');
  });

  it('is subject to the middleware of the app, mounted where it is, and goes where its route leads', async () => {
    const [chat, feed] = await Promise.all([echo({}, 'chat'), echo({}, 'feed')]);
    let counted = 0;
    const limit: Handler = (req, res, next) => {
      counted += 1;
      if (!req.url?.includes('key=')) {
        res.statusCode = 401;
        res.end();
      } else if (counted > 3) {
        res.statusCode = 429;
        res.end();
      } else next?.();
    };
    const app = express();
    app.use(limit);
    app.use('/chat', proxyPass(chat.url));
    app.get('/feed/:name', proxyPass(feed.url));
    app.use(proxyErrors());
    const { port } = await attachedTo(app, { drainMs: 0 });
    expect((await client(port, '/chat/a?key=1')).first).toBe('chat /a?key=1');
    expect((await client(port, '/feed/b?key=1')).first).toBe('feed /feed/b?key=1');
    expect(await refusal(port, '/none?key=1')).toBe(404);
    expect(await refusal(port, '/chat')).toBe(401);
    expect(await refusal(port, '/chat?key=1')).toBe(429);
  });

  it('is tried again elsewhere when an upstream is down', async () => {
    const { url } = await echo();
    const balancer = loadBalancer({
      upstreams: ['http://127.0.0.1:1', url],
      strategy: 'round-robin',
    });
    closeAfter(() => balancer.close());
    const { port } = await tunnelGateway('express 5', balancer, retry(), proxyPass());
    for (let i = 0; i < 3; i++) expect((await client(port, '/')).first).toBe('echo /');
  });

  it.each([
    ['without a key', 400, ['Sec-WebSocket-Version: 13']],
    ['with a key that is none', 400, ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: short']],
    ['of an unknown version', 400, ['Sec-WebSocket-Version: 99', KEY]],
    ['with extensions that are none', 400, ['Sec-WebSocket-Version: 13', KEY, EXTENSIONS]],
  ])('%s is refused by the server, and that is what comes back', async (_, status, lines) => {
    const { url } = await echo({ perMessageDeflate: true });
    const { port } = await tunnelGateway('express 5', proxyPass(url), proxyErrors());
    const refused = await rawRequest(port, upgradeRequest('Upgrade: websocket', ...lines));
    expect(refused.status).toBe(status);
    expect((await client(port, '/')).first).toBe('echo /');
  });

  it('of which half a handshake comes, from either side, harms no other', async () => {
    const { url } = await echo();
    const broken = await rawUpstream((_bytes, socket) => {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs');
      return undefined;
    });
    const toBroken = proxyPass(broken.url);
    closeAfter(() => toBroken.close());
    const whole = upgradeRequest('Upgrade: websocket', 'Sec-WebSocket-Version: 13', KEY);
    const { port } = await tunnelGateway(
      'express 5',
      (req, res, next) => (req.url === '/chat' ? toBroken(req, res, next) : next()),
      proxyPass(url),
      proxyErrors(),
    );
    expect((await rawRequest(port, whole)).status).toBe(502);
    const half = await rawClient(port, whole.slice(0, -10));
    half.socket.end();
    expect(await half.closed()).toMatch(/^(HTTP\/1\.1 400 |$)/);
    const leaver = await rawClient(port, whole.slice(0, -10));
    leaver.socket.resetAndDestroy();
    expect((await client(port, '/')).first).toBe('echo /');
  });

  it('that a server of our own takes is left to it', async () => {
    const { url } = await echo();
    const app = appOf('express 5', proxyPass(url));
    const server = createServer(app);
    const own = new WebSocketServer({ noServer: true });
    const isOwn = (path = '') => path.startsWith('/own');
    server.on('upgrade', (req, socket, head) => {
      if (!isOwn(req.url)) return;
      own.handleUpgrade(req, socket, head, (one) => one.send('own'));
    });
    closeAfter(() => {
      for (const one of own.clients) one.terminate();
    });
    const options = {
      drainMs: 0,
      upgrades: (req: { url?: string | undefined }) => !isOwn(req.url),
    };
    const { port } = await attachedTo(app, options, server);
    expect((await client(port, '/own')).first).toBe('own');
    expect((await client(port, '/other')).first).toBe('echo /other');
  });
});

describe('socket.io', () => {
  it.each([
    ['polling and then an upgrade', ['polling', 'websocket']],
    ['a WebSocket from the start', ['websocket']],
  ])('goes through with %s', async (_, transports) => {
    const server = createServer();
    const sockets = new SocketServer(server);
    sockets.on('connection', (socket) => {
      socket.on('hello', (name: string, done: (text: string) => void) => done(`hello ${name}`));
    });
    const port = await listen(server);
    closeAfter(() => sockets.close());
    const gateway = await tunnelGateway('express 5', proxyPass(`http://127.0.0.1:${port}`));
    const socket = io(gateway.url, { transports });
    closeAfter(() => socket.disconnect());
    expect(await socket.emitWithAck('hello', 'ada')).toBe('hello ada');
    await eventually('the upgrade', () => socket.io.engine.transport.name === 'websocket');
    expect(await socket.emitWithAck('hello', 'bob')).toBe('hello bob');
  });
});

// Where Chromium is missing this is reported as skipped; CI has to have it.
const withChromium = chromium === undefined && !process.env.CI ? it.skip : it;

withChromium(
  'a page in Chromium talks WebSocket through the gateway (needs apt-get install chromium)',
  async () => {
    const { url } = await echo({ perMessageDeflate: true });
    const page: Handler = (req, res, next) => {
      if (req.url !== '/page') return next?.();
      res.setHeader('Content-Type', 'text/html');
      res.setHeader('Set-Cookie', 'user=ada');
      res.end('<title>chat</title>');
    };
    const guard: Handler = (req, res, next) => {
      if (req.headers.cookie === 'user=ada') return next?.();
      res.statusCode = 401;
      res.end();
    };
    const gateway = await tunnelGateway('express 5', page, guard, proxyPass(url));
    const { chromium: driver } = await import('playwright-core');
    const browser = await driver.launch({
      executablePath: chromium as string,
      args: ['--no-sandbox'],
    });
    closeAfter(() => browser.close());
    const tab = await browser.newPage();
    await tab.goto(`${gateway.url}/page`);
    const heard = await tab.evaluate(`new Promise((resolve, reject) => {
      const heard = [];
      const socket = new WebSocket('ws://' + location.host + '/chat?a=1');
      socket.onerror = () => reject(new Error('refused'));
      socket.onmessage = ({ data }) => {
        if (heard.push(data) === 1) socket.send('hello');
        else socket.close(4000, 'bye');
      };
      socket.onclose = ({ code, reason }) => resolve([...heard, code, reason]);
    })`);
    expect(heard).toEqual(['echo /chat?a=1', 'hello', 4000, 'bye']);
  },
  60_000,
);

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  type Exchange,
  exchangeOf,
  type Handler,
  modifyResponse,
  proxyErrors,
  proxyPass,
  reverseProxy,
  sendResponse,
  stripHopHeaders,
} from 'headrace';
import { parseResponses, rawClient } from '../helpers/client.js';
import { frameworks, OK, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import {
  chatUpstream,
  switching,
  tunnelClient,
  tunnelGateway,
  upgradeRequest,
} from '../helpers/tunnels.js';

/** The head and body of what a connection brought until it was closed. */
async function answerOf(port: number, bytes: string) {
  const client = await rawClient(port, bytes);
  const [response] = parseResponses(await client.closed());
  return response;
}

describe.each(frameworks)('an upgrade under %s', (framework) => {
  it('goes through the pipeline, as do the bytes behind it, both ways', async () => {
    const upstream = await chatUpstream('early');
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const client = await tunnelClient(port, 'first');
    await client.until((text) => text.endsWith('\r\n\r\nearly'));
    expect(client.received()).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    client.write('second');
    upstream.sockets[0]?.write('answer');
    await client.until((text) => text.endsWith('earlyanswer'));
    client.socket.end();
    upstream.sockets[0]?.end();
    await client.closed();
    expect(upstream.received()).toMatch(/\r\n\r\nfirstsecond$/);
  });

  it('keeps the bytes of the fields of its answer', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      socket.write(switching('chat', 'X-Name: caf\xe9'), 'latin1');
      return undefined;
    });
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const client = await tunnelClient(port);
    expect(client.received()).toMatch(/^X-Name: caf\xe9\r$/im);
  });

  it('that middleware refuses gets a plain answer, whatever the client has sent behind it', async () => {
    const refuse: Handler = (_req, res) => {
      res.statusCode = 401;
      res.setHeader('WWW-Authenticate', 'Basic');
      res.end('who are you?');
    };
    const { port } = await tunnelGateway(framework, refuse);
    const client = await rawClient(port, upgradeRequest() + 'x'.repeat(300_000));
    const [response] = parseResponses(await client.closed());
    expect(response).toMatchObject({ status: 401, body: 'who are you?' });
    expect(response?.header('connection')).toBe('close');
    expect(response?.header('www-authenticate')).toBe('Basic');
    expect(client.wasReset()).toBe(false);
  });

  it('that the upstream refuses gets its answer', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 400 Bad Request\r\nX-Why: key\r\nContent-Length: 4\r\n\r\nnope',
    );
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const response = await answerOf(port, upgradeRequest());
    expect(response).toMatchObject({ status: 400, body: 'nope' });
    expect(response?.header('x-why')).toBe('key');
  });

  it('that fails is answered by the error handler', async () => {
    const { port } = await tunnelGateway(framework, proxyPass('http://127.0.0.1:1'), proxyErrors());
    expect(await answerOf(port, upgradeRequest())).toMatchObject({ status: 502 });
  });

  it('is given the time that res.setTimeout() says', async () => {
    const slow: Handler = (_req, res) => {
      res.setTimeout(50, () => {
        res.statusCode = 503;
        res.end('too late');
      });
    };
    const { port } = await tunnelGateway(framework, slow);
    expect(await answerOf(port, upgradeRequest())).toMatchObject({ status: 503, body: 'too late' });
  });

  it('that nobody answers ends with its client', async () => {
    let taken: (res: ServerResponse) => void = () => {};
    const arrived = new Promise<ServerResponse>((resolve) => {
      taken = resolve;
    });
    const { port } = await tunnelGateway(framework, (_req: unknown, res: ServerResponse) =>
      taken(res),
    );
    const client = await rawClient(port, upgradeRequest());
    const res = await arrived;
    const closed = once(res, 'close');
    client.socket.end();
    await closed;
    expect(res.destroyed).toBe(true);
    await client.closed();
  });
});

describe('what is asked of the upstream', () => {
  it.each([
    ['one protocol', ['Upgrade: WebSocket'], 'WebSocket'],
    ['h2c beside another', ['Upgrade: websocket, h2c'], 'websocket'],
    ['two lines', ['Upgrade: websocket', 'Upgrade: chat/2'], 'websocket, chat/2'],
    ['the same twice', ['Upgrade: websocket', 'Upgrade: WEBSOCKET'], 'websocket'],
    ['what is no protocol', ['Upgrade: chat, a b, ;'], 'chat'],
  ])('of %s, is what a tunnel can be made for', async (_, lines, asked) => {
    const upstream = await rawUpstream(switching(asked.split(',')[0]?.toUpperCase() as string));
    const { port } = await tunnelGateway('node:http', proxyPass(upstream.url));
    const client = await tunnelClient(port, '', ...lines, 'Sec-WebSocket-Key: a', 'X-End: 1');
    expect(client.received()).toMatch(/^HTTP\/1\.1 101 /);
    const sent = upstream.received();
    expect(sent).toContain(`upgrade: ${asked}\r\n`);
    expect(sent.match(/^upgrade:/gim)).toHaveLength(1);
    expect(sent.match(/^connection:/gim)).toHaveLength(1);
    expect(sent).toContain('Sec-WebSocket-Key: a\r\nX-End: 1\r\n');
  });

  it.each([
    ['h2c', upgradeRequest('Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__')],
    ['HTTP itself', upgradeRequest('Upgrade: HTTP/2.0')],
    ['TLS', upgradeRequest('Upgrade: TLS/1.0')],
    ['HTTP/1.0', upgradeRequest().replace('HTTP/1.1', 'HTTP/1.0')],
    ['nothing in Upgrade', upgradeRequest('Upgrade: ,')],
    ['an unnamed Upgrade', upgradeRequest().replace('Connection: Upgrade', 'Connection: X-A')],
  ])('for %s, is an ordinary request', async (_, bytes) => {
    const upstream = await rawUpstream(OK);
    const { port } = await tunnelGateway('node:http', proxyPass(upstream.url));
    const client = await rawClient(port, bytes);
    const text = await client.until((received) => received.endsWith('ok'));
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(upstream.received()).toMatch(/^connection: keep-alive\r$/m);
    expect(upstream.received()).not.toMatch(/^(upgrade|http2-settings):/im);
    client.socket.end();
    await client.closed();
  });

  it.each([
    ['a length', `${upgradeRequest('Content-Length: 3')}abc`],
    ['a length, its bytes to come', upgradeRequest('Content-Length: 3')],
    ['chunks', `${upgradeRequest('Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\n\r\n`],
    ['chunks that do not end', `${upgradeRequest('Transfer-Encoding: chunked')}3\r\nab`],
    ['no Host', upgradeRequest().replace('Host: gateway\r\n', '')],
    ['no Host, and h2c', upgradeRequest('Upgrade: h2c').replace('Host: gateway\r\n', '')],
    ['two Hosts', upgradeRequest('Host: other')],
    ['CONNECT with a length', 'CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab'],
    ['CONNECT without Host', 'CONNECT a:443 HTTP/1.1\r\n\r\n'],
  ])('with %s, is refused', async (_, bytes) => {
    const upstream = await rawUpstream(switching('chat'));
    const { port } = await tunnelGateway('express 5', proxyPass(upstream.url), proxyErrors());
    const response = await answerOf(port, bytes);
    expect(response?.status).toBe(400);
    expect(response?.header('connection')).toBe('close');
    expect(upstream.sockets).toHaveLength(0);
  });

  it.each(frameworks)('by CONNECT, is refused with 405 under %s', async (framework) => {
    const upstream = await rawUpstream();
    const seen: unknown[] = [];
    const look: Handler = (req, _res, next) => {
      seen.push(req.url);
      next?.();
    };
    const { port } = await tunnelGateway(framework, look, proxyPass(upstream.url), proxyErrors());
    const response = await answerOf(port, 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n');
    expect(response?.status).toBe(405);
    expect(response?.header('connection')).toBe('close');
    expect(seen).toEqual(['a:443']);
    expect(upstream.sockets).toHaveLength(0);
  });

  it('waits for the answers before it, which are written whole', async () => {
    const upstream = await chatUpstream();
    const big = 'b'.repeat(1_000_000);
    const slow: Handler = (req, res, next) => {
      if (req.url !== '/slow') return next?.();
      setImmediate(() => {
        res.setHeader('Content-Length', 2 * big.length);
        if (res.write(big)) res.end(big);
        else res.once('drain', () => res.end(big));
      });
    };
    const { port } = await tunnelGateway('express 5', slow, proxyPass(upstream.url));
    const request = 'GET /slow HTTP/1.1\r\nHost: a\r\n\r\n';
    const client = await rawClient(port, `${request + request + upgradeRequest()}early`);
    const text = await client.until((received) => received.includes('101 Switching'), 20_000);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 101']);
    expect(text.length).toBeGreaterThan(4 * big.length);
    await eventually('the early bytes', () => upstream.received().endsWith('\r\n\r\nearly'));
  });
});

describe('the 101', () => {
  it('brings fields of the upstream and of middleware, and none that are for one hop', async () => {
    const upstream = await rawUpstream(
      switching(
        'CHAT',
        'Sec-WebSocket-Accept: xyz',
        'Set-Cookie: a=1',
        'Set-Cookie: b=2',
        'Keep-Alive: timeout=5',
        'X-Hop: 1',
        'Content-Length: 7',
      ).replace('Connection: upgrade', 'Connection: upgrade, x-hop'),
    );
    const set: Handler = (_req, res, next) => {
      res.setHeader('X-Gateway', 'yes');
      res.setHeader('Content-Length', 5);
      res.setHeader('Set-Cookie', 'c=3');
      next?.();
    };
    const { port } = await tunnelGateway(
      'express 5',
      set,
      stripHopHeaders(),
      proxyPass(upstream.url),
    );
    const client = await tunnelClient(port);
    const [, ...lines] = client.received().trimEnd().split('\r\n');
    expect(lines.filter((line) => !/^(date|x-powered-by):/i.test(line)).sort()).toEqual([
      'Connection: Upgrade',
      'Sec-WebSocket-Accept: xyz',
      'Set-Cookie: a=1',
      'Set-Cookie: b=2',
      'Set-Cookie: c=3',
      'Upgrade: CHAT',
      'X-Gateway: yes',
    ]);
  });

  it.each([
    ['another protocol', switching('other')],
    ['one more protocol', switching('chat, other')],
    ['no protocol', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n'],
    ['no Connection', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n'],
  ])('that switches to %s is 502', async (_, answer) => {
    const upstream = await rawUpstream(answer);
    const errors: { code?: string }[] = [];
    const log = proxyErrors({ log: (error) => errors.push(error) });
    const { port } = await tunnelGateway('express 5', proxyPass(upstream.url), log);
    expect(await answerOf(port, upgradeRequest())).toMatchObject({ status: 502 });
    expect(errors).toMatchObject([{ code: 'ERR_PROXY_UPGRADE' }]);
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });

  it.each([
    ['nobody has asked for', switching('chat'), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['comes by HTTP/1.0', switching('chat').replace('HTTP/1.1', 'HTTP/1.0'), upgradeRequest()],
  ])('that %s is 502', async (_, answer, request) => {
    const upstream = await rawUpstream(answer);
    const { port } = await tunnelGateway('express 5', proxyPass(upstream.url), proxyErrors());
    const client = await rawClient(port, request);
    expect(await client.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 502 /);
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });

  it('can be edited, whatever an edit does with a body that is not there', async () => {
    const upstream = await chatUpstream('early');
    const edit = modifyResponse(async (response) => {
      expect([response.status, response.hasBody, await response.text()]).toEqual([101, false, '']);
      response.headers.set('X-Edited', '1');
      response.body = 'of no use';
    });
    const { port } = await tunnelGateway('express 5', edit, proxyPass(upstream.url));
    const client = await tunnelClient(port);
    const text = await client.until((received) => received.endsWith('early'));
    expect(text).toContain('X-Edited: 1\r\n');
    expect(text).not.toContain('of no use');
  });

  it('that an edit turns into something else is that, and the upstream is let go', async () => {
    const upstream = await chatUpstream();
    const edit = modifyResponse((response) => {
      response.status = 403;
      response.body = 'not today';
    });
    const { port } = await tunnelGateway('express 5', edit, proxyPass(upstream.url));
    expect(await answerOf(port, upgradeRequest())).toMatchObject({
      status: 403,
      body: 'not today',
    });
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });

  it('that an edit only gives another status has no body', async () => {
    const upstream = await chatUpstream();
    const edit = modifyResponse((response) => {
      response.status = 503;
    });
    const { port } = await tunnelGateway('express 5', edit, proxyPass(upstream.url));
    const response = await answerOf(port, upgradeRequest());
    expect(response).toMatchObject({ status: 503, body: '' });
    expect(response?.header('upgrade')).toBeUndefined();
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });

  it('is held, and sent by sendResponse()', async () => {
    const upstream = await chatUpstream('early');
    const seen: (number | undefined)[] = [];
    const look: Handler = (req, res, next) => {
      seen.push(exchangeOf(req, res).response?.status);
      setImmediate(() => next?.());
    };
    const hold = proxyPass(upstream.url, { hold: true });
    const { port } = await tunnelGateway('express 5', hold, look, sendResponse());
    const client = await tunnelClient(port);
    await client.until((text) => text.endsWith('early'));
    expect(seen).toEqual([101]);
  });

  it('that is held and never sent lets the upstream go', async () => {
    const upstream = await chatUpstream();
    const answer: Handler = (_req, res) => void res.end('something else');
    const hold = proxyPass(upstream.url, { hold: true });
    const { port } = await tunnelGateway('express 5', hold, answer);
    expect(await answerOf(port, upgradeRequest())).toMatchObject({ status: 200 });
    await eventually('the end of the connection', () => upstream.sockets[0]?.destroyed === true);
  });

  it('comes to nothing when the client has left, or the upstream has', async () => {
    const upstream = await chatUpstream();
    const exchanges: Exchange[] = [];
    let go: () => void = () => {};
    const edit = modifyResponse(
      () =>
        new Promise<void>((resolve) => {
          go = resolve;
        }),
    );
    const note: Handler = (req, res, next) => {
      exchanges.push(exchangeOf(req, res));
      next?.();
    };
    const pass = proxyPass(upstream.url);
    const { port } = await tunnelGateway('express 5', note, edit, pass, proxyErrors());
    const leaving = await rawClient(port, upgradeRequest());
    await eventually('the edit', () => exchanges[0]?.attempts[0]?.status === 101);
    leaving.socket.destroy();
    await eventually('the end', () => upstream.sockets[0]?.destroyed === true);
    expect(`${exchanges[0]?.outcome}`).toBe('client-closed');
    go();

    const client = await rawClient(port, upgradeRequest());
    await eventually('the edit', () => exchanges[1]?.attempts[0]?.status === 101);
    upstream.sockets[1]?.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    go();
    expect(await client.closed()).toMatch(/^HTTP\/1\.1 502 /);
  });
});

describe('connections to upstreams', () => {
  it('are used again for other requests when a switch has taken one, and know nothing of it', async () => {
    const upstream = await rawUpstream((request) =>
      request.startsWith('GET /chat ') ? switching('chat') : OK,
    );
    const { port } = await tunnelGateway('express 5', reverseProxy(upstream.url));
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
    const plain = await rawClient(port, request);
    await plain.until((text) => text.endsWith('ok'));
    const client = await tunnelClient(port);
    plain.write(request);
    await plain.until((text) => text.match(/ok$/) !== null && text.split('200 OK').length === 3);
    // What passes through the tunnel looks like nothing that a connection awaits.
    upstream.sockets[0]?.write('HTTP/1.1 100 Continue\r\n\r\n');
    await client.until((text) => text.endsWith('100 Continue\r\n\r\n'));
    plain.write(request);
    upstream.sockets[0]?.write('HTTP');
    await client.until((text) => text.endsWith('HTTP'));
    await plain.until((text) => text.split('200 OK').length === 4);
    upstream.sockets[0]?.resetAndDestroy();
    await client.closed();
    plain.write(request);
    await plain.until((text) => text.split('200 OK').length === 5);
    expect(upstream.sockets).toHaveLength(2);
  });
});

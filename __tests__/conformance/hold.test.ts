import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  exchangeOf,
  fallback,
  modifyResponse,
  proxyErrors,
  proxyPass,
  sendResponse,
  type UpstreamResponse,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import {
  frameworks,
  gateway,
  type Middleware,
  type RawUpstream,
  rawUpstream,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Answers with the status that stands in the path, and a body that says so. */
const byPath = (request: string): string => {
  const [, status = '200'] = /^\S+ \/(\d{3})/.exec(request) ?? [];
  return `HTTP/1.1 ${status} From Upstream\r\nX-Upstream: yes\r\nContent-Length: 13\r\n\r\nupstream's ${status.slice(0, 2)}`;
};

/** Whether no connection to an upstream has a call under way; idle ones may be there. */
function isOver({ sockets }: RawUpstream): boolean {
  return sockets.every((socket) => socket.destroyed || socket.bytesRead === 0);
}

/** The response that is held for a request. */
function held(req: IncomingMessage, res: ServerResponse): UpstreamResponse {
  const { response } = exchangeOf(req, res);
  if (response === undefined) throw new Error('no response is held');
  return response;
}

describe.each(frameworks)('proxyPass({ hold: true }) through %s', (framework) => {
  it('sends what a fallback gives for an edit behind it that fails', async () => {
    const upstream = await rawUpstream(byPath);
    const { port } = await gateway(
      framework,
      fallback({ status: 200, body: 'instead' }),
      proxyPass(upstream.url, { hold: true }),
      modifyResponse(() => {
        throw new Error('edit failed');
      }),
      sendResponse(),
    );
    expect(await rawRequest(port, GET)).toMatchObject({ status: 200, body: 'instead' });
  });

  it('shows the response to later middleware, and sendResponse() sends it', async () => {
    const upstream = await rawUpstream(byPath);
    const seen: unknown[] = [];
    const look: Middleware = (req, res, next) => {
      const { status, statusText, headers, hasBody } = held(req, res);
      seen.push(status, statusText, headers.get('x-upstream'), hasBody, res.headersSent);
      seen.push(res.locals.proxy.response === held(req, res));
      next();
    };
    const { port } = await gateway(
      framework,
      proxyPass(upstream.url, { hold: true }),
      look,
      sendResponse(),
    );
    const res = await rawRequest(port, GET.replace('/', '/203'));
    expect(seen).toEqual([203, 'From Upstream', 'yes', true, false, true]);
    expect([res.status, res.reason, res.body]).toEqual([203, 'From Upstream', "upstream's 20"]);
    expect(res.header('x-upstream')).toBe('yes');
  });

  it('lets a 404 fall through to a local route, and passes everything else on', async () => {
    const upstream = await rawUpstream(byPath);
    const fallThrough: Middleware = (req, res, next) => {
      if (held(req, res).status !== 404) return next();
      held(req, res).discard();
      res.statusCode = 200;
      return res.end('a local route');
    };
    const { port } = await gateway(
      framework,
      proxyPass(upstream.url, { hold: true, connections: 1 }),
      fallThrough,
      sendResponse(),
    );
    for (let i = 0; i < 3; i++) {
      const local = await rawRequest(port, GET.replace('/', '/404'));
      expect([local.status, local.body]).toEqual([200, 'a local route']);
      expect(local.header('x-upstream')).toBeUndefined();
      expect((await rawRequest(port, GET.replace('/', '/410'))).body).toBe("upstream's 41");
    }
    expect(upstream.sockets).toHaveLength(1);
  });

  it('releases a response that nobody sends or discards', async () => {
    const upstream = await rawUpstream(
      (_request) => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n',
    );
    const answer: Middleware = (_req, res) => res.end('answered myself');
    const { port } = await gateway(
      framework,
      proxyPass(upstream.url, { hold: true, connections: 1 }),
      answer,
    );
    for (let i = 0; i < 3; i++) {
      expect((await rawRequest(port, GET)).body).toBe('answered myself');
      await eventually('the end of the call', () => isOver(upstream));
    }
  });

  it('is edited by modifyResponse() on either side, in order', async () => {
    const upstream = await rawUpstream(byPath);
    const adds = (name: string): Middleware =>
      modifyResponse(async (response) => {
        response.body = `${await response.text()}, ${name}`;
        response.headers.append('X-Edit', name);
      });
    const { port } = await gateway(
      framework,
      adds('before'),
      proxyPass(upstream.url, { hold: true }),
      adds('behind'),
      adds('last'),
      sendResponse(),
    );
    const res = await rawRequest(port, GET);
    expect(res.body).toBe("upstream's 20, before, behind, last");
    expect(res.headers.filter(([name]) => name === 'X-Edit').map(([, value]) => value)).toEqual([
      'before',
      'behind',
      'last',
    ]);
    expect(res.header('content-length')).toBe(String(res.body.length));
  });
});

describe('a held response', () => {
  it('is edited by any middleware', async () => {
    const upstream = await rawUpstream(byPath);
    const edit: Middleware = (req, res, next) => {
      const response = held(req, res);
      response.status = 202;
      response.headers.set('X-Edited', 'yes').delete('X-Upstream');
      response.body = { was: 200 };
      next();
    };
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      edit,
      sendResponse(),
    );
    const res = await rawRequest(port, GET);
    expect([res.status, res.header('x-edited'), res.body]).toEqual([202, 'yes', '{"was":200}']);
    expect(res.header('x-upstream')).toBeUndefined();
  });

  it('streams when it is sent: what came while it was held, and what comes after', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      write = (text) => socket.write(text);
      return 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n';
    });
    let write = (_text: string): unknown => undefined;
    let goOn = (): void => {};
    const { port, server } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      (_req, _res, next) => {
        goOn = next;
        server.emit('held');
      },
      sendResponse(),
    );
    const isHeld = once(server, 'held');
    const client = await rawClient(port, GET);
    await isHeld;
    expect(client.received()).toBe('');
    goOn();
    await client.until((text) => text.includes('first'));
    write('4\r\nlast\r\n0\r\n\r\n');
    await client.until((text) => text.endsWith('last\r\n0\r\n\r\n'));
  });

  it('holds the upstream back when it is large, and arrives whole', async () => {
    const upstream = await rawUpstream(
      Buffer.concat([
        Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n'),
        Buffer.alloc(5_000_000, 'x'),
      ]),
    );
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      (_req, _res, next) => setTimeout(next, 50),
      sendResponse(),
    );
    const res = await rawRequest(port, GET);
    expect(res.body).toBe('x'.repeat(5_000_000));
  });

  it('that breaks off before it is sent is an error, not a short answer', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken');
      return undefined;
    });
    const { errors, record } = recordErrors();
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      async (_req, _res, next) => {
        const [socket] = upstream.sockets;
        if (socket?.closed === false) await once(socket, 'close');
        setImmediate(next);
      },
      sendResponse(),
      record,
    );
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_RESET']);
  });

  it('gives way to that of another pipeline: the first is released', async () => {
    const first = await rawUpstream((request) =>
      request.startsWith('GET /200')
        ? byPath(request)
        : 'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n',
    );
    const second = await rawUpstream(
      'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nsecond upstream',
    );
    const { port } = await gateway(
      'express 5',
      proxyPass(first.url, { hold: true, connections: 1 }),
      (req, res, next) => next(held(req, res).status === 404 ? undefined : 'route'),
      proxyPass(second.url),
    );
    const res = await rawRequest(port, GET);
    expect([res.status, res.body]).toEqual([200, 'second upstream']);
    await eventually('the end of the call', () => isOver(first));
  });

  it('can be asked for again: a second proxyPass({ hold }) replaces it', async () => {
    const upstream = await rawUpstream(byPath);
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      (req, res, next) => {
        exchangeOf(req, res).path = '/203';
        next();
      },
      proxyPass(upstream.url, { hold: true }),
      sendResponse(),
    );
    const res = await rawRequest(port, GET.replace('/', '/404'));
    expect(res.status).toBe(203);
  });

  it('is released when an edit behind it fails; next(err) has the error, once', async () => {
    const upstream = await rawUpstream(
      (_request) => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n',
    );
    const reason = new Error('the edit failed');
    const { errors, record } = recordErrors();
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      modifyResponse(() => Promise.reject(reason)),
      sendResponse(),
      record,
    );
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(errors.map(({ code, cause }) => [code, cause])).toEqual([
      ['ERR_PROXY_MODIFY_RESPONSE', reason],
    ]);
    await eventually('the end of the call', () => isOver(upstream));
  });

  it('is there for HEAD, 204 and 304 as well', async () => {
    for (const [method, path] of [
      ['HEAD', '/200'],
      ['GET', '/204'],
      ['GET', '/304'],
    ] as const) {
      const upstream = await rawUpstream((request) =>
        byPath(request).replace(/Content-Length.*/s, '\r\n'),
      );
      const { port } = await gateway(
        'express 5',
        proxyPass(upstream.url, { hold: true }),
        (req, res, next) => {
          res.setHeader('X-Seen', held(req, res).status);
          next();
        },
        sendResponse(),
      );
      const res = await rawRequest(port, `${method} ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`);
      expect([res.status, res.header('x-seen')]).toEqual([Number(path.slice(1)), path.slice(1)]);
    }
  });

  it('is missed by sendResponse() in a sentence that says what to add', async () => {
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', sendResponse(), record);
    expect((await rawRequest(port, GET)).status).toBe(500);
    expect(errors[0]?.code).toBe('ERR_PROXY_NO_TARGET');
    expect(errors[0]?.message).toMatch(/proxyPass\(\{ hold: true \}\)/);
  });

  it('has no place on a bare server with nothing behind it', async () => {
    const upstream = await rawUpstream(byPath);
    const { port } = await gateway('node:http', proxyPass(upstream.url, { hold: true }));
    expect((await rawRequest(port, GET)).status).toBe(500);
  });

  it('leaves errors of the upstream to next(err) as ever', async () => {
    const upstream = await rawUpstream((_request, socket) => void socket.destroy());
    const { port } = await gateway(
      'express 5',
      proxyPass(upstream.url, { hold: true }),
      sendResponse(),
      proxyErrors(),
    );
    expect((await rawRequest(port, GET)).status).toBe(502);
  });
});

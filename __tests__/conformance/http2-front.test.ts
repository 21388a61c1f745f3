import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import {
  type ClientHttp2Session,
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
} from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';
import { beforeAll, describe, expect, it } from '@jest/globals';
import connect from 'connect';
import {
  exchangeOf,
  forwardedFor,
  type Handler,
  modifyResponse,
  type ProxyPassOptions,
  proxyErrors,
  proxyPass,
  reverseProxy,
  rewriteRedirects,
  stripHopHeaders,
  Upstream,
} from 'headrace';
import { type Authority, authority, type Certificate } from '../helpers/certificates.js';
import { frameUpload, http2Answer, http2Ask, http2Client } from '../helpers/http2.js';
import { onlyRequest, requestsOf } from '../helpers/requests.js';
import { closeAfter, listen, type Middleware, OK, rawUpstream, serve } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

/** What an upstream says to its own connection, or cannot say twice. */
const hopByHop = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

let ca: Authority;
let certificate: Certificate;

beforeAll(async () => {
  ca = await authority();
  certificate = await ca.issue('localhost');
});

interface Front {
  readonly server: Http2SecureServer;
  readonly port: number;
  readonly session: ClientHttp2Session;
}

/** A gateway with HTTP/2 before it, and a client of it. */
async function front(kind: 'connect' | 'bare', ...pieces: Middleware[]): Promise<Front> {
  const app = connect();
  for (const piece of pieces) app.use(piece as never);
  const [bare] = pieces;
  const handler = kind === 'connect' ? app : (bare as never);
  const server = createSecureServer({ ...certificate, allowHTTP1: true }, handler as never);
  server.on('sessionError', () => {});
  const port = await listen(server);
  const session = http2Client(`https://localhost:${port}`, { ca: ca.cert });
  return { server, port, session };
}

/** A proxy to a target, closed after the test. */
function pass(target: string, options: ProxyPassOptions = {}): Handler {
  const handler = proxyPass(target, options);
  closeAfter(() => handler.close());
  return handler;
}

describe.each(['connect', 'bare'] as const)('an HTTP/2 front (%s)', (kind) => {
  it('sends method, path, fields and body on, and no pseudo fields', async () => {
    const upstream = await rawUpstream();
    const { session } = await front(kind, pass(upstream.url));
    const headers = { ':method': 'PUT', ':path': '/a%2Fb?c', 'x-a': 'b', cookie: ['a=1', 'b=2'] };
    const res = await http2Ask(session, headers, 'body');
    expect([res.status, res.body]).toEqual([200, 'ok']);
    const { method, target, body, lines, headers: seen } = onlyRequest(upstream);
    expect([method, target, body]).toEqual(['PUT', '/a%2Fb?c', 'body']);
    expect([lines('x-a'), lines('cookie'), lines('host')]).toEqual([
      ['b'],
      ['a=1; b=2'],
      [new URL(upstream.url).host],
    ]);
    expect(seen.filter(([name]) => name.startsWith(':'))).toEqual([]);
  });

  it('sends a request without a body on as one', async () => {
    const upstream = await rawUpstream();
    const { session } = await front(kind, pass(upstream.url));
    for (const method of ['GET', 'POST', 'DELETE']) await http2Ask(session, { ':method': method });
    for (const { lines } of requestsOf(upstream)) {
      expect(lines('transfer-encoding')).toEqual([]);
    }
  });

  it('answers without connection fields, the lines of a name apart', async () => {
    const fields =
      'Connection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c';
    const upstream = await rawUpstream(
      Buffer.from(
        `HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n${fields}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-B: \xe9\r\n\r\nok`,
        'latin1',
      ),
    );
    const { session } = await front(kind, pass(upstream.url));
    const { status, headers, body } = await http2Ask(session);
    expect([status, body, headers['set-cookie'], headers['x-b']]).toEqual([
      299,
      'ok',
      ['a=1', 'b=2'],
      '\xe9',
    ]);
    const gone = ['connection', 'keep-alive', 'x-gone', 'upgrade', 'transfer-encoding'];
    expect(Object.keys(headers).filter((name) => gone.includes(name))).toEqual([]);
  });

  it('answers without fields that it has no use for, whatever is kept', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n',
    );
    const strip = stripHopHeaders({ keep: ['proxy-connection', 'proxy-authenticate'] });
    const next = pass(upstream.url);
    const both: Handler = (req, res) => strip(req, res, () => next(req, res));
    const { session } = await front(kind, both);
    const { status, headers } = await http2Ask(session);
    expect([status, headers['proxy-authenticate']]).toEqual([200, 'Basic']);
    expect(headers).not.toHaveProperty('proxy-connection');
  });

  it('answers with one line of what HTTP/2 may have no more of, and with all lines of the rest', async () => {
    const names = Object.entries(constants)
      .filter(([key]) => /^HTTP2_HEADER_[A-Z]/.test(key))
      .map(([, name]) => String(name))
      .filter((name) => /^[a-z]/.test(name) && !hopByHop.has(name));
    const upstream = await rawUpstream((request) => {
      const [, name] = /^GET \/(\S*)/.exec(request) ?? [];
      return `HTTP/1.1 200 OK\r\nX-Many: 1\r\nX-Many: 2\r\n${name}: a\r\n${name}: b\r\nContent-Length: 2\r\n\r\nok`;
    });
    const { session } = await front(kind, pass(upstream.url));
    expect(names).toEqual(expect.arrayContaining(['date', 'etag', 'x-content-type-options']));
    for (const name of names) {
      const { status, headers, body } = await http2Ask(session, { ':path': `/${name}` });
      expect([name, status, body, headers['x-many']]).toEqual([name, 200, 'ok', '1, 2']);
      if (name === 'date') expect(headers.date).toBe('a');
    }
  });

  it('answers with an error, and a date of its own, when middleware has set what cannot be written', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok',
    );
    const proxy = pass(upstream.url);
    const { session } = await front(kind, ((req, res, next) => {
      if (req.url === '/bad') res.setHeader('ETag', ['a', 'b']);
      proxy(req, res, next);
    }) as Handler);
    const { status, headers } = await http2Ask(session, { ':path': '/bad' });
    expect(status).toBe(502);
    expect(Date.parse(String(headers.date))).toBeGreaterThan(Date.now() - 60_000);
    expect((await http2Ask(session)).body).toBe('ok');
  });

  it('answers HEAD, 204 and 304 without a body', async () => {
    const upstream = await rawUpstream((request) =>
      request.startsWith('HEAD')
        ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'
        : `HTTP/1.1 ${request.slice(5, 8)} X\r\nETag: "a"\r\n\r\n`,
    );
    const { session } = await front(kind, pass(upstream.url));
    const head = await http2Ask(session, { ':method': 'HEAD' });
    expect([head.status, head.headers['content-length'], head.body]).toEqual([200, '5', '']);
    for (const status of [204, 304]) {
      const res = await http2Ask(session, { ':path': `/${status}` });
      expect([res.status, res.headers.etag, res.body, res.code]).toEqual([status, '"a"', '', 0]);
    }
  });

  it('completes with HEAD, 204, 205 and 304, and is not in flight any more', async () => {
    const upstream = await rawUpstream((request) =>
      request.startsWith('HEAD')
        ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'
        : `HTTP/1.1 ${request.slice(5, 8)} X\r\nContent-Length: ${request.startsWith('GET /205') ? 2 : 0}\r\n\r\n`,
    );
    const outcomes: string[] = [];
    const target = new Upstream(upstream.url);
    closeAfter(() => target.close());
    const handler = pass(upstream.url);
    const { session } = await front(kind, ((req, res, next) => {
      const exchange = exchangeOf(req, res);
      exchange.lease(target);
      exchange.onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      handler(req, res, next);
    }) as Handler);
    const asked: [method: string, path: string, status: number][] = [
      ['HEAD', '/', 200],
      ['GET', '/204', 204],
      ['GET', '/205', 205],
      ['GET', '/304', 304],
    ];
    for (const [i, [method, path, status]] of asked.entries()) {
      const res = await http2Ask(session, { ':method': method, ':path': path });
      expect([res.status, res.body, res.code]).toEqual([status, '', 0]);
      await eventually('the outcome', () => outcomes.length === i + 1);
    }
    expect([outcomes, target.inFlight]).toEqual([Array(4).fill('completed'), 0]);
  });

  it('ends the call upstream when the client resets a HEAD', async () => {
    const upstream = await rawUpstream(() => undefined);
    const outcomes: string[] = [];
    const handler = pass(upstream.url);
    const { session } = await front(kind, ((req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      handler(req, res, next);
    }) as Handler);
    const stream = session.request({ ':method': 'HEAD', ':path': '/' });
    stream.on('error', () => {});
    await eventually('the request upstream', () => upstream.received() !== '');
    stream.close(NGHTTP2_CANCEL);
    await eventually('the outcome', () => outcomes.length > 0);
    expect(outcomes).toEqual(['client-closed']);
    await eventually('the end of the call', () => upstream.sockets[0]?.destroyed === true);
  });

  it('passes interim responses and trailers, with all lines of a name in whatever case', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\nETag: "a"\r\nETag: "b"\r\nConnection: x\r\n\r\n' +
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n' +
        '2\r\nok\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\nX-SUM: 3\r\nETag: "c"\r\nETag: "d"\r\n\r\n',
    );
    const { session } = await front(kind, pass(upstream.url));
    const { interims, body, trailers } = await http2Ask(session);
    expect(interims).toMatchObject([{ ':status': 103, link: '</a>, </b>', etag: '"a"' }]);
    expect(interims[0]).not.toHaveProperty('connection');
    expect([body, trailers]).toMatchObject(['ok', { 'x-sum': '1, 2, 3', etag: '"c"' }]);
  });

  it('ends an answer in the middle with an error when the upstream does', async () => {
    const part = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n';
    const untilClose = 'HTTP/1.1 200 OK\r\n\r\nhalf';
    for (const bytes of [part, untilClose]) {
      const upstream = await rawUpstream(bytes);
      const { session } = await front(kind, pass(upstream.url));
      const stream = session.request({ ':path': '/' });
      const answer = http2Answer(stream);
      await once(stream, 'data');
      if (bytes === part) upstream.sockets[0]?.destroy();
      else upstream.sockets[0]?.resetAndDestroy();
      const { body, code } = await answer;
      expect([body, code]).toEqual(['half', NGHTTP2_INTERNAL_ERROR]);
      expect(session.destroyed).toBe(false);
    }
  });

  it('ends the call upstream when the client resets its stream: waiting, uploading, downloading', async () => {
    const upstream = await rawUpstream((bytes) =>
      bytes.startsWith('GET /body')
        ? 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf'
        : undefined,
    );
    const outcomes: string[] = [];
    const handler = pass(upstream.url);
    const { session } = await front(kind, ((req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      handler(req, res, next);
    }) as Handler);
    const open = [
      { headers: { ':path': '/wait' }, until: () => upstream.received().includes('/wait') },
      {
        headers: { ':path': '/up', ':method': 'PUT' },
        until: () => upstream.received().includes('some'),
      },
      { headers: { ':path': '/body' }, until: (read: number) => read > 0 },
    ];
    for (const [i, { headers, until }] of open.entries()) {
      const stream = session.request(headers, { endStream: i !== 1 });
      stream.on('error', () => {});
      if (i === 1) stream.write('some');
      let read = 0;
      stream.on('data', ({ length }) => {
        read += length;
      });
      await eventually('the request upstream', () => until(read));
      stream.destroy(new Error('enough'));
      await eventually('the end of the call', () => upstream.sockets.at(-1)?.destroyed === true);
      await eventually('the outcome', () => outcomes.length === i + 1);
    }
    expect(outcomes).toEqual(Array(3).fill('client-closed'));
    expect(session.destroyed).toBe(false);
  });

  it('holds an upstream back for a stream that is not read, and other streams go on', async () => {
    let sent = 0;
    const upstream = await serve((req, res) => {
      if (req.url !== '/slow') return void res.end('ok');
      const chunk = Buffer.alloc(65_536);
      const more = () => {
        while (sent < 100_000_000) {
          sent += chunk.length;
          if (!res.write(chunk)) return;
        }
      };
      res.on('drain', more);
      more();
    });
    const { session } = await front(kind, pass(upstream.url));
    const slow = session.request({ ':path': '/slow' });
    slow.on('error', () => {});
    await once(slow, 'response');
    await settled(() => sent);
    expect(sent).toBeLessThan(25_000_000);
    expect((await http2Ask(session, { ':path': '/other' })).body).toBe('ok');
    const closed = once(slow, 'close');
    slow.close(NGHTTP2_CANCEL);
    await closed;
  });

  it('holds a client back whose upload nobody reads, and other streams go on', async () => {
    const upstream = await rawUpstream((_bytes, socket) => {
      socket.write(OK);
      return undefined;
    });
    const { session } = await front(kind, pass(upstream.url));
    await http2Ask(session);
    upstream.sockets[0]?.on('data', () => upstream.sockets[0]?.pause());
    const stream = session.request({ ':method': 'PUT', ':path': '/up' });
    stream.on('error', () => {});
    let taken = 0;
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      taken += chunk.length;
      if (taken < 50_000_000) stream.write(chunk, more);
    };
    more();
    await settled(() => taken);
    expect(taken).toBeLessThan(25_000_000);
    expect((await http2Ask(session)).body).toBe('ok');
    stream.destroy();
  });

  it('answers errors as streams of their own', async () => {
    const { session } = await front(kind, pass('http://127.0.0.1:1'));
    for (const body of [undefined, 'body']) {
      const { status, headers } = await http2Ask(session, { ':method': 'POST' }, body);
      expect([status, headers.connection]).toEqual([502, undefined]);
    }
    expect(session.destroyed).toBe(false);
  });

  it('serves clients of HTTP/1.1 on the same port', async () => {
    const upstream = await rawUpstream();
    const { port } = await front(kind, pass(upstream.url));
    const agent = new Agent({ ca: ca.cert, keepAlive: true });
    closeAfter(() => agent.destroy());
    for (const path of ['/1', '/2']) {
      const sent = httpsRequest({ host: 'localhost', port, path, agent, method: 'PUT' });
      sent.end('body');
      const [res] = (await once(sent, 'response')) as [IncomingMessage];
      expect([res.statusCode, res.httpVersion]).toEqual([200, '1.1']);
      res.resume();
      await once(res, 'end');
    }
    expect(requestsOf(upstream).map(({ target, body }) => [target, body])).toEqual([
      ['/1', 'body'],
      ['/2', 'body'],
    ]);
  });
});

describe('pieces behind an HTTP/2 front', () => {
  it('break a stream off, and nothing else, when the answer to an error cannot be written', async () => {
    const failing = pass('http://127.0.0.1:1');
    const { session } = await front('bare', ((req, res) =>
      failing(req, res, () => {
        res.setHeader('ETag', ['a', 'b']);
        res.end();
      })) as Handler);
    const { status, code } = await http2Ask(session);
    expect([status, code]).toEqual([0, NGHTTP2_INTERNAL_ERROR]);
    expect(session.destroyed).toBe(false);
  });

  it('know the authority as the host, and https', async () => {
    const upstream = await rawUpstream();
    const fields = [
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-proto',
      'forwarded',
    ] as const;
    const { session } = await front(
      'connect',
      forwardedFor({ headers: fields }),
      pass(upstream.url, { host: 'client' }),
    );
    await http2Ask(session, { ':authority': 'shop.example', 'x-forwarded-host': 'forged.example' });
    const { lines } = onlyRequest(upstream);
    expect(['host', 'via', ...fields].map((name) => lines(name))).toEqual([
      ['shop.example'],
      ['2 headrace'],
      ['127.0.0.1'],
      ['shop.example'],
      ['https'],
      ['for=127.0.0.1;host=shop.example;proto=https'],
    ]);
  });

  it('edit what comes back, bodies, redirects and errors', async () => {
    const upstream = await serve((req, res) => {
      if (req.url === '/there') res.writeHead(302, { Location: `http://${req.headers.host}/x` });
      res.end('body');
    });
    const { session } = await front(
      'connect',
      rewriteRedirects(),
      modifyResponse(async (response) => {
        response.headers.set('x-proxy', 'magical');
        response.body = (await response.text()).toUpperCase();
      }),
      pass(upstream.url),
      proxyErrors(),
    );
    const { headers, body } = await http2Ask(session, { ':authority': 'shop.example' });
    expect([headers['x-proxy'], headers['content-length'], body]).toEqual(['magical', '4', 'BODY']);
    const { headers: moved } = await http2Ask(session, {
      ':authority': 'shop.example',
      ':path': '/there',
    });
    expect(moved.location).toBe('https://shop.example/x');
  });

  it('are there all at once in reverseProxy, its answer to errors too', async () => {
    const proxy = reverseProxy({ upstreams: ['http://127.0.0.1:1'] });
    closeAfter(() => proxy.close());
    const { session } = await front('connect', proxy, proxyErrors());
    const { status, headers } = await http2Ask(session, { accept: 'application/json' });
    expect([status, headers['content-type']]).toEqual([502, 'application/problem+json']);
  });

  it('answer an upload early, and the stream ends', async () => {
    const upstream = await rawUpstream((bytes, socket) => {
      if (bytes.length > 0) socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!');
      return undefined;
    });
    const { session } = await front('connect', pass(upstream.url, { maxBodyBytes: 10 }));
    const { status } = await http2Ask(session, { ':method': 'PUT' }, Buffer.alloc(1_000_000));
    expect(status).toBe(413);
    expect(
      (await http2Ask(session, { ':method': 'PUT', 'content-length': '99' }, Buffer.alloc(99)))
        .status,
    ).toBe(413);
  });

  it.each([
    ['for longer than two seconds', 0],
    ['than a mebibyte of it', 50_000_000],
  ])('answer an upload early, and do not take more %s', async (_what, more) => {
    const upstream = await rawUpstream(() => undefined);
    const outcomes: string[] = [];
    const handler = pass(upstream.url, { maxBodyBytes: 10 });
    const { session } = await front(
      'connect',
      ((req, res, next) => {
        exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
        handler(req, res, next);
      }) as Handler,
      proxyErrors(),
    );
    const stream = session.request({ ':method': 'PUT', ':path': '/' });
    const answer = http2Answer(stream);
    const ended = once(stream, 'end');
    stream.write(Buffer.alloc(11));
    await ended;
    let taken = 0;
    const write = (): void => {
      if (taken >= more || stream.closed) return;
      stream.write(Buffer.alloc(65_536), write);
      taken += 65_536;
    };
    write();
    const { status, code } = await answer;
    expect([status, code]).toEqual([413, NGHTTP2_NO_ERROR]);
    expect(taken).toBeLessThanOrEqual(more / 2);
    await eventually('the outcome', () => outcomes.length === 1);
    expect(session.destroyed).toBe(false);
  });

  it('send nothing for a client that has gone while a middleware took its time', async () => {
    const upstream = await rawUpstream();
    const outcomes: string[] = [];
    let goOn: () => void = () => {};
    const asked = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const slow: Handler = (req, res, next) => {
      res.once('close', () => {
        next?.();
        exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      });
      goOn();
    };
    const { session } = await front('connect', slow, pass(upstream.url));
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => {});
    await asked;
    stream.destroy();
    await eventually('the outcome', () => outcomes.length > 0);
    expect(outcomes).toEqual(['client-closed']);
    expect(upstream.received()).toBe('');
  });

  it('send a body that a parser has read', async () => {
    const upstream = await rawUpstream();
    const parse: Handler = (req, _res, next) => {
      let text = '';
      req.on('data', (chunk: Buffer) => {
        text += chunk;
      });
      req.on('end', () => {
        (req as IncomingMessage & { body: unknown }).body = JSON.parse(text);
        next?.();
      });
    };
    const { session } = await front('connect', parse as Handler, pass(upstream.url));
    const headers = { ':method': 'POST', 'content-type': 'application/json' };
    await http2Ask(session, headers, '{ "a": 1 }');
    expect(onlyRequest(upstream).body).toBe('{"a":1}');
  });
});

describe('an upload over HTTP/2 whose stream is reset', () => {
  it.each([constants.NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR])(
    'has not come to its end for the upstream: code %i',
    async (code) => {
      const upstream = await rawUpstream(() => undefined);
      const server = createServer(pass(upstream.url) as never);
      const client = await frameUpload(await listen(server), 'the first half');
      await eventually('the upload', () => upstream.received().includes('the first half'));
      client.reset(1, code);
      await eventually('its end', () => upstream.sockets[0]?.destroyed === true);
      expect(upstream.received()).not.toContain('\r\n0\r\n');
    },
  );
});

import { once } from 'node:events';
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createNetServer } from 'node:net';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { exchangeOf, type Handler, type ProxyPassOptions, proxyPass, rewriteUrl } from 'headrace';
import { type Authority, authority, type Certificate } from '../helpers/certificates.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import {
  type Answer,
  echo,
  type FrameConnection,
  frameUpstream,
  type Http2Upstream,
  http2Upstream,
  MAX_CONCURRENT_STREAMS,
  type OnStream,
} from '../helpers/http2.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, gateway, listen } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } =
  constants;

let ca: Authority;
let certificate: Certificate;

beforeAll(async () => {
  ca = await authority();
  certificate = await ca.issue('localhost');
});

const get = (path = '/path') => `GET ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`;
const post = (body: string, path = '/path') =>
  `POST ${path} HTTP/1.1\r\nHost: gateway\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A gateway in front of an upstream, and the errors it has passed on. */
async function proxied(
  target: string,
  options: ProxyPassOptions = {},
): Promise<{ port: number; codes: () => string[] }> {
  const { errors, record } = recordErrors();
  const pass = proxyPass(target, { http2: true, ...options });
  closeAfter(() => pass.close());
  const { port } = await gateway('express 5', pass, record);
  return { port, codes: () => errors.map(({ code }) => code) };
}

/** A gateway before an HTTP/2 server that answers so. */
async function secure(
  answer: Answer,
  options: ProxyPassOptions = {},
): Promise<Http2Upstream & { through: number; codes: () => string[] }> {
  const upstream = await http2Upstream(answer, certificate);
  const { port, codes } = await proxied(`https://localhost:${upstream.port}`, {
    tls: { ca: ca.cert },
    ...options,
  });
  return { ...upstream, through: port, codes };
}

/** A gateway before a server of frames. */
async function framed(
  onStream: OnStream,
  settings: Record<number, number> = {},
  options: ProxyPassOptions = {},
): Promise<Awaited<ReturnType<typeof frameUpstream>> & { through: number; codes: () => string[] }> {
  const upstream = await frameUpstream(onStream, settings);
  const { port, codes } = await proxied(`http://127.0.0.1:${upstream.port}`, {
    http2: 'prior-knowledge',
    ...options,
  });
  return { ...upstream, through: port, codes };
}

/** Answers with a head and a body. */
const respond =
  (body = 'ok', headers: OutgoingHttpHeaders = {}): Answer =>
  (stream) => {
    stream.respond({ ':status': 200, ...headers });
    stream.end(body);
  };

describe('an upstream that speaks HTTP/2', () => {
  it('is asked with pseudo fields, and without those of a connection', async () => {
    const upstream = await secure(echo);
    const fields = 'Connection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip';
    const res = await rawRequest(
      upstream.through,
      `POST /a%2Fb?c=d HTTP/1.1\r\nHost: gateway\r\n${fields}\r\nX-Kept: \xe9\r\nContent-Length: 4\r\n\r\nbody`,
    );
    expect(res.body).toBe(`POST /a%2Fb?c=d localhost:${upstream.port} body`);
    const {
      ':scheme': scheme,
      te,
      'x-kept': kept,
      'content-length': length,
    } = upstream.headers[0] ?? {};
    expect([scheme, te, kept, length]).toEqual(['https', 'trailers', '\xe9', '4']);
    const gone = ['host', 'connection', 'keep-alive', 'x-gone', 'transfer-encoding'];
    expect(Object.keys(upstream.headers[0] ?? {}).filter((name) => gone.includes(name))).toEqual(
      [],
    );
  });

  it('sees the Host that the client sent when it is to', async () => {
    const upstream = await secure(echo, { host: 'client' });
    expect((await rawRequest(upstream.through, get())).body).toBe('GET /path gateway ');
  });

  it('never gets what Node would send by its low bytes: that is 400, and not another path or line', async () => {
    const upstream = await http2Upstream(echo);
    const target = `http://127.0.0.1:${upstream.port}/public`;
    const pass = proxyPass(target, { http2: 'prior-knowledge' });
    closeAfter(() => pass.close());
    const { record, errors } = recordErrors();
    const user: Handler = (req, _res, next) => {
      if (req.headers['x-user']) req.headers['x-user'] = '\u010d\u010ax-admin: 1';
      next?.();
    };
    const { port } = await gateway('express 5', user, rewriteUrl(decodeURI), pass, record);
    // U+012E and U+012F end in the bytes of `.` and `/`, U+010D and U+010A in those of CR and LF.
    for (const path of ['/%C4%AE%C4%AE%C4%AFadmin/x', '/a%C4%8D%C4%8Ab', '/a?%20b']) {
      expect((await rawRequest(port, get(path))).status).toBe(400);
    }
    const named = get().replace('Host', 'X-User: ada\r\nHost');
    expect((await rawRequest(port, named)).status).toBe(400);
    expect(errors.map(({ code }) => code)).toEqual(Array(4).fill('ERR_PROXY_BAD_REQUEST'));
    expect(upstream.streams).toEqual([]);
    expect((await rawRequest(port, get('/%41'))).body).toContain('GET /public/A ');
  });

  it('keeps lines apart, and its trailers follow the body', async () => {
    const { through } = await secure((stream) => {
      const fields = { ':status': 203, 'set-cookie': ['a=1', 'b=2'], 'x-many': ['1', '2'] };
      stream.respond(fields, { waitForTrailers: true });
      stream.on('wantTrailers', () =>
        stream.sendTrailers({ 'x-sum': 'abc', 'content-type': 'a/b' }),
      );
      stream.end('body');
    });
    const res = await rawRequest(through, get());
    expect([res.status, res.reason]).toEqual([203, 'Non-Authoritative Information']);
    const values = (name: string) => res.headers.filter(([key]) => key === name).map(([, v]) => v);
    expect([values('set-cookie'), values('x-many')]).toEqual([
      ['a=1', 'b=2'],
      ['1', '2'],
    ]);
    expect([res.body, res.trailers]).toEqual(['body', [['x-sum', 'abc']]]);
  });

  it('has its trailers behind the whole body, though the client reads slowly', async () => {
    const size = 4_000_000;
    const { through } = await secure((stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }));
      stream.end(Buffer.alloc(size, 'x'));
    });
    const client = await rawClient(through, get());
    client.socket.pause();
    await settled(() => client.socket.bytesRead, 50);
    client.socket.resume();
    const text = await client.until((all) => all.includes('x-sum: abc'));
    expect(text.split('x').length).toBeGreaterThan(size);
  });

  it('passes interim responses, answers to HEAD, 204 and 304', async () => {
    const { through } = await secure((stream, headers) => {
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      const status = Number(headers[':path']?.slice(1));
      stream.respond({ ':status': status, 'x-there': 'yes' }, { endStream: true });
    });
    for (const [method, status] of [
      ['GET', 204],
      ['GET', 304],
      ['HEAD', 200],
    ]) {
      const client = await rawClient(through, get(`/${status}`).replace('GET', String(method)));
      const text = await client.until((all) => all.includes('x-there: yes\r\n'));
      expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\n/);
      expect(text).toContain(`HTTP/1.1 ${status} `);
    }
  });

  it('gets many requests on one connection, uploads among them, at the same time', async () => {
    const waiting: ServerHttp2Stream[] = [];
    const { through, sessions } = await secure((stream) => {
      stream.resume();
      waiting.push(stream);
      if (waiting.length < 20) return;
      for (const one of waiting) {
        one.respond({ ':status': 200 });
        one.end('ok');
      }
    });
    const requests = Array.from({ length: 20 }, (_, i) => (i % 2 ? get() : post('some text')));
    const answers = await Promise.all(requests.map((bytes) => rawRequest(through, bytes)));
    expect(answers.map(({ body }) => body)).toEqual(Array(20).fill('ok'));
    expect(sessions).toHaveLength(1);
  });

  it('that takes only so many streams gets no more, and more connections as far as they are allowed', async () => {
    const busy: number[] = [0, 0];
    let most = 0;
    const sessions: unknown[] = [];
    const upstream = await http2Upstream(
      (stream, _headers, session) => {
        if (!sessions.includes(session)) sessions.push(session);
        const at = sessions.indexOf(session);
        busy[at] = (busy[at] ?? 0) + 1;
        most = Math.max(most, busy[at] ?? 0);
        setImmediate(() => {
          busy[at] = (busy[at] ?? 0) - 1;
          stream.respond({ ':status': 200 });
          stream.end('ok');
        });
      },
      { ...certificate, settings: { maxConcurrentStreams: 2 } },
    );
    const { port } = await proxied(`https://localhost:${upstream.port}`, {
      tls: { ca: ca.cert },
      connections: 2,
    });
    const answers = await Promise.all(Array.from({ length: 30 }, () => rawRequest(port, get())));
    expect(answers.map(({ status }) => status)).toEqual(Array(30).fill(200));
    expect(sessions).toHaveLength(2);
    expect(most).toBe(2);
  });

  it('holds an upload back that it does not read', async () => {
    const { through, streams } = await secure(() => {});
    const client = await rawClient(
      through,
      'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n',
    );
    const chunk = Buffer.alloc(65_536);
    const more = () => {
      while (client.socket.write(chunk));
    };
    client.socket.on('drain', more);
    more();
    const held = await settled(() => client.socket.bytesWritten);
    expect(held).toBeLessThan(25_000_000);
    expect(streams).toHaveLength(1);
  });

  it('holds its answer back while the client does not read, and others go on meanwhile', async () => {
    let sent = 0;
    const { through, sessions } = await secure((stream, headers) => {
      stream.respond({ ':status': 200 });
      if (headers[':path'] === '/other') return void stream.end('ok');
      const chunk = Buffer.alloc(65_536);
      const more = () => {
        while (sent < 100_000_000) {
          sent += chunk.length;
          if (!stream.write(chunk)) return;
        }
      };
      stream.on('drain', more);
      more();
    });
    const slow = await rawClient(through, get('/slow'));
    await slow.until((all) => all.length > 0);
    slow.socket.pause();
    await settled(() => sent);
    expect(sent).toBeLessThan(25_000_000);
    expect((await rawRequest(through, get('/other'))).body).toBe('ok');
    expect(sessions).toHaveLength(1);
  });

  it('hears of a client that leaves as a reset of the stream, never as the end of an upload', async () => {
    const { through, server, streams, sessions } = await secure((stream, headers) => {
      if (headers[':path'] === '/other') return respond()(stream, headers, stream.session as never);
      stream.resume();
      stream.on('end', () => server.emit('ended', stream.rstCode));
      stream.once('data', () => server.emit('begun'));
    });
    let ended = NGHTTP2_CANCEL;
    server.on('ended', (code) => {
      ended = code;
    });
    const begun = once(server, 'begun');
    const client = await rawClient(
      through,
      'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nhalf',
    );
    await begun;
    const [stream] = streams;
    const closed = once(stream as ServerHttp2Stream, 'close');
    client.socket.destroy();
    await closed;
    expect([stream?.rstCode, stream?.aborted, ended]).toEqual([
      NGHTTP2_CANCEL,
      true,
      NGHTTP2_CANCEL,
    ]);
    expect((await rawRequest(through, get('/other'))).body).toBe('ok');
    expect(sessions).toHaveLength(1);
  });

  it('can answer before an upload is over, which then stops', async () => {
    const { through, streams } = await secure((stream) => {
      stream.respond({ ':status': 413 });
      stream.end('too much');
    });
    const client = await rawClient(
      through,
      'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nhalf',
    );
    const text = await client.until((all) => all.includes('too much'));
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    await eventually('the end of the stream', () => streams[0]?.destroyed === true);
  });

  it('that takes too long is 504, and is asked on another connection from then on', async () => {
    const upstream = await secure(
      (stream, headers) => {
        if (headers[':path'] !== '/slow') respond()(stream, headers, stream.session as never);
      },
      { headersTimeoutMs: 50 },
    );
    expect((await rawRequest(upstream.through, get())).status).toBe(200);
    expect((await rawRequest(upstream.through, get('/slow'))).status).toBe(504);
    expect(upstream.codes()).toEqual(['ERR_PROXY_HEADERS_TIMEOUT']);
    expect((await rawRequest(upstream.through, get())).status).toBe(200);
    expect(upstream.sessions).toHaveLength(2);
  });

  it('that stops in the middle of a body breaks the connection of the client in time', async () => {
    const { through } = await secure(
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('half');
      },
      { bodyTimeoutMs: 50 },
    );
    const client = await rawClient(through, get());
    const text = await client.closed();
    expect(text).toContain('half');
    expect(text).not.toContain('\r\n0\r\n');
  });

  it('is not to blame for a client that does not read: that is 408, and its own fault', async () => {
    const upstream = await http2Upstream(respond('x'.repeat(8_000_000)), certificate);
    const pass = proxyPass(`https://localhost:${upstream.port}`, {
      http2: true,
      tls: { ca: ca.cert },
      bodyTimeoutMs: 100,
    });
    closeAfter(() => pass.close());
    const ended = new Promise<unknown>((resolve) => {
      const watch: Handler = (req, res, next) => {
        exchangeOf(req, res).onOutcome(({ outcome }) => resolve(outcome?.error));
        next?.();
      };
      void gateway('express 5', watch, pass).then(async ({ port }) => {
        const client = await rawClient(port, get());
        client.socket.pause();
      }, resolve);
    });
    expect(await ended).toMatchObject({ code: 'ERR_PROXY_BODY_TIMEOUT', status: 408 });
  });

  it('is not to blame for a client that stops in its upload: that is 408, and others go on', async () => {
    const upstream = await secure(
      (stream, headers) => {
        stream.resume();
        if (headers[':method'] === 'GET') respond()(stream, headers, stream.session as never);
      },
      { headersTimeoutMs: 40, bodyTimeoutMs: 200 },
    );
    const fields = 'Host: gateway\r\nContent-Length: 9';
    const slow = rawRequest(upstream.through, `PUT / HTTP/1.1\r\n${fields}\r\n\r\nhalf`);
    await eventually('the stream', () => upstream.streams.length === 1);
    expect((await slow).status).toBe(408);
    expect(upstream.codes()).toEqual(['ERR_PROXY_BODY_TIMEOUT']);
    expect((await rawRequest(upstream.through, get())).status).toBe(200);
    expect(upstream.sessions).toHaveLength(1);
  });

  it('that does not take an upload is 504, though the client has more of it', async () => {
    const upstream = await secure(() => {}, { headersTimeoutMs: 50, bodyTimeoutMs: 2_000 });
    const client = await rawClient(
      upstream.through,
      `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n${'x'.repeat(2_000_000)}`,
    );
    expect(await client.until((all) => all.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 504 /);
    expect(upstream.codes()).toEqual(['ERR_PROXY_HEADERS_TIMEOUT']);
  });

  it('with a head that is too long, or of too many fields, is 502', async () => {
    const fields = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`x-${i}`, 'v']));
    const { through, codes } = await secure((stream, headers) => {
      const long = headers[':path'] === '/long';
      stream.respond({ ':status': 200, ...(long ? { 'x-long': 'x'.repeat(20_000) } : fields) });
      stream.end();
    });
    expect((await rawRequest(through, get('/long'))).status).toBe(502);
    expect((await rawRequest(through, get('/many'))).status).toBe(502);
    expect(codes()).toEqual(['ERR_PROXY_BAD_RESPONSE', 'ERR_PROXY_BAD_RESPONSE']);
  });

  it('is let go of when it has been idle for long enough', async () => {
    const { through, server } = await secure(respond(), { keepAliveMs: 50 });
    server.once('session', (session) => session.once('close', () => server.emit('let go')));
    const gone = once(server, 'let go');
    await rawRequest(through, get());
    await gone;
    expect((await rawRequest(through, get())).status).toBe(200);
  });

  it('is closed with the pipeline, behind what is in flight', async () => {
    const streams: ServerHttp2Stream[] = [];
    const upstream = await http2Upstream((stream) => {
      streams.push(stream);
      upstream.server.emit('asked');
    }, certificate);
    const pass = proxyPass(`https://localhost:${upstream.port}`, {
      http2: true,
      tls: { ca: ca.cert },
    });
    const { port } = await gateway('express 5', pass);
    const asked = once(upstream.server, 'asked');
    const answer = rawRequest(port, get());
    await asked;
    const closed = pass.close();
    streams[0]?.respond({ ':status': 200 });
    streams[0]?.end('whole');
    expect((await answer).body).toBe('whole');
    await closed;
  });
});

describe('what upstreams choose', () => {
  it('HTTP/1.1 is spoken to one that knows nothing else', async () => {
    const server = createHttpsServer(certificate, (req, res) => {
      res.end(`${req.httpVersion} ${req.url}`);
    });
    const { port } = await proxied(`https://localhost:${await listen(server)}`, {
      tls: { ca: ca.cert },
    });
    const answers = await Promise.all(['/a', '/b'].map((path) => rawRequest(port, get(path))));
    expect(answers.map(({ body }) => body)).toEqual(['1.1 /a', '1.1 /b']);
    expect((await rawRequest(port, post('x', '/c'))).body).toBe('1.1 /c');
  });

  it('HTTP/1.1 is spoken without TLS, unless HTTP/2 is known to be there', async () => {
    const { port: plain } = await gateway('node:http', (req, res) => res.end(req.httpVersion));
    const one = await proxied(`http://127.0.0.1:${plain}`);
    expect((await rawRequest(one.port, get())).body).toBe('1.1');

    const h2c = await http2Upstream(echo);
    const two = await proxied(`http://127.0.0.1:${h2c.port}`, { http2: 'prior-knowledge' });
    const { body } = await rawRequest(two.port, post('body'));
    expect(body).toBe(`POST /path 127.0.0.1:${h2c.port} body`);
    expect(h2c.headers[0]?.[':scheme']).toBe('http');
  });

  it('one that does not speak the HTTP/2 it is known for is 502', async () => {
    const https = createHttpsServer(certificate, (_req, res) => res.end());
    const { port: plain } = await gateway('node:http', (_req, res) => res.end());
    for (const target of [
      `https://localhost:${await listen(https)}`,
      `http://127.0.0.1:${plain}`,
    ]) {
      const { port, codes } = await proxied(target, {
        http2: 'prior-knowledge',
        tls: { ca: ca.cert },
      });
      expect((await rawRequest(port, get())).status).toBe(502);
      expect(codes()).toEqual(['ERR_PROXY_CONNECT']);
    }
  });

  it('one that is not trusted is 502, and one that is not there', async () => {
    const upstream = await http2Upstream(respond(), certificate);
    for (const target of [`https://localhost:${upstream.port}`, 'https://127.0.0.1:1']) {
      const { port, codes } = await proxied(target);
      expect((await rawRequest(port, get())).status).toBe(502);
      expect((await rawRequest(port, post('x'))).status).toBe(502);
      expect(codes()).toEqual(['ERR_PROXY_CONNECT', 'ERR_PROXY_CONNECT']);
    }
    expect(upstream.streams).toEqual([]);
  });

  it('one that accepts and says nothing is 504', async () => {
    const server = createNetServer((socket) => void socket.on('error', () => {}).resume());
    const { port, codes } = await proxied(`http://127.0.0.1:${await listen(server)}`, {
      http2: 'prior-knowledge',
      connectTimeoutMs: 50,
    });
    expect((await rawRequest(port, get())).status).toBe(504);
    expect(codes()).toEqual(['ERR_PROXY_CONNECT_TIMEOUT']);
  });
});

describe('an HTTP/2 upstream that lets no streams be opened', () => {
  const none = { [MAX_CONCURRENT_STREAMS]: 0 };
  const answer: OnStream = (connection, id) => connection.head(id, true);

  it('is asked on one connection, for as long as a connection may take', async () => {
    const { through, connections, codes } = await framed(answer, none, { connectTimeoutMs: 100 });
    const statuses = [get('/1'), get('/2')].map(
      async (bytes) => (await rawRequest(through, bytes)).status,
    );
    expect(await Promise.all(statuses)).toEqual([504, 504]);
    expect(codes()).toEqual(['ERR_PROXY_CONNECT_TIMEOUT', 'ERR_PROXY_CONNECT_TIMEOUT']);
    expect(connections.map(({ ids }) => ids)).toEqual([[]]);
  });

  it('gets what waits as soon as it does', async () => {
    const { through, connections } = await framed(answer, none);
    const answered = rawRequest(through, get());
    await eventually('a connection', () => connections.length === 1);
    connections[0]?.allow(1);
    expect((await answered).status).toBe(200);
    expect(connections.map(({ ids }) => ids)).toEqual([[1]]);
  });

  it('goes away without a look at an upload, and takes no other: it was never sent', async () => {
    const { through, connections, codes } = await framed(({ goaway }) => goaway(0), none, {
      connectTimeoutMs: 100,
    });
    const answered = rawRequest(through, post('body'));
    await eventually('a connection', () => connections.length === 1);
    connections[0]?.allow(1);
    expect((await answered).status).toBe(502);
    expect(codes()).toEqual(['ERR_PROXY_CONNECT']);
    expect(connections.map(({ ids }) => ids)).toEqual([[1], []]);
  });
});

describe('an HTTP/2 upstream that goes away', () => {
  it.each([
    ['GET', get()],
    ['POST without a body', post('')],
  ])('refuses a stream, and a %s is sent once more', async (_, bytes) => {
    const { through, connections } = await framed((connection, id) => {
      if (connections.length === 1 && id === 1) {
        return connection.reset(id, NGHTTP2_REFUSED_STREAM);
      }
      connection.head(id);
      connection.data(id, 'second', true);
    });
    expect((await rawRequest(through, bytes)).body).toBe('second');
    expect(connections).toHaveLength(2);
  });

  it('refuses again and again: 502 after the second time', async () => {
    const { through, connections, codes } = await framed((connection, id) =>
      connection.reset(id, NGHTTP2_REFUSED_STREAM),
    );
    expect((await rawRequest(through, get())).status).toBe(502);
    expect(codes()).toEqual(['ERR_PROXY_CONNECT']);
    expect(connections.flatMap(({ ids }) => ids)).toHaveLength(2);
  });

  it('says so: what it has taken is finished, what it has not goes elsewhere', async () => {
    const { through, connections } = await framed((connection, id) => {
      if (connections.length > 1) {
        connection.head(id);
        connection.data(id, 'elsewhere', true);
      } else if (id === 5) {
        connection.goaway(3);
        for (const taken of [1, 3]) {
          connection.head(taken);
          connection.data(taken, 'taken', true);
        }
      }
    });
    const answers = await Promise.all(
      [get('/1'), post('', '/2'), get('/3')].map((bytes) => rawRequest(through, bytes)),
    );
    expect(answers.map(({ body }) => body).sort()).toEqual(['elsewhere', 'taken', 'taken']);
    expect(connections.map(({ ids }) => ids)).toEqual([[1, 3, 5], [1]]);
    expect((await rawRequest(through, get())).body).toBe('elsewhere');
    expect(connections).toHaveLength(2);
  });

  it('dies under an idle connection: a GET is sent once more, a POST is not', async () => {
    const { through, connections, codes } = await framed((connection, id) => {
      if (id > 1) return void connection.socket.destroy();
      connection.head(id);
      connection.data(id, 'ok', true);
    });
    expect((await rawRequest(through, get())).body).toBe('ok');
    expect((await rawRequest(through, get())).body).toBe('ok');
    expect(connections).toHaveLength(2);
    expect((await rawRequest(through, post(''))).status).toBe(502);
    expect(codes()).toEqual(['ERR_PROXY_RESET']);
    expect(connections).toHaveLength(2);
  });

  it('fails a request by itself: it is not asked a second time', async () => {
    const { through, connections, codes } = await framed((connection, id) => {
      connection.reset(id, NGHTTP2_INTERNAL_ERROR);
    });
    expect((await rawRequest(through, get())).status).toBe(502);
    expect(codes()).toEqual(['ERR_PROXY_RESET']);
    expect(connections.flatMap(({ ids }) => ids)).toEqual([1]);
  });

  it.each<[string, OnStream]>([
    ['with an error', (connection, id) => connection.reset(id, NGHTTP2_INTERNAL_ERROR)],
    ['with a cancellation', (connection, id) => connection.reset(id, NGHTTP2_CANCEL)],
    ['without an error', (connection, id) => connection.reset(id, NGHTTP2_NO_ERROR)],
    ['with its connection', (connection) => void connection.socket.end()],
    ['with a reset of its connection', (connection) => void connection.socket.resetAndDestroy()],
    ['with GOAWAY', (connection, id) => connection.goaway(id, NGHTTP2_INTERNAL_ERROR)],
  ])('ends in the middle of a body %s: the client sees that it is not whole', async (_, end) => {
    const { through, connections } = await framed((connection, id) => {
      connection.head(id);
      connection.data(id, 'half');
    });
    const client = await rawClient(through, get());
    await client.until((all) => all.includes('half'));
    end(connections[0] as FrameConnection, 1);
    expect(await client.closed()).not.toContain('\r\n0\r\n');
  });
});

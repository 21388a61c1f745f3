import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ClientHttp2Session,
  createSecureServer,
  createServer,
  type Http2ServerResponse,
} from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import { attach } from 'headrace';
import { selfSigned } from '../helpers/certificates.js';
import { rawClient } from '../helpers/client.js';
import { http2Answer, http2Ask, http2Client } from '../helpers/http2.js';
import { closeAfter, listen, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import { upgradeRequest } from '../helpers/tunnels.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

describe('closing an attached server', () => {
  it.each([
    ['has sent nothing', ''],
    ['has sent half a head', 'GET / HTTP/1.1\r\nHo'],
  ])('ends a connection whose client %s', async (_what, bytes) => {
    const { server, port } = await serve((_req, res) => res.end());
    const attached = attach(server, (_req, res) => res.end());
    const client = await rawClient(port, bytes);
    // The connection is known to the server once another one, made later, has been answered.
    const other = await rawClient(port, GET);
    await other.until((text) => text.includes('200'));
    await attached.close();
    await client.closed();
    await other.closed();
  });

  it('gives a connection that somebody else has taken the time that tunnels have', async () => {
    const { server, port } = await serve((_req, res) => res.end());
    const attached = attach(server, (_req, res) => res.end(), {
      drainMs: 300,
      upgrades: () => false,
    });
    server.on('upgrade', (_req, socket) => {
      socket.on('error', () => {});
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n',
      );
      socket.pipe(socket);
    });
    const client = await rawClient(port, upgradeRequest());
    await client.until((text) => text.includes('\r\n\r\n'));
    // By then, nobody waits for a first request any more.
    await setTimeout(550);
    const closed = attached.close();
    await setTimeout(150);
    client.write('still there');
    await client.until((text) => text.endsWith('still there'));
    await closed;
    await client.closed();
  });

  it('lets an answer in flight finish, which says that the connection closes', async () => {
    const waiting: (() => void)[] = [];
    const { server, port } = await serve((_req, res) => {
      waiting.push(() => res.end('done'));
      server.emit('waiting');
    });
    const attached = attach(server, () => {});
    const arrived = new Promise((resolve) => server.once('waiting', resolve));
    const client = await rawClient(port, GET);
    await arrived;
    const closed = attached.close();
    for (const finish of waiting) finish();
    const text = await client.closed();
    expect(text).toContain('Connection: close\r\n');
    expect(text).toContain('done');
    await closed;
  });

  it('answers a request that was on its way to an idle connection, and says that it closes', async () => {
    const { server, port } = await serve((_req, res) => res.end('ok'));
    const attached = attach(server, () => {});
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('ok'));
    const closed = attached.close();
    client.write(GET);
    const text = await client.closed();
    await closed;
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(text.match(/Connection: close\r\n/g)).toHaveLength(1);
    expect(Object.hasOwn(server, 'closeIdleConnections')).toBe(false);
  });

  it('answers a request behind an answer whose head had said before that the connection stays', async () => {
    const begun: ServerResponse[] = [];
    const { server, port } = await serve((_req, res) => {
      if (begun.push(res) > 1) return void res.end('second');
      res.write('first');
    });
    const attached = attach(server, () => {});
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('first'));
    const closed = attached.close();
    begun[0]?.end();
    await client.until((text) => text.endsWith('0\r\n\r\n'));
    client.write(GET);
    const text = await client.closed();
    await closed;
    expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(text.match(/Connection: close\r\n/g)).toHaveLength(1);
    expect(text).toContain('second');
  });

  it('answers the first request of a connection that was opened a moment before', async () => {
    const { server, port } = await serve((_req, res) => res.end('ok'));
    const attached = attach(server, () => {});
    const known = once(server, 'connection');
    const client = await rawClient(port, '');
    await known;
    const closed = attached.close();
    // Longer than a connection is kept that has carried a request before.
    await setTimeout(100);
    client.write(GET);
    expect(await client.closed()).toContain('Connection: close\r\n');
    await closed;
  });

  it('answers all of a pipeline, and says with the last one that it closes', async () => {
    const waiting: ServerResponse[] = [];
    const { server, port } = await serve((_req, res) => void waiting.push(res));
    const attached = attach(server, () => {});
    const client = await rawClient(port, GET + GET);
    await eventually('two requests', () => waiting.length === 2);
    const closed = attached.close();
    client.write(GET);
    await eventually('the third', () => waiting.length === 3);
    for (const [i, res] of waiting.entries()) res.end(`answer ${i}`);
    const text = await client.closed();
    await closed;
    expect(text.match(/answer \d/g)).toEqual(['answer 0', 'answer 1', 'answer 2']);
    expect(text.match(/Connection: close\r\n/g)).toHaveLength(1);
    expect(text.indexOf('Connection: close')).toBeGreaterThan(text.indexOf('answer 1'));
  });

  it('does not keep open for more what a client has asked to close', async () => {
    const waiting: ServerResponse[] = [];
    const { server, port } = await serve((_req, res) => void waiting.push(res));
    const attached = attach(server, () => {});
    const asks = 'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
    const client = await rawClient(port, GET + asks);
    await eventually('two requests', () => waiting.length === 2);
    const closed = attached.close();
    for (const [i, res] of waiting.entries()) res.end(`answer ${i}`);
    const text = await client.closed();
    await closed;
    expect(text.match(/answer \d/g)).toEqual(['answer 0', 'answer 1']);
    expect(text.match(/Connection: close\r\n/g)).toHaveLength(1);
  });

  it.each(['https', 'http2'])(
    'ends what has connected and not agreed on keys: %s',
    async (kind) => {
      const certificate = await selfSigned('localhost');
      const app = (_req: unknown, res: ServerResponse) => res.end();
      const server =
        kind === 'https'
          ? createTlsServer(certificate, app)
          : createSecureServer(certificate, app as never);
      const port = await listen(server as never);
      const attached = attach(server, app, { drainMs: 60_000 });
      const before = await rawClient(port, '');
      const half = await rawClient(port, '\x16\x03\x01');
      await eventually('both', () => connectionsOf(server as never) === 2);
      const closed = attached.close();
      await closed;
      await before.closed();
      await half.closed();
    },
  );

  it('leaves no listener behind', async () => {
    const { server } = await serve((_req, res) => res.end());
    const before = server.eventNames().map((name) => [name, server.listenerCount(name)]);
    const attached = attach(server, () => {});
    await attached.close();
    expect(server.eventNames().map((name) => [name, server.listenerCount(name)])).toEqual(before);
  });
});

/** Resolves with the error that a request behind GOAWAY ends in: at once, or from Node 24 on with the session. */
function lateRequest(session: ClientHttp2Session): Promise<Error> {
  return new Promise((refused, answered) => {
    try {
      const stream = session.request({ ':path': '/' });
      stream.on('error', refused);
      stream.on('response', () => answered(new Error('it was answered')));
      stream.on('close', () => refused(new Error('it was closed')));
    } catch (error) {
      refused(error as Error);
    }
  });
}

describe('closing an attached server of HTTP/2', () => {
  it.each(['TLS', 'clear text'])(
    'lets streams finish, takes no more, and ends (%s)',
    async (how) => {
      const certificate = await selfSigned('localhost');
      const server = how === 'TLS' ? createSecureServer(certificate) : createServer();
      const waiting: Http2ServerResponse[] = [];
      const app = (_req: unknown, res: unknown) => {
        waiting.push(res as Http2ServerResponse);
        server.emit('waiting');
      };
      server.on('request', app);
      const attached = attach(server, app);
      const port = await listen(server);
      const origin = how === 'TLS' ? `https://localhost:${port}` : `http://localhost:${port}`;
      const options = { ca: certificate.cert };
      const idle = http2Client(origin, options);
      await once(idle, 'remoteSettings');
      const session = http2Client(origin, options);
      const arrived = once(server, 'waiting');
      const answer = http2Ask(session);
      await arrived;

      const told = once(session, 'goaway');
      const gone = once(idle, 'close');
      const closed = attached.close();
      await Promise.all([told, gone]);
      const late = lateRequest(session);
      waiting[0]?.end('whole');
      expect(await answer).toMatchObject({ status: 200, body: 'whole', code: 0 });
      await closed;
      await late;
      expect(waiting).toHaveLength(1);
    },
  );

  it.each(['TLS', 'clear text'])(
    'does not wait longer than drainMs for a client that has stopped reading (%s)',
    async (kind) => {
      const app = (_req: unknown, res: Http2ServerResponse) => void res.end('x');
      const server =
        kind === 'TLS'
          ? createSecureServer(await selfSigned('localhost'), app as never)
          : createServer(app as never);
      const port = await listen(server as never);
      const attached = attach(server, app as never, { drainMs: 200 });
      const client = await stuckClient(port, kind === 'TLS');
      await attached.close();
      client.destroy();
    },
  );

  it('ends streams that take longer than drainMs', async () => {
    const server = createServer();
    const app = (_req: unknown, res: unknown) => void (res as Http2ServerResponse).write('half');
    server.on('request', app);
    const attached = attach(server, app, { drainMs: 50 });
    const session = http2Client(`http://localhost:${await listen(server)}`);
    const stream = session.request({ ':path': '/' });
    stream.on('error', () => {});
    await once(stream, 'response');
    const closed = once(session, 'close');
    await attached.close();
    await closed;
  });

  it('asks for an upload when it is read, answers CONNECT with 405, and unknown expectations with 417', async () => {
    const server = createServer();
    const app = (req: IncomingMessage, res: ServerResponse) => {
      if (req.url === '/no') return void res.writeHead(403).end();
      req.on('data', (chunk) => res.write(chunk));
      req.on('end', () => res.end());
    };
    server.on('request', app as never);
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    const session = http2Client(`http://localhost:${await listen(server)}`);
    const put = { ':method': 'PUT', expect: '100-continue' };
    const stream = session.request({ ...put, ':path': '/' });
    await once(stream, 'continue');
    stream.end('body');
    expect((await http2Answer(stream)).body).toBe('body');
    const refused = session.request({ ...put, ':path': '/no' });
    refused.on('continue', () => refused.emit('error', new Error('it asked for the body')));
    expect((await http2Answer(refused)).status).toBe(403);
    expect((await http2Ask(session, { ...put, expect: 'more' }, '')).status).toBe(417);
    const tunnel = session.request({ ':method': 'CONNECT', ':authority': 'a:1' });
    expect((await http2Answer(tunnel)).status).toBe(405);
  });
});

function connectionsOf(server: { _connections?: number }): number {
  return server._connections ?? 0;
}

/** A client of HTTP/2 that has said what it must, and reads nothing from then on. */
async function stuckClient(port: number, encrypted: boolean): Promise<Socket> {
  const socket = encrypted
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
    : connectTcp(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, encrypted ? 'secureConnect' : 'connect');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings]));
  await once(socket, 'data');
  socket.pause();
  return socket;
}

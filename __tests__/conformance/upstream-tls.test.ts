import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, Server as HttpServer, type RequestListener } from 'node:http';
import { createSecureServer, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, LookupFunction, Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkServerIdentity,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { type ProxyPassOptions, proxyPass } from 'headrace';
import {
  type Authority,
  authority,
  type Certificate,
  selfSigned,
} from '../helpers/certificates.js';
import { type RawResponse, rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, frameworks, gateway } from '../helpers/servers.js';
import { switching, tunnelGateway, upgradeRequest } from '../helpers/tunnels.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const UPGRADE = upgradeRequest();
const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';
const POST = 'POST /path HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody';

let ca: Authority;
let server: Certificate;
let lonely: Certificate;

beforeAll(async () => {
  ca = await authority();
  server = await ca.issue('localhost');
  lonely = await selfSigned('localhost');
});

/** What an upstream answers: everything that it was asked. */
const echo: RequestListener = async (req, res) => {
  let body = '';
  for await (const chunk of req) body += String(chunk);
  res.end(`${req.method} ${req.url} ${req.headers.host} ${body}`);
};

/** Listens at an address until the test is over; gives the port. */
async function listenAt(
  listener: NetServer,
  where: { host: string } | { path: string },
): Promise<number> {
  listener.listen('host' in where ? { port: 0, ...where } : where);
  await once(listener, 'listening');
  closeAfter(() => {
    listener.close();
    if (listener instanceof HttpServer) listener.closeAllConnections();
  });
  const address = listener.address() as AddressInfo | string;
  return typeof address === 'string' ? 0 : address.port;
}

/** An https server on 127.0.0.1, and what its clients said in the handshake. */
async function secure(
  options: TlsOptions,
): Promise<{ server: HttpServer; port: number; sockets: TLSSocket[]; asked: () => number }> {
  const sockets: TLSSocket[] = [];
  let asked = 0;
  const upstream = createHttpsServer(options, (req, res) => {
    asked++;
    echo(req, res);
  });
  upstream.on('secureConnection', (socket: TLSSocket) => sockets.push(socket));
  const port = await listenAt(upstream, { host: '127.0.0.1' });
  return { server: upstream, port, sockets, asked: () => asked };
}

/** Asks a target through a gateway. */
async function ask(
  target: string,
  options: ProxyPassOptions = {},
  request = GET,
): Promise<RawResponse & { code: string | undefined }> {
  const { errors, record } = recordErrors();
  const pass = proxyPass(target, options);
  closeAfter(() => pass.close());
  const { port } = await gateway('express 5', pass, record);
  return { ...(await rawRequest(port, request)), code: errors[0]?.code };
}

describe('connections to an https upstream', () => {
  it.each([
    ['TLSv1.2', 'for requests', GET],
    ['TLSv1.3', 'for requests', GET],
    ['TLSv1.3', 'for tunnels', UPGRADE],
  ] as const)('resume the session of the one before: %s, %s', async (version, _, request) => {
    const { port, server: upstream } = await secure({ ...server, maxVersion: version });
    const resumed: unknown[] = [];
    upstream.maxRequestsPerSocket = 1;
    upstream.on('secureConnection', (socket: TLSSocket) => {
      resumed.push([socket.getProtocol(), socket.isSessionReused()]);
    });
    upstream.on('upgrade', (_req, socket) => void socket.end(switching('chat')));
    const pass = proxyPass(`https://localhost:${port}`, { tls: { ca: ca.cert } });
    closeAfter(() => pass.close());
    const { port: front } = await tunnelGateway('express 5', pass);
    for (let i = 0; i < 3; i++) {
      const client = await rawClient(front, request);
      await client.until((text) => text.includes('\r\n\r\n'));
      client.socket.destroy();
      // What is remembered is to be so for longer than until the next collection.
      collectGarbage();
    }
    expect(resumed).toEqual([
      [version, false],
      [version, true],
      [version, true],
    ]);
  });
});

describe('an https upstream', () => {
  it.each(frameworks)(
    'that signs itself is refused: 502, and it is asked nothing, through %s',
    async (framework) => {
      const upstream = await secure(lonely);
      const { errors, record } = recordErrors();
      const pass = proxyPass(`https://localhost:${upstream.port}`);
      closeAfter(() => pass.close());
      const { port } = await gateway(framework, pass, record);
      expect((await rawRequest(port, POST)).status).toBe(502);
      expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_CONNECT']);
      expect(upstream.asked()).toBe(0);
    },
  );

  it('that signs itself is taken when tls says so', async () => {
    const { port } = await secure(lonely);
    for (const tls of [{ ca: lonely.cert }, { rejectUnauthorized: false }]) {
      const res = await ask(`https://localhost:${port}`, { tls }, POST);
      expect([res.status, res.body]).toEqual([200, `POST /path localhost:${port} body`]);
    }
  });

  it('is taken when its authority is trusted, and not when another one is', async () => {
    const { port } = await secure(server);
    const other = await authority();
    expect((await ask(`https://localhost:${port}`, { tls: { ca: ca.cert } })).status).toBe(200);
    for (const tls of [undefined, { ca: other.cert }]) {
      const res = await ask(`https://localhost:${port}`, { tls });
      expect([res.status, res.code]).toEqual([502, 'ERR_PROXY_CONNECT']);
    }
  });

  it('with another name than that of the target is refused', async () => {
    const { port, asked } = await secure(await ca.issue('other.test'));
    for (const host of ['localhost', '127.0.0.1']) {
      const res = await ask(`https://${host}:${port}`, { tls: { ca: ca.cert } });
      expect([res.status, res.code]).toEqual([502, 'ERR_PROXY_CONNECT']);
    }
    expect(asked()).toBe(0);
  });

  it('is asked for servername, and verified by it', async () => {
    const { port, sockets } = await secure(await ca.issue('other.test'));
    const tls = { ca: ca.cert, servername: 'other.test' };
    for (const host of ['localhost', '127.0.0.1']) {
      expect((await ask(`https://${host}:${port}`, { tls })).status).toBe(200);
    }
    expect(sockets.map(({ servername }) => servername)).toEqual(['other.test', 'other.test']);
  });

  it('is verified by the name of the target, not by a Host that the client sends', async () => {
    const { port } = await secure(server);
    const forged = GET.replace('gateway', 'other.test');
    const res = await ask(
      `https://localhost:${port}`,
      { host: 'client', tls: { ca: ca.cert } },
      forged,
    );
    expect(res.body).toBe('GET /path other.test ');

    const { port: otherPort } = await secure(await ca.issue('other.test'));
    const options: ProxyPassOptions = { host: 'client', tls: { ca: ca.cert } };
    expect((await ask(`https://localhost:${otherPort}`, options, forged)).status).toBe(502);
  });

  it('that wants a certificate of the client gets it from cert and key', async () => {
    const upstream = await secure({
      ...server,
      ca: ca.cert,
      requestCert: true,
      rejectUnauthorized: true,
    });
    const { key, cert } = await ca.issue('gateway.test');
    const tls = { ca: ca.cert, key, cert };
    expect((await ask(`https://localhost:${upstream.port}`, { tls })).status).toBe(200);
    const [socket] = upstream.sockets;
    expect(socket?.getPeerCertificate().subject.CN).toBe('gateway.test');
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('of the user');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('of the user'))],
    ['gives a promise', async () => undefined],
    ['gives an error', () => new Error('of the user')],
  ])('is 502 when the check of its name %s', async (_what, check) => {
    const upstream = await secure(server);
    const tls = { ca: ca.cert, checkServerIdentity: check as never };
    const answer = await ask(`https://localhost:${upstream.port}`, { tls });
    expect([answer.status, answer.code]).toEqual([502, 'ERR_PROXY_CONNECT']);
    expect(upstream.asked()).toBe(0);
  });

  it('that wants a certificate of the client and gets none, or one of its own making, is 502', async () => {
    const upstream = await secure({
      ...server,
      ca: ca.cert,
      requestCert: true,
      rejectUnauthorized: true,
    });
    for (const own of [{}, await selfSigned('gateway.test')]) {
      const tls = { ca: ca.cert, ...own };
      expect((await ask(`https://localhost:${upstream.port}`, { tls })).status).toBe(502);
    }
    expect(upstream.asked()).toBe(0);
  });

  it('speaks HTTP/2 when it may: requests share a connection, a client that leaves ends its own', async () => {
    const upstream = createSecureServer(server);
    const sessions: unknown[] = [];
    const streams: ServerHttp2Stream[] = [];
    upstream.on('session', (session) => sessions.push(session));
    upstream.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      streams.push(stream);
      if (headers[':path'] === '/path') {
        stream.respond({ ':status': 200, 'x-protocol': 'h2' });
        stream.end('ok');
      } else {
        upstream.emit('waiting');
      }
    });
    const port = await listenAt(upstream, { host: '127.0.0.1' });
    closeAfter(() => {
      for (const stream of streams) stream.session?.destroy();
    });
    const pass = proxyPass(`https://localhost:${port}`, {
      http2: true,
      tls: { ca: ca.cert },
      connections: 1,
    });
    closeAfter(() => pass.close());
    const { port: gatewayPort } = await gateway('express 5', pass);

    const first = await rawRequest(gatewayPort, GET);
    expect([first.status, first.header('x-protocol'), first.body]).toEqual([200, 'h2', 'ok']);

    const waiting = once(upstream, 'waiting');
    const leaving = await rawClient(gatewayPort, GET.replace('/path', '/wait'));
    await waiting;
    const stream = streams.at(-1) as ServerHttp2Stream;
    const closed = once(stream, 'close');
    leaving.socket.destroy();
    await closed;
    expect((await rawRequest(gatewayPort, GET)).body).toBe('ok');
    expect(sessions).toHaveLength(1);
  });
});

describe('a unix: target', () => {
  async function listenOnSocket(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'headrace-'));
    const path = join(directory, 'upstream.sock');
    closeAfter(() => rm(directory, { recursive: true, force: true }));
    await listenAt(createServer(echo), { path });
    return path;
  }

  it.each(frameworks)('works through %s, request bodies included', async (framework) => {
    const pass = proxyPass(`unix:${await listenOnSocket()}`);
    closeAfter(() => pass.close());
    const { port } = await gateway(framework, pass);
    expect((await rawRequest(port, GET)).body).toBe('GET /path localhost ');
    expect((await rawRequest(port, POST)).body).toBe('POST /path localhost body');
  });

  it('can have a base path and a query', async () => {
    const path = await listenOnSocket();
    expect((await ask(`unix:${path}:/base?a=1`)).body).toBe('GET /base/path?a=1 localhost ');
    expect((await ask(`unix:${path}?a=1`)).body).toBe('GET /path?a=1 localhost ');
  });
});

/** Whether this Node finds an IPv6 literal among the names of a certificate. */
function nodeKnowsIPv6Names(): boolean {
  const cert = { subject: { CN: '::1' }, subjectaltname: 'IP Address:0:0:0:0:0:0:0:1' };
  return checkServerIdentity('::1', cert as PeerCertificate) === undefined;
}

describe('an IPv6 target', () => {
  it('is named by its literal', async () => {
    const port = await listenAt(createServer(echo), { host: '::1' });
    const res = await ask(`http://[::1]:${port}/base`, {}, POST);
    expect(res.body).toBe(`POST /base/path [::1]:${port} body`);
  });

  it('is named by its literal over https, and verified by it', async () => {
    const upstream = createHttpsServer(await ca.issue('::1'), echo);
    const port = await listenAt(upstream, { host: '::1' });
    const res = await ask(`https://[::1]:${port}`, { tls: { ca: ca.cert } });
    // Node 22.23 takes no IPv6 literal for one that a certificate names, and refuses.
    if (nodeKnowsIPv6Names()) expect(res.body).toBe(`GET /path [::1]:${port} `);
    else expect(res.status).toBe(502);
  });

  /** Resolves every name to these addresses. */
  const resolvingTo =
    (...addresses: readonly { address: string; family: number }[]): LookupFunction =>
    (_name, options, done) => {
      const [first] = addresses;
      if (options.all) done(null, [...addresses]);
      else done(null, first?.address ?? '', first?.family);
    };
  const V6 = { address: '::1', family: 6 };
  const V4 = { address: '127.0.0.1', family: 4 };

  it.each([
    ['only', resolvingTo(V6)],
    ['first', resolvingTo(V6, V4)],
    ['last', resolvingTo(V4, V6)],
  ])('is found behind localhost when that resolves to ::1 %s', async (_order, lookup) => {
    const port = await listenAt(createServer(echo), { host: '::1' });
    const res = await ask(`http://localhost:${port}`, { tls: { lookup } });
    expect([res.status, res.body]).toEqual([200, `GET /path localhost:${port} `]);
  });

  it('is found behind localhost over https as well', async () => {
    const port = await listenAt(createHttpsServer(server, echo), { host: '::1' });
    const tls = { ca: ca.cert, lookup: resolvingTo(V4, V6) };
    const res = await ask(`https://localhost:${port}`, { tls });
    expect(res.body).toBe(`GET /path localhost:${port} `);
  });
});

it('TLS settings that nobody can connect with are 502, and nothing comes of them later', async () => {
  const uncaught: unknown[] = [];
  const note = (error: unknown) => void uncaught.push(error);
  process.on('uncaughtException', note);
  closeAfter(() => process.off('uncaughtException', note));
  const { errors, record } = recordErrors();
  // What can be told at the start is refused then; this throws when a connection is made.
  const tls = { secureContext: {} as SecureContext };
  const options = { tls, connectTimeoutMs: 50 };
  const { port } = await gateway('express 5', proxyPass('https://127.0.0.1:1', options), record);
  const { status } = await rawRequest(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  expect([status, errors[0]?.code]).toEqual([502, 'ERR_PROXY_CONNECT']);
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(uncaught).toEqual([]);
});

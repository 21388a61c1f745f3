import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { createSecureServer } from 'node:http2';
import { Agent, createServer, type RequestOptions, request, type Server } from 'node:https';
import { text } from 'node:stream/consumers';
import { connect as connectTls, type TLSSocket, type TlsOptions } from 'node:tls';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  attach,
  type ForwardedForOptions,
  forwardedFor,
  modifyResponse,
  proxyPass,
  type UpstreamResponse,
} from 'headrace';
import { type Authority, authority, type Certificate } from '../helpers/certificates.js';
import { http2Ask, http2Client } from '../helpers/http2.js';
import { runProgram } from '../helpers/programs.js';
import { requestsOf } from '../helpers/requests.js';
import {
  appOf,
  closeAfter,
  frameworks,
  listen,
  type Middleware,
  type RawUpstream,
  rawUpstream,
} from '../helpers/servers.js';

let ca: Authority;
let certificate: Certificate;
let client: Certificate;

beforeAll(async () => {
  ca = await authority();
  certificate = await ca.issue('localhost');
  client = await ca.issue('client.test');
});

/** An https server for an app, listening until the test is over. */
async function secure(
  listener: RequestListener,
  options: TlsOptions = {},
): Promise<{ server: Server; port: number }> {
  const server = createServer({ ...certificate, ...options }, listener);
  return { server, port: await listen(server) };
}

/** Asks an https server once. */
async function ask(
  port: number,
  options: RequestOptions = {},
): Promise<{ status: number | undefined; body: string; serial: string; resumed: boolean }> {
  const sent = request({ host: 'localhost', port, ca: ca.cert, ...options });
  sent.end();
  const [res] = (await once(sent, 'response')) as [IncomingMessage];
  const socket = res.socket as TLSSocket;
  const serial = socket.getPeerCertificate().serialNumber;
  const resumed = socket.isSessionReused();
  return { status: res.statusCode, body: await text(res), serial, resumed };
}

/** An edit that makes bytes of what has come. */
async function doubled(response: UpstreamResponse): Promise<void> {
  const bytes = await response.buffer();
  response.body = Buffer.concat([bytes, bytes]);
}

/** A client in a process of its own, which asks and uploads by turns, over one connection. */
const eagerClient = (port: number): string => `
  import { Agent, request } from 'node:https';
  const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  const upload = Buffer.alloc(60_000, 'y');
  const ask = (method, body) => new Promise((resolve) => {
    const headers = body ? { 'content-length': body.length } : {};
    const sent = request({ host: 'localhost', port: ${port}, agent, method, headers }, (res) => {
      res.resume().on('end', () => resolve(res.statusCode === 200));
    });
    sent.on('error', () => resolve(false));
    if (body) sent.write(body);
    sent.end();
  });
  async function main() {
    let failed = 0;
    for (let i = 0; i < 100; i++) {
      if (!(await ask('GET'))) failed++;
      if (!(await ask('POST', upload))) failed++;
    }
    console.log(failed === 0 ? 'none failed' : failed + ' failed');
    agent.destroy();
  }
  void main();
`;

/** A proxy to a target, closed after the test. */
function pass(target: string): ReturnType<typeof proxyPass> {
  const handler = proxyPass(target);
  closeAfter(() => handler.close());
  return handler;
}

describe('a gateway behind https', () => {
  it.each(frameworks)('forwards, and says so, under %s', async (framework) => {
    const upstream = await rawUpstream();
    const app = appOf(framework, forwardedFor(), pass(upstream.url));
    const { server, port } = await secure(app);
    attach(server, app);
    expect(await ask(port, { method: 'PUT' })).toMatchObject({ status: 200, body: 'ok' });
    expect(requestsOf(upstream).map(({ lines }) => lines('x-forwarded-proto'))).toEqual([
      ['https'],
    ]);
  });

  it.each([
    ['as it has come', 20_000, []],
    // What Node takes for much is more from 22 on.
    ['that was edited', 90_000, [modifyResponse(doubled)]],
  ])(
    'takes a request as soon as the client has the answer before it, %s',
    async (_what, size, edits) => {
      const body = 'x'.repeat(size);
      const upstream = await rawUpstream(
        `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${body}`,
      );
      const { port } = await secure(appOf('node:http', ...edits, pass(upstream.url)));
      expect(await runProgram(eagerClient(port))).toBe('none failed\n');
    },
  );

  it('closes at once where nothing is in flight, and behind an answer that is', async () => {
    const upstream = await rawUpstream((_bytes, socket) => {
      server.once('answer', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
      server.emit('asked');
      return undefined;
    });
    const app = appOf('connect', pass(upstream.url));
    const { server, port } = await secure(app);
    const attached = attach(server, app);
    const idle = connectTls({ host: 'localhost', port, ca: ca.cert });
    await once(idle, 'secureConnect');
    const asked = once(server, 'asked');
    const answer = ask(port);
    await asked;
    const gone = once(idle.resume(), 'close');
    const closed = attached.close();
    await gone;
    server.emit('answer');
    expect((await answer).body).toBe('ok');
    await closed;
  });

  it('gets new certificates under load, and no request fails', async () => {
    const upstream = await rawUpstream();
    const { server, port } = await secure(appOf('connect', pass(upstream.url)));
    const second = await ca.issue('localhost');
    const kept = new Agent({ keepAlive: true, maxSockets: 8, ca: ca.cert });
    closeAfter(() => kept.destroy());
    let left = 600;
    const serials = new Set<string>();
    const statuses = new Set<number | undefined>();
    const load = async (agent: Agent | false): Promise<void> => {
      while (left-- > 0) {
        // Every fiftieth changes the certificate, in the middle of the handshakes of others.
        if (left % 50 === 0) server.setSecureContext(left % 100 === 0 ? certificate : second);
        const { status, serial } = await ask(port, { agent });
        statuses.add(status);
        serials.add(serial);
      }
    };
    await Promise.all([...Array(8).fill(kept), false, false].map(load));
    expect([...statuses]).toEqual([200]);
    expect(serials).toContain(new X509Certificate(second.cert).serialNumber);
    expect(serials.size).toBe(2);
  });
});

describe('the certificate of a client', () => {
  const bytes = (pem: string) => `:${new X509Certificate(pem).raw.toString('base64')}:`;

  /** A gateway that asks its clients for certificates. */
  async function gateway(
    options: ForwardedForOptions | undefined,
    tls: TlsOptions = {},
  ): Promise<{ port: number; upstream: RawUpstream; seen: () => (string[] | undefined)[][] }> {
    const upstream = await rawUpstream();
    const app = appOf('connect', forwardedFor(options) as Middleware, pass(upstream.url));
    const { port } = await secure(app, { ca: ca.cert, requestCert: true, ...tls });
    const seen = () =>
      requestsOf(upstream).map(({ lines }) => [lines('client-cert'), lines('client-cert-chain')]);
    return { port, upstream, seen };
  }

  it('is told to the upstream when that is asked for', async () => {
    const { port, seen } = await gateway({ clientCertificate: true });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closeAfter(() => agent.destroy());
    for (let i = 0; i < 2; i++) await ask(port, { ...client, agent });
    const expected = [[bytes(client.cert)], []];
    expect(seen()).toEqual([expected, expected]);
  });

  it('is told again when a session is resumed', async () => {
    const { port, seen } = await gateway({ clientCertificate: true });
    const agent = new Agent({ keepAlive: false });
    const reused: boolean[] = [];
    for (let i = 0; i < 3; i++) {
      reused.push((await ask(port, { ...client, agent })).resumed);
    }
    expect(reused).toContain(true);
    expect(seen()).toEqual(Array(3).fill([[bytes(client.cert)], []]));
  });

  it('comes with those between it and the authority, which is left out', async () => {
    const lower = await ca.under();
    const own = await lower.issue('client.test');
    const { port, seen } = await gateway({ clientCertificate: 'chain' });
    await ask(port, own);
    await ask(port, client);
    // Node 24 does not tell of certificates in between; the README says so.
    const between = process.version.startsWith('v24.') ? [] : [bytes(lower.cert)];
    expect(seen()).toEqual([
      [[bytes(own.cert)], between],
      [[bytes(client.cert)], []],
    ]);
  });

  it('is not told when nobody asked, or when it could not be verified', async () => {
    const quiet = await gateway(undefined);
    await ask(quiet.port, client);
    expect(quiet.seen()).toEqual([[[], []]]);

    const strange = await (await authority()).issue('client.test');
    const { port, seen } = await gateway(
      { clientCertificate: 'chain' },
      { rejectUnauthorized: false },
    );
    await ask(port, strange);
    await ask(port);
    expect(seen()).toEqual([
      [[], []],
      [[], []],
    ]);
  });

  it.each([[undefined], [{ clientCertificate: true }], [{ clientCertificate: 'chain' as const }]])(
    'cannot be claimed in any spelling, with %j',
    async (options) => {
      const { port, upstream } = await gateway(options, { rejectUnauthorized: false });
      const names = [
        'Client-Cert',
        'Client-Cert-Chain',
        'Client_Cert',
        'client.cert-chain',
        'CLIENT_CERT_CHAIN',
      ];
      const headers = Object.fromEntries(names.map((name) => [name, ':Zm9yZ2Vk:']));
      await ask(port, { headers });
      await ask(port, { headers: { ...headers, Connection: 'Client-Cert' } });
      expect(upstream.received()).not.toContain('Zm9yZ2Vk');
      await ask(port, { headers, ...client });
      expect(upstream.received()).not.toContain('Zm9yZ2Vk');
    },
  );

  it('is what a trusted proxy says it is', async () => {
    const { port, seen } = await gateway({ clientCertificate: 'chain', trust: 'loopback' });
    const headers = { 'Client-Cert': ':YQ==:', 'Client-Cert-Chain': ':Yg==:' };
    await ask(port, { ...client, headers });
    await ask(port, { ...client, headers: { 'Client-Cert-Chain': ':Yg==:' } });
    expect(seen()).toEqual([
      [[':YQ==:'], [':Yg==:']],
      [[bytes(client.cert)], []],
    ]);
  });

  it('is told of HTTP/2 as well', async () => {
    const upstream = await rawUpstream();
    const app = appOf(
      'connect',
      forwardedFor({ clientCertificate: true }) as Middleware,
      pass(upstream.url),
    );
    const server = createSecureServer(
      { ...certificate, ca: ca.cert, requestCert: true },
      app as never,
    );
    const session = http2Client(`https://localhost:${await listen(server)}`, {
      ca: ca.cert,
      ...client,
    });
    for (let i = 0; i < 2; i++) {
      expect((await http2Ask(session, { 'client-cert': ':YQ==:' })).status).toBe(200);
    }
    expect(requestsOf(upstream).map(({ lines }) => lines('client-cert'))).toEqual(
      Array(2).fill([bytes(client.cert)]),
    );
  });

  it('has an option that is true, false or "chain"', () => {
    expect(() => forwardedFor({ clientCertificate: 'all' as never })).toThrow(
      new TypeError(
        'forwardedFor: clientCertificate must be true, false or "chain", received "all"',
      ),
    );
  });
});

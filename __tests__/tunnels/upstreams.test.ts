import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { Server as NetServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { loadBalancer, type ProxyPassOptions, proxyErrors, proxyPass } from 'headrace';
import { selfSigned } from '../helpers/certificates.js';
import { rawRequest } from '../helpers/client.js';
import { http2Upstream } from '../helpers/http2.js';
import { closeAfter, listen } from '../helpers/servers.js';
import { switching, tunnelClient, tunnelGateway, upgradeRequest } from '../helpers/tunnels.js';

/** Has a server switch to `chat`, say which one it is, and repeat what it is told. */
function chatting<S extends NetServer>(server: S, name: string): S {
  server.on('upgrade', (_req, socket: Socket) => {
    socket.on('error', () => {});
    socket.write(switching('chat') + name);
    socket.pipe(socket);
  });
  return server;
}

/** A gateway to a target, which closes with the test. */
async function passingTo(target: string, options?: ProxyPassOptions) {
  const pass = proxyPass(target, options);
  closeAfter(() => pass.close());
  return tunnelGateway('express 5', pass, proxyErrors());
}

/** What comes back of a tunnel that says `hello` and ends. */
async function talk(port: number): Promise<string> {
  const client = await tunnelClient(port);
  client.socket.end('hello');
  return (await client.closed()).split('\r\n\r\n').slice(1).join('');
}

describe('a tunnel', () => {
  it('leads to a Unix socket', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'headrace-'));
    closeAfter(() => rm(directory, { recursive: true }));
    const path = join(directory, 'socket');
    const asked: string[] = [];
    const server = chatting(createServer(), 'unix: ');
    server.on('upgrade', ({ url, headers }) => asked.push(`${url} ${headers.host}`));
    server.listen(path);
    await once(server, 'listening');
    closeAfter(() => server.close());
    const { port } = await passingTo(`unix:${path}:/base`);
    expect(await talk(port)).toBe('unix: hello');
    expect(asked).toEqual(['/base/chat localhost']);
  });

  it('leads to upstreams of which each has its own TLS options', async () => {
    const [one, two] = await Promise.all([selfSigned('localhost'), selfSigned('two.test')]);
    const listening = async (name: string, options: object) =>
      listen(chatting(createTlsServer(options), name));
    const ports = [
      await listening('one: ', { ...one, requestCert: true, ca: two.cert }),
      await listening('two: ', two),
    ];
    const balancer = loadBalancer({
      upstreams: [
        { url: `https://localhost:${ports[0]}`, transport: { tls: { ...two, ca: one.cert } } },
        {
          url: `https://127.0.0.1:${ports[1]}`,
          transport: { tls: { ca: two.cert, servername: 'two.test' } },
        },
      ],
    });
    closeAfter(() => balancer.close());
    const { port } = await tunnelGateway('express 5', balancer, proxyPass(), proxyErrors());
    expect([await talk(port), await talk(port), await talk(port)]).toEqual([
      'one: hello',
      'two: hello',
      'one: hello',
    ]);
  });

  it('goes over HTTP/1.1 to an upstream that is asked over HTTP/2 otherwise', async () => {
    const certificate = await selfSigned('127.0.0.1');
    const versions: string[] = [];
    const server = createSecureServer({ ...certificate, allowHTTP1: true }, (req, res) => {
      versions.push(req.httpVersion);
      res.end('ok');
    });
    const upstream = await listen(chatting(server as never, 'tunnel: '));
    const { port } = await passingTo(`https://127.0.0.1:${upstream}`, {
      tls: { ca: certificate.cert },
      http2: true,
    });
    const plain = 'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
    expect((await rawRequest(port, plain)).body).toBe('ok');
    expect(await talk(port)).toBe('tunnel: hello');
    expect((await rawRequest(port, plain)).body).toBe('ok');
    expect(versions).toEqual(['2.0', '2.0']);
  });

  it('is a 502 where the upstream speaks HTTP/2 alone', async () => {
    const certificate = await selfSigned('127.0.0.1');
    const clear = await http2Upstream(() => {});
    const secure = await http2Upstream(() => {}, certificate as object);
    for (const [target, options] of [
      [`http://127.0.0.1:${clear.port}`, { http2: 'prior-knowledge' }],
      [`https://127.0.0.1:${secure.port}`, { http2: true, tls: { ca: certificate.cert } }],
    ] as const) {
      const { port } = await passingTo(target, options);
      expect((await rawRequest(port, upgradeRequest())).status).toBe(502);
    }
  });
});

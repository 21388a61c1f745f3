import { once } from 'node:events';
import { connect as connectHttp2, createSecureServer } from 'node:http2';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  authenticate,
  type ClientCertificateOptions,
  clientCertificate,
  proxyErrors,
} from 'headrace';
import {
  type Authority,
  authority,
  type Certificate,
  selfSigned,
} from '../helpers/certificates.js';
import { guarded, type Passed, show } from '../helpers/identity.js';
import { appOf, closeAfter, listen } from '../helpers/servers.js';

let ca: Authority;
let server: Certificate;
let ada: Certificate;
let stranger: Certificate;
beforeAll(async () => {
  ca = await authority();
  [server, ada, stranger] = await Promise.all([
    ca.issue('127.0.0.1'),
    ca.issue('ada'),
    selfSigned('ada'),
  ]);
});

/** A server that asks for certificates, and shows whom they belong to. */
async function secured(options?: ClientCertificateOptions, http2 = false, optional = false) {
  const gatekeeper = authenticate(clientCertificate(options), { optional });
  const app = appOf('connect', gatekeeper, show, proxyErrors());
  const tls = { ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: false };
  const gate = http2 ? createSecureServer(tls, app as never) : createServer(tls, app);
  return { port: await listen(gate as ReturnType<typeof createServer>), server: gate };
}

async function ask(port: number, client: Partial<Certificate> = {}) {
  const sent = request({ port, host: '127.0.0.1', ca: ca.cert, agent: false, ...client }).end();
  const [response] = await once(sent, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, challenge: response.headers['www-authenticate'], body };
}

describe('clientCertificate', () => {
  it.each([
    [{ subject: 'CN' }, 'clientCertificate: subject must be a function, received "CN"'],
    [{ subjekt: 1 }, 'clientCertificate: unknown option "subjekt", did you mean "subject"?'],
    [{ now: 1 }, 'clientCertificate: now must be a function, received 1'],
  ])('refuses %j', (options, message) => {
    expect(() => clientCertificate(options as unknown as ClientCertificateOptions)).toThrow(
      message,
    );
  });

  it('knows a client by the certificate that a trusted authority signed', async () => {
    const { port } = await secured();
    const { identity } = JSON.parse((await ask(port, ada)).body) as Passed;
    expect(identity).toMatchObject({
      subject: 'ada',
      scheme: 'client-certificate',
      claims: { subject: { CN: 'ada' }, issuer: { CN: 'authority.test' } },
    });
    const none = await ask(port);
    expect([none.status, none.challenge]).toEqual([401, 'ClientCertificate realm="gateway"']);
    expect((await ask(port, stranger)).status).toBe(401);
  });

  it('where it is optional, lets those pass who show none, and not those who show a bad one', async () => {
    const { port } = await secured(undefined, false, true);
    const nobody = await ask(port);
    expect([nobody.status, JSON.parse(nobody.body).identity]).toEqual([200, undefined]);
    expect(JSON.parse((await ask(port, ada)).body).identity).toMatchObject({ subject: 'ada' });
    expect((await ask(port, stranger)).status).toBe(401);
  });

  it('knows nobody without TLS', async () => {
    const { get, reason } = await guarded([clientCertificate()]);
    expect([(await get()).status, reason()]).toEqual([401, 'no credentials']);
  });

  it('names the holder as it is told to, reads a certificate once, and lets it expire', async () => {
    let now = Date.now();
    const read: PeerCertificate[] = [];
    const subject = (certificate: PeerCertificate) => {
      read.push(certificate);
      return certificate.subject.CN === 'ada' ? certificate.subjectaltname : undefined;
    };
    const { port, server: gate } = await secured({ subject, now: () => now });
    const socket = connect({ port, host: '127.0.0.1', ca: ca.cert, ...ada });
    closeAfter(() => socket.destroy());
    const exchange = async () => {
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      return String((await once(socket, 'data'))[0]);
    };
    expect(await exchange()).toContain('"subject":"DNS:ada"');
    expect(await exchange()).toContain('HTTP/1.1 200');
    expect(read.length).toBe(1);
    now += 3 * 86_400_000;
    expect(await exchange()).toContain('HTTP/1.1 401');
    expect((gate.address() as AddressInfo).port).toBe(port);
    now -= 3 * 86_400_000;
    expect((await ask(port, server)).status).toBe(401);
  });

  it('knows a client over HTTP/2, once for all requests of a connection', async () => {
    let read = 0;
    const subject = (certificate: PeerCertificate) => {
      read += 1;
      return String(certificate.subject.CN);
    };
    const { port } = await secured({ subject }, true);
    const session = connectHttp2(`https://127.0.0.1:${port}`, { ca: ca.cert, ...ada });
    closeAfter(() => session.destroy());
    for (const _ of [1, 2]) {
      const stream = session.request({ ':path': '/' });
      let body = '';
      for await (const chunk of stream) body += chunk;
      expect((JSON.parse(body) as Passed).identity.subject).toBe('ada');
    }
    expect(read).toBe(1);
  });

  it('does not take several names for one', () => {
    const certificate = { subject: { CN: ['ada', 'root'] }, valid_from: '2000', valid_to: '2100' };
    const socket = {
      authorized: true,
      getPeerCertificate: () => certificate,
    } as unknown as TLSSocket;
    const verdict = clientCertificate().verify({ req: { socket } } as never);
    expect(verdict).toEqual({ refused: 'names nobody' });
  });
});

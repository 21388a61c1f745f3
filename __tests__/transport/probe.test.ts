import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Upstream, type UpstreamInit } from 'headrace';
import { probe } from '../../src/transport/probe.js';
import { runProgram } from '../helpers/programs.js';
import { onlyRequest, requestsOf } from '../helpers/requests.js';
import { closeAfter, listen, OK, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** An upstream whose connections end with the test. */
function upstream(init: UpstreamInit): Upstream {
  const made = new Upstream(init);
  closeAfter(() => made.close());
  return made;
}

/** A directory for the test. */
function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'headrace-'));
  closeAfter(() => rmSync(path, { recursive: true }));
  return path;
}

describe('what a probe sends', () => {
  it('is a GET below the base path, with its query and credentials', async () => {
    const server = await rawUpstream();
    const url = `http://user:secret@127.0.0.1:${server.port}/base?a=1`;
    await probe(upstream(url), '/up', 1_000, false);
    const { method, target, lines } = onlyRequest(server);
    expect([method, target]).toEqual(['GET', '/base/up?a=1']);
    expect(lines('authorization')).toEqual(['Basic dXNlcjpzZWNyZXQ=']);
    expect(lines('host')).toEqual([`127.0.0.1:${server.port}`]);
    expect(lines('user-agent')).toEqual(['headrace-health']);
  });

  it.each([
    ['/base?k=1', '/up?deep=1', '/base/up?k=1&deep=1'],
    ['/?k=1', '/?deep=1', '/?k=1&deep=1'],
    ['/base', '/up?deep=1', '/base/up?deep=1'],
  ])('joins the query of %s with that of %s, as for a request', async (base, path, target) => {
    const server = await rawUpstream();
    await probe(upstream(server.url + base), path, 1_000, false);
    expect(onlyRequest(server).target).toBe(target);
  });

  it('goes over one connection again and again', async () => {
    const server = await rawUpstream();
    const one = upstream(server.url);
    for (let i = 0; i < 5; i++) {
      await probe(one, '/', 1_000, true);
      // undici takes a connection back once it is done with telling of the end.
      await new Promise(setImmediate);
    }
    expect(requestsOf(server)).toHaveLength(5);
    expect(server.connections()).toHaveLength(1);
  });
});

describe('what a probe makes of the answer', () => {
  it('is its status, and its body when that is wanted', async () => {
    const server = await rawUpstream(
      'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy',
    );
    expect(await probe(upstream(server.url), '/', 1_000, true)).toEqual({
      status: 503,
      body: 'busy',
    });
    expect(await probe(upstream(server.url), '/', 1_000, false)).toMatchObject({ status: 503 });
  });

  it('is whole where a character came in two pieces', async () => {
    const bytes = Buffer.from('status: grün');
    const cut = bytes.indexOf(0xc3) + 1;
    const server = await rawUpstream((_bytes, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n`);
      socket.write(bytes.subarray(0, cut));
      setTimeout(() => socket.write(bytes.subarray(cut)), 20);
      return undefined;
    });
    expect(await probe(upstream(server.url), '/', 1_000, true)).toMatchObject({
      body: 'status: grün',
    });
  });

  it('is the beginning of a body without end', async () => {
    const server = await rawUpstream((_bytes, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const flood = setInterval(() => socket.write('x'.repeat(16_384)), 1);
      socket.on('close', () => clearInterval(flood));
      return undefined;
    });
    const { body } = await probe(upstream(server.url), '/', 5_000, true);
    expect(body.length).toBeGreaterThanOrEqual(65_536);
    expect(body.length).toBeLessThan(1_000_000);
    await eventually('the end of the flood', () => server.sockets[0]?.destroyed === true);
  });

  it('is no answer where there is none in time', async () => {
    const silent = await rawUpstream(() => undefined);
    await expect(probe(upstream(silent.url), '/', 50, false)).rejects.toThrow(
      'no answer within 50 ms',
    );
    await eventually('the end of the probe', () => silent.sockets[0]?.destroyed === true);
  });

  it('is no answer where the body it needs never ends', async () => {
    const server = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
    await expect(probe(upstream(server.url), '/', 50, true)).rejects.toThrow('no answer within');
  });

  it('is not waited for to its end when its head says enough, but ends in time', async () => {
    const server = await rawUpstream((_bytes, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const drip = setInterval(() => socket.write('x'), 5);
      socket.on('close', () => clearInterval(drip));
      return undefined;
    });
    const one = upstream(server.url);
    expect(await probe(one, '/', 60, false)).toMatchObject({ status: 200 });
    await eventually('the end of the drip', () => server.sockets[0]?.destroyed === true);
  });

  it('does not depend on connections that are all busy', async () => {
    const server = await rawUpstream((bytes) => (`${bytes}`.includes('/slow') ? undefined : OK));
    const one = upstream({ url: server.url, transport: { connections: 1 } });
    const slow = probe(one, '/slow', 1_000, false).catch(() => 'given up');
    await eventually('the slow one', () => requestsOf(server).length === 1);
    expect(await probe(one, '/', 500, false)).toMatchObject({ status: 200 });
    expect(await slow).toBe('given up');
  });

  it('is no answer where it is refused or is no HTTP', async () => {
    const noise = await rawUpstream('hello\r\n\r\n');
    await expect(probe(upstream(noise.url), '/', 1_000, false)).rejects.toThrow();
    const gone = await rawUpstream((_bytes, socket) => void socket.destroy());
    await expect(probe(upstream(gone.url), '/', 1_000, false)).rejects.toThrow();
  });
});

describe('a probe over the upstream’s own transport', () => {
  it('goes through a Unix domain socket', async () => {
    const path = join(directory(), 'up.sock');
    const server = createServer((req, res) => res.end(req.url));
    server.listen(path);
    await once(server, 'listening');
    closeAfter(() => void server.close());
    const one = upstream(`unix:${path}:/base`);
    expect(await probe(one, '/up', 1_000, true)).toEqual({ status: 200, body: '/base/up' });
  });

  it('trusts the certificate that the upstream’s settings trust, and no other', async () => {
    const dir = directory();
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const out = ['-keyout', key, '-out', cert, '-days', '1'];
    execFileSync('openssl', ['req', '-x509', ...curve, ...subject, ...out], { stdio: 'ignore' });
    const ca = readFileSync(cert);
    const server = createTlsServer({ key: readFileSync(key), cert: ca }, (_req, res) => {
      res.end('safe');
    });
    const url = `https://localhost:${await listen(server)}`;
    const trusting = upstream({ url, transport: { tls: { ca } } });
    expect(await probe(trusting, '/', 2_000, true)).toEqual({ status: 200, body: 'safe' });
    await expect(probe(upstream(url), '/', 2_000, true)).rejects.toThrow(/self-signed/);
  });
});

describe('a process that probes', () => {
  it('ends when nothing but probes is left to do', async () => {
    const server = await rawUpstream();
    const printed = await runProgram(`
      import { loadBalancer } from 'headrace';
      const active = { intervalMs: 10 };
      loadBalancer({ upstreams: ['${server.url}'], health: { active } });
      setTimeout(() => console.log('done'), 300);
    `);
    expect(printed).toBe('done\n');
    expect(requestsOf(server).length).toBeGreaterThan(3);
  });
});

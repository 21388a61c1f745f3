import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import { modifyResponse, proxyPass } from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { fetchHead } from '../helpers/http.js';
import { frameworks, gateway, type Middleware, rawUpstream, serve } from '../helpers/servers.js';
import { settled } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const MIB = 1_048_576;

/** An upstream that answers with a head alone and hands its socket over for the rest. */
async function upstreamThatWaits(
  ...lines: string[]
): Promise<{ url: string; socket: Promise<Socket> }> {
  let take: (socket: Socket) => void;
  const socket = new Promise<Socket>((resolve) => {
    take = resolve;
  });
  const { url } = await rawUpstream((_request, connection) => {
    connection.setNoDelay(true);
    take(connection);
    return `${['HTTP/1.1 200 OK', ...lines].join('\r\n')}\r\n\r\n`;
  });
  return { url, socket };
}

async function sha256(body: Readable): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(body, hash);
  return hash.digest('hex');
}

describe.each(frameworks)('a slow body through %s', (framework) => {
  it.each([
    ['event stream', ['Content-Type: text/event-stream', 'Transfer-Encoding: chunked'], true],
    ['body of unknown length', ['Transfer-Encoding: chunked'], true],
    ['body that ends with its connection', ['Connection: close'], false],
    ['body of known length', ['Content-Length: 12'], false],
  ])(
    '%s: the head goes out before the first byte, each chunk as it comes',
    async (_what, lines, chunked) => {
      const upstream = await upstreamThatWaits(...lines);
      const { port } = await gateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, GET);
      const head = await client.until((text) => text.includes('\r\n\r\n'));
      expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(head).toMatch(/\r\n\r\n$/);

      const socket = await upstream.socket;
      for (const part of ['one.', 'two.', 'six.']) {
        socket.write(chunked ? `4\r\n${part}\r\n` : part);
        await client.until((text) => text.includes(part));
      }
      if (chunked) socket.write('0\r\n\r\n');
      else if (lines[0] === 'Connection: close') socket.end();
      const whole = lines[0] === 'Content-Length: 12' ? 'six.' : '0\r\n\r\n';
      await client.until((text) => text.endsWith(whole));
    },
  );

  it.each([
    ['text/event-stream', 'gzip'],
    ['application/json', 'gzip'],
    ['text/plain', undefined],
    ['image/png', undefined],
  ])('comes chunk by chunk with compression() mounted: %s, coding %s', async (type, coding) => {
    const upstream = await upstreamThatWaits(`Content-Type: ${type}`, 'Transfer-Encoding: chunked');
    const { url } = await gateway(framework, compression(), proxyPass(upstream.url));
    const accepts = coding === undefined && type !== 'image/png' ? 'identity' : 'gzip';
    const response = await fetchHead(url, { headers: { 'accept-encoding': accepts } });
    expect(response.headers['content-encoding']).toBe(coding);

    const body: Readable = coding === undefined ? response : response.pipe(createGunzip());
    const socket = await upstream.socket;
    for (const part of ['one.', 'two.', 'six.']) {
      socket.write(`4\r\n${part}\r\n`);
      const [chunk] = await once(body, 'data');
      expect(String(chunk)).toBe(part);
    }
    socket.write('0\r\n\r\n');
    await once(body, 'end');
  });
});

describe('a body', () => {
  it('of 1 MiB is identical, whole, chunked or compressed on the way', async () => {
    const bytes = randomBytes(MIB);
    const { url } = await serve((req, res) => {
      if (req.url === '/sized') res.setHeader('Content-Length', bytes.length);
      res.setHeader('Content-Type', 'text/plain');
      res.end(bytes);
    });
    const plain = await gateway('express 5', proxyPass(url));
    const compressing = await gateway('express 5', compression(), proxyPass(url));
    const expected = createHash('sha256').update(bytes).digest('hex');
    for (const path of ['/sized', '/chunked']) {
      expect(await sha256(await fetchHead(plain.url + path))).toBe(expected);
      const response = await fetchHead(compressing.url + path, {
        headers: { 'accept-encoding': 'gzip' },
      });
      expect(response.headers['content-encoding']).toBe('gzip');
      expect(await sha256(response.pipe(createGunzip()))).toBe(expected);
    }
  });

  it('of 100 MiB is identical', async () => {
    const chunk = randomBytes(MIB);
    const expected = createHash('sha256');
    for (let i = 0; i < 100; i++) expected.update(chunk);
    const { url } = await serve((_req, res) => {
      Readable.from(Array(100).fill(chunk)).pipe(res);
    });
    const { url: gatewayUrl } = await gateway('express 5', proxyPass(url));
    expect(await sha256(await fetchHead(gatewayUrl))).toBe(expected.digest('hex'));
  });

  it('of one byte a chunk is identical', async () => {
    const bytes = randomBytes(20_000);
    let chunks = '';
    for (const byte of bytes) chunks += `1\r\n${String.fromCharCode(byte)}\r\n`;
    const upstream = await rawUpstream(
      Buffer.from(
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
        'latin1',
      ),
    );
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(Buffer.from(res.body, 'latin1').equals(bytes)).toBe(true);
  });

  it('of which each byte is a packet of its own, head included, is identical', async () => {
    const wire =
      'HTTP/1.1 200 OK\r\nX-Slow: very\r\nTransfer-Encoding: chunked\r\n\r\n' +
      '5\r\nwhole\r\n1\r\n!\r\n0\r\nX-Sum: 42\r\n\r\n';
    const upstream = await rawUpstream((_request, socket) => {
      socket.setNoDelay(true);
      const dribble = (i: number): void => {
        if (i < wire.length) socket.write(wire.charAt(i), () => setImmediate(dribble, i + 1));
      };
      dribble(0);
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect([res.status, res.header('x-slow'), res.body]).toEqual([200, 'very', 'whole!']);
    expect(res.trailers).toEqual([['X-Sum', '42']]);
  });

  const readers: [what: string, pieces: () => Middleware[]][] = [
    ['nothing', () => []],
    // Random bytes do not get smaller, but are no work to store.
    ['compression()', () => [compression({ level: 0 })]],
    ['a transform', () => [modifyResponse((response) => response.pipeThrough(new PassThrough()))]],
  ];

  it.each(readers)(
    'stops the upstream when the reader is slow, and memory stays flat, behind %s',
    async (what, pieces) => {
      const chunk = randomBytes(MIB);
      const total = 32;
      let written = 0;
      const { url } = await serve((_req, res) => {
        res.setHeader('Content-Type', 'text/plain');
        const body = Readable.from(Array(total).fill(chunk));
        body.on('data', () => {
          written++;
        });
        body.pipe(res);
      });
      const { url: gatewayUrl } = await gateway('express 5', ...pieces(), proxyPass(url));
      const before = process.memoryUsage().arrayBuffers;
      const response = await fetchHead(gatewayUrl, { headers: { 'accept-encoding': 'gzip' } });

      // Kernel buffers on the way take some of it; what does not fit there stays with the upstream.
      expect(await settled(() => written)).toBeLessThan(24);
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MIB);

      const zipped = what.includes('compression');
      expect(response.headers['content-encoding']).toBe(zipped ? 'gzip' : undefined);
      const body: Readable = zipped ? response.pipe(createGunzip()) : response;
      let received = 0;
      for await (const part of body) received += (part as Buffer).length;
      expect(received).toBe(total * MIB);
    },
  );

  it.each([
    ['a length', (body: Buffer) => [`Content-Length: ${body.length}\r\n\r\n`, body]],
    [
      'chunks',
      (body: Buffer) => [
        `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`,
        body,
        '\r\n0\r\n\r\n',
      ],
    ],
    ['the end of its connection', (body: Buffer) => ['\r\n', body]],
  ])(
    'with %s arrives whole, though the upstream has long gone when it is read',
    async (_framing, frame) => {
      const bytes = randomBytes(2 * MIB);
      const upstream = await rawUpstream((_request, socket) => {
        socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n');
        for (const part of frame(bytes)) socket.write(part);
        socket.end();
        return undefined;
      });
      const { url } = await gateway('express 5', proxyPass(upstream.url));
      const response = await fetchHead(url);
      await settled(() => upstream.sockets[0]?.bytesWritten ?? 0, 50);
      expect(await sha256(response)).toBe(createHash('sha256').update(bytes).digest('hex'));
    },
  );
});

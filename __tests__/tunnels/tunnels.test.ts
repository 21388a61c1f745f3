import { createHash, type Hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from '@jest/globals';
import {
  type Exchange,
  exchangeOf,
  type Handler,
  loadBalancer,
  type ProxyPassOptions,
  proxyPass,
  UpstreamPool,
} from 'headrace';
import { holdSocket, openTunnel as open, writeConnected } from '../../src/transport/tunnel.js';
import { selfSigned } from '../helpers/certificates.js';
import { rawClient } from '../helpers/client.js';
import { appOf, closeAfter, listen, rawUpstream } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';
import {
  attachedTo,
  chatUpstream,
  switching,
  tunnelClient,
  tunnelGateway,
  upgradeRequest,
} from '../helpers/tunnels.js';

/** An open tunnel: the client, the upstream's socket, and the exchange. */
async function openTunnel(options?: ProxyPassOptions) {
  const upstream = await chatUpstream();
  const exchanges: Exchange[] = [];
  const closes: string[] = [];
  const note: Handler = (req, res, next) => {
    exchanges.push(exchangeOf(req, res));
    res.on('close', () => closes.push('close'));
    next?.();
  };
  const { port } = await tunnelGateway('express 5', note, proxyPass(upstream.url, options));
  const client = await tunnelClient(port);
  return {
    client,
    upstream,
    far: upstream.sockets[0] as Socket,
    exchange: exchanges[0] as Exchange,
    closes,
  };
}

describe('a tunnel', () => {
  it('passes on the end of the client, and then what the upstream still has to say', async () => {
    const { client, far } = await openTunnel();
    const ended = once(far, 'end');
    far.allowHalfOpen = true;
    client.socket.end('last words');
    await ended;
    far.write('answer');
    await client.until((text) => text.endsWith('answer'));
    far.end('bye');
    expect(await client.closed()).toMatch(/answerbye$/);
  });

  it('passes on the end of the upstream, and then what the client still has to say', async () => {
    const { client, far, upstream } = await openTunnel();
    const ended = once(client.socket, 'end');
    client.socket.allowHalfOpen = true;
    far.allowHalfOpen = true;
    far.end('bye');
    await ended;
    client.write('one thing more');
    await eventually('the rest', () => upstream.received().endsWith('one thing more'));
    const closed = once(far, 'close');
    client.socket.end('.');
    await closed;
    expect(upstream.received()).toMatch(/one thing more\.$/);
    await client.closed();
  });

  it.each([
    ['the client', 'the upstream'],
    ['the upstream', 'the client'],
  ])('whose %s breaks off, ends for %s at once', async (breaking) => {
    const { client, far, exchange, closes } = await openTunnel();
    const one = breaking === 'the client' ? client.socket : far;
    const other = breaking === 'the client' ? far : client.socket;
    const closed = once(other, 'close');
    one.resetAndDestroy();
    await closed;
    await eventually('the outcome', () => exchange.outcome !== undefined);
    expect(exchange.outcome?.type).toBe('upgraded');
    expect(closes).toEqual(['close']);
  });

  it('brings everything that a side has sent before it broke off', async () => {
    const { client, far } = await openTunnel();
    far.write('x'.repeat(100_000));
    await client.until((text) => text.endsWith('x'.repeat(100_000)));
    far.write('y'.repeat(10_000), () => far.destroy());
    expect(await client.closed()).toMatch(/y{10000}$/);
  });

  it('tells its bytes and its time when it has ended, and closes the answer then', async () => {
    const { client, far, exchange, upstream, closes } = await openTunnel();
    client.write('12345');
    await eventually('the bytes', () => upstream.received().endsWith('12345'));
    far.write('123');
    await client.until((text) => text.endsWith('123'));
    expect(exchange.outcome).toBeUndefined();
    expect(closes).toEqual([]);
    client.socket.end();
    far.end();
    await client.closed();
    await eventually('the outcome', () => exchange.outcome !== undefined);
    expect(exchange.outcome).toMatchObject({ type: 'upgraded', bytesSent: 5, bytesReceived: 3 });
    expect(exchange.outcome?.durationMs).toBeGreaterThan(0);
    expect(exchange.outcome?.error).toBeUndefined();
    expect(exchange.upstream).toMatchObject({ bytesSent: 5, bytesReceived: 3 });
    expect(exchange.attempts).toMatchObject([{ status: 101, error: undefined }]);
    expect(closes).toEqual(['close']);
  });

  it.each([
    ['the client', 'the upstream'],
    ['the upstream', 'the client'],
  ])(
    'lets %s wait while %s does not read',
    async (sending) => {
      const { client, far, exchange } = await openTunnel();
      const [sender, reader] =
        sending === 'the client' ? [client.socket, far] : [far, client.socket];
      reader.pause();
      const chunk = Buffer.alloc(65_536, 'x');
      const chunks = 1_024;
      for (let i = 0; i < chunks; i++) sender.write(chunk);
      const moved = () => exchange.bytesSent + exchange.bytesReceived;
      // What kernels hold for us is some megabytes; what we hold ourselves is bounded by a few chunks.
      expect(await settled(moved)).toBeLessThan((chunks * chunk.length) / 2);
      let read = 0;
      reader.removeAllListeners('data');
      reader.on('data', (bytes: Buffer) => {
        read += bytes.length;
      });
      reader.resume();
      await eventually('the rest', () => read >= chunks * chunk.length, 20_000);
      expect(moved()).toBe(chunks * chunk.length);
    },
    30_000,
  );

  it('ends when nothing has moved for tunnelIdleMs', async () => {
    const { client, far, exchange } = await openTunnel({ tunnelIdleMs: 300 });
    const closed = once(far, 'close');
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      (i % 2 === 0 ? client.socket : far).write('.');
    }
    expect(client.hasEnded()).toBe(false);
    await Promise.all([client.closed(), closed]);
    await eventually('the outcome', () => exchange.outcome !== undefined);
    expect(exchange.outcome?.durationMs).toBeGreaterThan(500);
    expect(`${exchange.outcome}`).toBe('upgraded');
  });

  it('holds its place at the upstream, which is not drained before', async () => {
    const upstream = await chatUpstream();
    const pool = new UpstreamPool([upstream.url]);
    closeAfter(() => pool.close());
    const drained: string[] = [];
    pool.on('drained', () => drained.push('drained'));
    const { port } = await tunnelGateway(
      'express 5',
      loadBalancer({ upstreams: pool }),
      proxyPass(),
    );
    const client = await tunnelClient(port);
    const [one] = pool.upstreams;
    expect(one?.inFlight).toBe(1);
    pool.remove(upstream.url);
    client.write('still there');
    await eventually('the bytes', () => upstream.received().endsWith('still there'));
    expect(drained).toEqual([]);
    client.socket.destroy();
    await eventually('the end', () => drained.length === 1);
    expect(one?.inFlight).toBe(0);
  });

  it('leads to the upstream that a sticky cookie names, and the 101 brings the cookie', async () => {
    const upstreams = await Promise.all([chatUpstream(), chatUpstream(), chatUpstream()]);
    const balancer = loadBalancer({
      upstreams: upstreams.map(({ url }) => url),
      sticky: { secret: 'a secret of some length' },
    });
    closeAfter(() => balancer.close());
    const { port } = await tunnelGateway('express 5', balancer, proxyPass());
    const first = await tunnelClient(port);
    const [, cookie] = /^set-cookie: ([^;]+)/im.exec(first.received()) ?? [];
    for (let i = 0; i < 5; i++) await tunnelClient(port, '', `Cookie: ${cookie}`);
    expect(upstreams.map(({ sockets }) => sockets.length).sort()).toEqual([0, 0, 6]);
  });

  it('goes over TLS on both sides, half-close included', async () => {
    const certificate = await selfSigned('127.0.0.1');
    const far: Socket[] = [];
    const upstream = createTlsServer({ ...certificate, allowHalfOpen: true } as object);
    upstream.on('upgrade', (_req, socket: Socket) => {
      far.push(socket);
      socket.allowHalfOpen = true;
      socket.write(switching('chat'));
      socket.on('data', (bytes) => socket.write(bytes));
      socket.on('end', () => socket.end('bye'));
    });
    const upstreamPort = await listen(upstream);
    const pass = proxyPass(`https://127.0.0.1:${upstreamPort}`, {
      tls: { ca: certificate.cert },
      http2: true,
    });
    closeAfter(() => pass.close());
    const app = appOf('express 5', pass);
    const { port } = await attachedTo(app, { drainMs: 0 }, createTlsServer(certificate, app));
    const client = connectTls({ port, host: '127.0.0.1', ca: certificate.cert });
    client.allowHalfOpen = true;
    closeAfter(() => client.destroy());
    let text = '';
    client.on('data', (bytes) => {
      text += bytes;
    });
    const ended = once(client, 'end');
    client.write(upgradeRequest());
    await eventually('the 101', () => text.endsWith('\r\n\r\n'));
    client.end('hello');
    await ended;
    expect(text).toMatch(/\r\n\r\nhellobye$/);
  });
});

describe('a tunnel with TLS', () => {
  /** An open tunnel, with TLS before and behind the gateway as is said. */
  async function secureTunnel(isBefore: boolean, isBehind: boolean) {
    const certificate = await selfSigned('127.0.0.1');
    const { cert: ca } = certificate;
    const upstream = isBehind ? createTlsServer(certificate) : createServer();
    const far = new Promise<Socket>((resolve) => {
      upstream.on('upgrade', (_req, socket: Socket) => {
        closeAfter(() => socket.destroy());
        socket.write(switching('chat'));
        resolve(socket);
      });
    });
    const scheme = isBehind ? 'https' : 'http';
    const pass = proxyPass(`${scheme}://127.0.0.1:${await listen(upstream)}`, { tls: { ca } });
    closeAfter(() => pass.close());
    let exchange: Exchange | undefined;
    const app = appOf('express 5', (req, res, next) => {
      exchange = exchangeOf(req, res);
      pass(req, res, next);
    });
    const server = isBefore ? createTlsServer(certificate, app) : createServer(app);
    const { port } = await attachedTo(app, { drainMs: 0 }, server);
    const where = { port, host: '127.0.0.1' };
    const client = isBefore ? connectTls({ ...where, ca }) : connect(where);
    closeAfter(() => client.destroy());
    client.write(upgradeRequest());
    await once(client, 'readable');
    client.read();
    return { client, far: await far, exchange: exchange as unknown as Exchange };
  }

  /** Chunks of which no two are alike: what came twice, or in another place, is seen by the sum. */
  function* numbered(count: number, sum: Hash): Generator<Buffer> {
    const chunk = randomBytes(65_536);
    for (let i = 0; i < count; i++) {
      const one = Buffer.from(chunk);
      one.writeUInt32BE(i);
      sum.update(one);
      yield one;
    }
  }

  it.each([
    ['before the gateway', true, false],
    ['behind the gateway', false, true],
    ['nowhere', false, false],
  ])(
    '%s holds back who sends to one that does not read, and loses nothing',
    async (_, ...where) => {
      const { client, far, exchange } = await secureTunnel(...where);
      const chunks = 384;
      const total = chunks * 65_536;
      for (const [sender, reader] of [
        [client, far],
        [far, client],
      ] as const) {
        const before = exchange.bytesSent + exchange.bytesReceived;
        const moved = () => exchange.bytesSent + exchange.bytesReceived - before;
        const sent = createHash('sha256');
        Readable.from(numbered(chunks, sent)).pipe(sender, { end: false });
        await eventually('the first bytes', () => moved() > 0);
        // What kernels hold for us is some megabytes; what we hold ourselves is bounded by a few chunks.
        expect(await settled(moved)).toBeLessThan((total * 3) / 4);
        const received = createHash('sha256');
        let read = 0;
        for await (const bytes of reader.iterator({ destroyOnReturn: false })) {
          received.update(bytes);
          read += bytes.length;
          if (read >= total) break;
        }
        expect(received.digest('hex')).toBe(sent.digest('hex'));
        expect(moved()).toBe(total);
      }
    },
    30_000,
  );
});

describe('the last bytes of a tunnel', () => {
  const BIT = Buffer.alloc(8_192);
  const turn = () => new Promise(setImmediate);

  /** A tunnel to a server of which nothing is read any more after so long, and what becomes of it. */
  async function leftAlone(lastBytesMs: number) {
    const far = await rawUpstream(() => undefined);
    const opened: { exchange: Exchange; ends: Socket[] }[] = [];
    const { port } = await tunnelGateway('express 5', (req, res) => {
      const exchange = exchangeOf(req, res);
      const socket = connect(far.port, '127.0.0.1', () => {
        writeConnected(exchange);
        opened.push({ exchange, ends: [req.socket, socket] });
        open(exchange, { socket, lastBytesMs });
      });
      holdSocket(socket);
    });
    const client = await rawClient(port, 'CONNECT far:1 HTTP/1.1\r\nHost: far:1\r\n\r\n');
    await client.until((text) => text.endsWith('\r\n\r\n'));
    const [{ exchange, ends }] = opened as [(typeof opened)[0]];
    return { client, far: far.sockets[0] as Socket, exchange, ends };
  }

  /** Sends as much as kernels hold, and a rest that we do; not so much that we read no further. */
  async function fill(exchange: Exchange, sender: Socket, end: Socket): Promise<number> {
    let sent = 0;
    while (end.writableLength === 0) {
      sent += BIT.length;
      sender.write(BIT);
      while (exchange.bytesSent + exchange.bytesReceived < sent) await turn();
    }
    return sent;
  }

  it.each(['the client', 'the upstream'])(
    'are not waited for without end when it is %s that does not read them',
    async (waiting) => {
      const { client, far, exchange, ends } = await leftAlone(50);
      const [reader, other, end] = (
        waiting === 'the client' ? [client.socket, far, ends[0]] : [far, client.socket, ends[1]]
      ) as [Socket, Socket, Socket];
      reader.pause();
      await fill(exchange, other, end);
      const began = performance.now();
      other.resetAndDestroy();
      await once(end, 'close');
      expect(performance.now() - began).toBeGreaterThan(45);
      await eventually('the outcome', () => exchange.outcome !== undefined);
    },
  );

  it.each(['the client', 'the upstream'])(
    'reach %s all the same when it has ended first, and reads late',
    async (waiting) => {
      const { client, far, exchange, ends } = await leftAlone(30_000);
      const [reader, other, end] = (
        waiting === 'the client' ? [client.socket, far, ends[0]] : [far, client.socket, ends[1]]
      ) as [Socket, Socket, Socket];
      reader.pause();
      reader.allowHalfOpen = true;
      other.allowHalfOpen = true;
      const ended = once(other, 'end');
      reader.end();
      await ended;
      const sent = await fill(exchange, other, end);
      const closed = once(other, 'close');
      other.end('.');
      await closed;
      let read = 0;
      reader.removeAllListeners('data');
      for await (const bytes of reader) read += bytes.length;
      expect(read).toBe(sent + 1);
    },
  );

  it('have half a minute otherwise, and come whole to who reads them in time', async () => {
    const { client, far, exchange } = await leftAlone(30_000);
    client.socket.pause();
    far.end(Buffer.alloc(16 * 1_048_576, 'x'));
    await settled(() => exchange.bytesReceived);
    client.socket.resume();
    expect((await client.closed(20_000)).endsWith('x'.repeat(1_000))).toBe(true);
    expect(exchange.bytesReceived).toBe(16 * 1_048_576);
  });
});

describe('opening and closing a thousand tunnels', () => {
  it('leaves nothing behind', async () => {
    const upstream = await rawUpstream((request) =>
      request.startsWith('GET') ? switching('chat') : undefined,
    );
    const pool = new UpstreamPool([upstream.url]);
    closeAfter(() => pool.close());
    const { port, server } = await tunnelGateway(
      'node:http',
      loadBalancer({ upstreams: pool }),
      proxyPass(),
    );
    for (let round = 0; round < 10; round++) {
      const clients = await Promise.all(Array.from({ length: 100 }, () => tunnelClient(port)));
      expect(pool.upstreams[0]?.inFlight).toBe(100);
      for (const client of clients) client.socket.end();
      for (const socket of upstream.sockets.splice(0)) socket.end();
      await Promise.all(clients.map((client) => client.closed()));
      await eventually('the end of all', () => pool.upstreams[0]?.inFlight === 0);
    }
    await eventually('no connections', () => {
      return server.listening && pool.upstreams[0]?.inFlight === 0;
    });
    const connections = await new Promise((resolve) =>
      server.getConnections((_, count) => resolve(count)),
    );
    expect(connections).toBe(0);
    expect(pool.stats()[0]).toMatchObject({ inFlight: 0 });
  }, 60_000);
});

import { once } from 'node:events';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { connect as connectSocket, createServer as createNetServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { loadBalancer, proxyPass, Upstream, UpstreamPool } from 'headrace';
import { type ConnectionOptions, connectionSettings } from '../../src/connection-settings.js';
import { type Connections, connectionsTo } from '../../src/transport/connections.js';
import { ownRequest } from '../../src/transport/own-request.js';
import { probe } from '../../src/transport/probe.js';
import { rawClient } from '../helpers/client.js';
import { type Answer, echo, http2Upstream } from '../helpers/http2.js';
import { closeAfter, gateway, listen } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const { NGHTTP2_REFUSED_STREAM } = constants;

/** Connections over HTTP/2 to a port, and a way to ask over them. */
function connectionsAt(port: number, options: ConnectionOptions = {}) {
  const transport: ConnectionOptions = { http2: 'prior-knowledge', ...options };
  const upstream = new Upstream({ url: `http://127.0.0.1:${port}`, transport });
  closeAfter(() => upstream.close());
  const settings = upstream.settings ?? connectionSettings('test', transport);
  const connections = connectionsTo(upstream, settings);
  const request = (path: string) => ownRequest(upstream, path, [], 5_000);
  return {
    upstream,
    connections,
    request,
    ask: (path: string) => status(connections, request(path)),
  };
}

/** The status that a request is answered with. */
function status(
  connections: Connections,
  request: Parameters<Connections['dispatch']>[0],
): Promise<number> {
  return new Promise((resolve, reject) => {
    connections.dispatch(request, {
      onResponseStart: (_controller, code) => resolve(code),
      onResponseError: (_controller, error) => reject(error),
    });
  });
}

/** An upstream of which all connections but the first few say nothing, until they are let go on. */
async function heldUpstream({ answer = echo, options = {}, free = 0 } = {}) {
  const inner = await http2Upstream(answer, options);
  const sockets: Socket[] = [];
  let goOn = (): void => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const server = createNetServer((socket) => {
    const onwards = connectSocket(inner.port, '127.0.0.1');
    for (const one of [socket, onwards]) {
      one.on('error', () => {});
      closeAfter(() => one.destroy());
    }
    const goesOn = sockets.push(socket) > free ? held : Promise.resolve();
    void goesOn.then(() => socket.pipe(onwards).pipe(socket));
  });
  return { port: await listen(server), sockets, goOn };
}

/** An upstream that takes the end of a connection, and does not end its own side. */
async function clingingUpstream(answer: Answer): Promise<{ port: number; sockets: Socket[] }> {
  const inner = await http2Upstream(answer);
  const sockets: Socket[] = [];
  const server = createNetServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    const onwards = connectSocket({ port: inner.port, host: '127.0.0.1', allowHalfOpen: true });
    for (const [from, to] of [
      [socket, onwards],
      [onwards, socket],
    ] as const) {
      from.on('error', () => {});
      from.on('data', (bytes) => to.write(bytes));
      closeAfter(() => from.destroy());
    }
  });
  return { port: await listen(server), sockets };
}

describe('a session that is over', () => {
  it.each<[string, Answer, ConnectionOptions, number]>([
    ['idle for too long', echo, { keepAliveMs: 50 }, 5_000],
    ['given up', () => {}, {}, 100],
  ])(
    'since it was %s ends when the upstream does not close its side',
    async (_what, answer, options, timeoutMs) => {
      const { port, sockets } = await clingingUpstream(answer);
      const { upstream, connections } = connectionsAt(port, options);
      await status(connections, ownRequest(upstream, '/', [], timeoutMs)).catch(() => {});
      await eventually('the end of it', () => connections.counts?.().open === 0);
      await upstream.close();
      // What is written to the other end of a closed socket comes back as a reset.
      const refused = once(sockets[0] as Socket, 'error');
      sockets[0]?.write('x');
      await delay(50);
      sockets[0]?.write('x');
      await refused;
      expect(sockets).toHaveLength(1);
    },
  );
});

describe('requests that wait for a session', () => {
  it('and that nobody wants any more when their turn comes are passed over, however many they are', async () => {
    const { port, goOn } = await heldUpstream();
    const { connections, request, ask } = connectionsAt(port);
    let begun = 0;
    for (let i = 0; i < 20_000; i++) {
      connections.dispatch(request('/left'), {
        onRequestStart() {
          begun++;
          throw new Error('the client has left');
        },
      });
    }
    const last = ask('/last');
    goOn();
    expect(await last).toBe(200);
    expect(begun).toBe(20_000);
    expect(connections.counts?.()).toMatchObject({ waiting: 0 });
  });

  it('leave the line at once when they are given up', async () => {
    const { port, goOn } = await heldUpstream();
    const { connections, request, ask } = connectionsAt(port);
    const requests = Array.from({ length: 3 }, () => request('/left'));
    const errors: unknown[] = [];
    for (const one of requests) {
      connections.dispatch(one, {
        onRequestStart: () => errors.push('begun'),
        onResponseError: (_controller, error) => errors.push(error),
      });
    }
    const last = ask('/last');
    const reason = new Error('the client has left');
    for (const { connection } of requests) connection?.leave?.(reason);
    expect(connections.counts?.()).toMatchObject({ waiting: 1 });
    expect(errors).toEqual([reason, reason, reason]);
    goOn();
    expect(await last).toBe(200);
    expect(errors).toHaveLength(3);
  });

  it('leave it when their client does, and when they are probes that have waited for too long', async () => {
    const { port } = await heldUpstream();
    const pass = proxyPass({ http2: 'prior-knowledge' });
    const upstreams = new UpstreamPool([`http://127.0.0.1:${port}`], {
      transport: { http2: 'prior-knowledge' },
    });
    closeAfter(() => upstreams.close());
    const { port: through } = await gateway('node:http', loadBalancer({ upstreams }), pass);
    const [upstream] = upstreams.upstreams as [Upstream];
    const waiting = () => [...upstream.connections.values()][0]?.counts?.().waiting;
    const client = await rawClient(through, 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n');
    await eventually('a request that waits', () => waiting() === 1);
    client.socket.destroy();
    await eventually('its end', () => waiting() === 0);

    const probed = probe(upstream, '/', 20, false);
    expect(waiting()).toBe(1);
    await expect(probed).rejects.toThrow('no answer within 20 ms');
    expect(waiting()).toBe(0);
  });
});

describe('what must not wait in line', () => {
  it('shares a session, and is not sent over HTTP/1.1 to an upstream that does not speak it', async () => {
    const { port, streams } = await http2Upstream((stream, { ':path': path }) => {
      if (path !== '/held') stream.respond({ ':status': 204 }, { endStream: true });
    });
    const { upstream, ask } = connectionsAt(port);
    ask('/held').catch(() => {});
    await eventually('a held stream', () => streams.length === 1);
    expect(await probe(upstream, '/', 2_000, false)).toMatchObject({ status: 204 });
    streams[0]?.close();
  });

  it('goes first when a stream is free', async () => {
    const streams: ServerHttp2Stream[] = [];
    const paths: unknown[] = [];
    const answer: Answer = (stream, { ':path': path }) => {
      streams.push(stream);
      paths.push(path);
    };
    const settings = { maxConcurrentStreams: 1 };
    const { port } = await http2Upstream(answer, { settings });
    const { upstream, ask } = connectionsAt(port, { connections: 1 });
    const answers = [ask('/held'), ask('/waiting')];
    await eventually('a held stream', () => streams.length === 1);
    const probed = probe(upstream, '/probe', 2_000, false);
    for (let i = 0; i < 3; i++) {
      await eventually('a stream', () => streams.length === i + 1);
      streams[i]?.respond({ ':status': 204 }, { endStream: true });
    }
    expect(await Promise.all(answers)).toEqual([204, 204]);
    expect(await probed).toMatchObject({ status: 204 });
    expect(paths).toEqual(['/held', '/probe', '/waiting']);
  });
});

describe('a request that was refused', () => {
  it('goes over the same session again where there can be no other', async () => {
    let refused = 0;
    const { port, sessions } = await http2Upstream((stream) => {
      if (refused++ === 0) return stream.close(NGHTTP2_REFUSED_STREAM);
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    const { ask } = connectionsAt(port, { connections: 1, keepAliveMs: 60_000 });
    expect(await ask('/')).toBe(200);
    expect(sessions).toHaveLength(1);
    expect(refused).toBe(2);
  });

  it('and waits for a session that is being opened holds up no others', async () => {
    const streams: ServerHttp2Stream[] = [];
    const answer: Answer = (stream, { ':path': path }) => {
      if (path === '/refused') return stream.close(NGHTTP2_REFUSED_STREAM);
      if (path === '/held') return void streams.push(stream);
      stream.respond({ ':status': 200 }, { endStream: true });
    };
    const options = { settings: { maxConcurrentStreams: 2 } };
    const { port, sockets } = await heldUpstream({ answer, options, free: 1 });
    const { ask, connections } = connectionsAt(port, { connections: 2 });
    expect(await ask('/')).toBe(200);
    const held = ask('/held');
    await eventually('a held stream', () => streams.length === 1);
    const refused = ask('/refused');
    await eventually('a second connection', () => sockets.length === 2);
    expect(connections.counts?.()).toMatchObject({ waiting: 1 });
    expect(await ask('/')).toBe(200);
    streams[0]?.respond({ ':status': 204 }, { endStream: true });
    expect(await held).toBe(204);
    sockets[1]?.destroy();
    await expect(refused).rejects.toMatchObject({ code: 'ERR_PROXY_CONNECT' });
  });
});

import { connect as connectSocket, createServer as createNetServer } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { loadBalancer, proxyPass, Upstream, UpstreamPool } from 'headrace';
import { type ConnectionOptions, connectionSettings } from '../../src/connection-settings.js';
import { type Connections, connectionsTo } from '../../src/transport/connections.js';
import { ownRequest } from '../../src/transport/own-request.js';
import { probe } from '../../src/transport/probe.js';
import { rawClient } from '../helpers/client.js';
import { echo, http2Upstream } from '../helpers/http2.js';
import { closeAfter, gateway, listen } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** Connections over HTTP/2 to a port, and a way to ask over them. */
function connectionsAt(port: number, options: ConnectionOptions = {}) {
  const upstream = new Upstream(`http://127.0.0.1:${port}`);
  closeAfter(() => upstream.close());
  const settings = connectionSettings('test', { http2: 'prior-knowledge', ...options });
  const connections = connectionsTo(upstream, settings);
  const request = (path: string) => ownRequest(upstream, path, [], 5_000);
  return { connections, request, ask: (path: string) => status(connections, request(path)) };
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

/** An upstream that says nothing, its SETTINGS neither, until it is let go on. */
async function heldUpstream(): Promise<{ port: number; goOn: () => void }> {
  const inner = await http2Upstream(echo);
  let goOn = (): void => {};
  const held = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const server = createNetServer((socket) => {
    const onwards = connectSocket(inner.port, '127.0.0.1');
    for (const one of [socket, onwards]) one.on('error', () => {});
    closeAfter(() => {
      socket.destroy();
      onwards.destroy();
    });
    void held.then(() => socket.pipe(onwards).pipe(socket));
  });
  return { port: await listen(server), goOn };
}

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

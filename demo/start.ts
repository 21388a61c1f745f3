import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';
import { attach } from 'headrace';
import { backend } from './backend.js';
import { forward } from './forward.js';
import { type Backends, gateway } from './gateway.js';
import { talk } from './talk.js';

/** Where the demo listens; 0 takes any free port. */
export interface DemoPorts {
  readonly server: number;
  readonly second: number;
  readonly third: number;
  readonly gateway: number;
  readonly forward: number;
}

/** The demo in action. */
export interface Demo extends Backends {
  readonly gateway: string;
  readonly forward: string;
  /** Lets what is under way finish, and stops. */
  close(): Promise<void>;
}

/** Starts three backends, the gateway in front of them, and a forward proxy. */
export async function start(ports: DemoPorts, log: (line: string) => void): Promise<Demo> {
  const running: Pick<Running, 'close'>[] = [];
  const close = async (): Promise<void> => {
    // The gateway goes first, so that what it is doing still finds its backends.
    for (const one of running.reverse()) await one.close();
  };
  try {
    const server = await listen(backend('server'), ports.server, talk);
    running.push(server);
    const second = await listen(backend('second'), ports.second);
    running.push(second);
    const third = await listen(backend('third'), ports.third);
    running.push(third);
    const backends = { server: server.url, second: second.url, third: third.url };
    const { app, close: closeGateway } = gateway(backends, log);
    running.push({ close: closeGateway });
    const front = await listen(app, ports.gateway);
    running.push(front);
    const proxy = await listen(forward(log), ports.forward);
    running.push(proxy);
    return { ...backends, gateway: front.url, forward: proxy.url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Running {
  readonly url: string;
  close(): Promise<void>;
}

/** `serveUpgrades` has the server answer upgrades by itself; otherwise they are for the app. */
async function listen(
  app: Express,
  port: number,
  serveUpgrades?: (server: Server) => void,
): Promise<Running> {
  const server = createServer(app);
  // A browser may hold a connection open for later: it is waited for, but not for long.
  const attached = attach(server, app, {
    drainMs: 2_000,
    upgrades: () => serveUpgrades === undefined,
  });
  serveUpgrades?.(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    close: attached.close,
  };
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createClient } from 'redis';
import { findProgram, onceSaid } from './programs.js';
import { closeAfter } from './servers.js';

/** The server that the tests start; `undefined` where it is not installed. */
export const redisServer = findProgram('redis-server');

/** A Redis server of a test's own, which keeps nothing on disk. */
export interface Redis {
  readonly port: number;
  readonly url: string;
  /** Ends the process, as a crash would. */
  kill(): Promise<void>;
  /** Stops it without closing its connections: it takes commands and answers none. */
  pause(): void;
  resume(): void;
  /** Starts it again, at the same port and empty. */
  restart(): Promise<void>;
}

/** Starts Redis on a free port of 127.0.0.1; it ends with the test. */
export async function redis(): Promise<Redis> {
  const port = await freePort();
  let running: ChildProcess | undefined = await start(port);
  const kill = async () => {
    const child = running;
    running = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
  closeAfter(kill);
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    kill,
    pause: () => void running?.kill('SIGSTOP'),
    resume: () => void running?.kill('SIGCONT'),
    restart: async () => {
      await kill();
      running = await start(port);
    },
  };
}

async function start(port: number): Promise<ChildProcess> {
  if (redisServer === undefined) throw new Error('Redis is missing: apt-get install redis-server');
  const settings = { port, bind: '127.0.0.1', save: '', appendonly: 'no', daemonize: 'no' };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(redisServer, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  return onceSaid(child, child.stdout, 'Ready to accept connections');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A client as an application would have it: it connects anew, soon, and keeps commands until it has. */
export async function redisClient(url: string): Promise<ReturnType<typeof createClient>> {
  const client = createClient({ url, socket: { reconnectStrategy: () => 50 } });
  client.on('error', () => {});
  closeAfter(() => client.destroy());
  await client.connect();
  return client as ReturnType<typeof createClient>;
}

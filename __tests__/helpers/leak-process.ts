/**
 * Run by `leaks.test.ts` in a process of its own: faults, each a thousand times, and what is open before
 * and after. Jest's own bookkeeping would drown what is looked for.
 */
import { createHook } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import {
  type AddressInfo,
  connect,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import {
  type Handler,
  modifyResponse,
  type ProxyPassOptions,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { Pool } from 'undici';

/** What is open in a process. */
interface Measure {
  readonly files: number;
  /** What keeps the process alive, by its type. */
  readonly resources: Record<string, number>;
  /** Timers of any kind, those that keep nothing alive included. */
  readonly timers: number;
  /** Connections to the upstream. */
  readonly connections: number;
  /** Listeners on the process. */
  readonly listeners: number;
  /** Statistics of undici's pool. */
  readonly pool: Record<string, number>;
  readonly heapBytes: number;
}

/** What the process prints of each fault. */
export interface LeakReport {
  /** What clients got: statuses, or how it ended. */
  readonly outcomes: string[];
  readonly warnings: string[];
  readonly before: Measure;
  readonly after: Measure;
}

const WARM_UP = 100;
const REPETITIONS = 1_000;

interface Fault {
  readonly options?: ProxyPassOptions;
  readonly piece?: Handler;
  /** What the upstream does when a request has come; without it, nothing listens there. */
  readonly upstream?: (socket: Socket) => void;
  /** The upstream is a port that takes no connections and refuses none. */
  readonly blackHole?: boolean;
  readonly upload?: boolean;
  /** When the client leaves; otherwise it waits for the end. */
  readonly leaves?: 'once the upstream has the request' | 'at the first byte';
  /** Requests at a time: many where each waits for a timeout. */
  readonly atOnce: number;
}

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n';
const waits = (): void => {};

const faults: Record<string, Fault> = {
  'a connection that is refused': { atOnce: 50 },
  'a reset before the head': { upstream: (socket) => socket.resetAndDestroy(), atOnce: 50 },
  'an end before the head': { upstream: (socket) => socket.end(), atOnce: 50 },
  'a reset in the body': {
    upstream: (socket) => socket.write(`${HEAD}half`, () => socket.resetAndDestroy()),
    atOnce: 50,
  },
  garbage: { upstream: (socket) => socket.write('garbage\r\n\r\n'), atOnce: 50 },
  'a connection that takes too long': {
    blackHole: true,
    options: { connectTimeoutMs: 1 },
    atOnce: 500,
  },
  'a head that takes too long': { upstream: waits, options: { headersTimeoutMs: 1 }, atOnce: 500 },
  'a body that stands still': {
    upstream: (socket) => socket.write(`${HEAD}half`),
    options: { bodyTimeoutMs: 1 },
    atOnce: 500,
  },
  'an upload that stands still': {
    upstream: waits,
    upload: true,
    options: { bodyTimeoutMs: 1 },
    atOnce: 50,
  },
  'an upload that is too long': { upload: true, options: { maxBodyBytes: 10 }, atOnce: 50 },
  'a client that leaves while it waits': {
    upstream: waits,
    leaves: 'once the upstream has the request',
    atOnce: 50,
  },
  'a client that leaves while it uploads': {
    upstream: waits,
    upload: true,
    leaves: 'once the upstream has the request',
    atOnce: 50,
  },
  'a client that leaves while it downloads': {
    upstream: (socket) => socket.write(HEAD + 'x'.repeat(100_000)),
    leaves: 'at the first byte',
    atOnce: 50,
  },
  'an edit that throws': {
    upstream: (socket) => socket.write(`${HEAD}half`),
    piece: modifyResponse(() => {
      throw new Error('no');
    }),
    atOnce: 50,
  },
  'an edit that rejects as it reads': {
    upstream: (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno'),
    piece: modifyResponse(async (response) => {
      await response.json();
    }),
    atOnce: 50,
  },
};

/** Sockets of either side, by what they belong to. */
const open = { upstream: new Set<Socket>(), pool: new Set<Socket>() };
const timers = new Set<number>();
createHook({
  init: (id, type) => {
    if (type === 'Timeout') timers.add(id);
  },
  destroy: (id) => {
    timers.delete(id);
  },
}).enable();

subscribe('undici:client:connected', (message) => {
  const { socket } = message as { socket: Socket };
  track(open.pool, socket);
});

function track(set: Set<Socket>, socket: Socket): void {
  set.add(socket);
  socket.on('close', () => set.delete(socket));
  socket.on('error', () => {});
}

/** Who waits for a request to have come to the upstream, by its number. */
const arrivals = new Map<string, () => void>();

async function upstreamOf({ upstream, blackHole }: Fault): Promise<number> {
  if (blackHole === true) return fullQueue();
  const server = createNetServer((socket) => {
    track(open.upstream, socket);
    socket.on('data', (chunk) => {
      const id = /^\S+ \/(\d+) /.exec(chunk.toString('latin1'))?.[1];
      if (id === undefined) return;
      arrivals.get(id)?.();
      upstream?.(socket);
    });
  });
  const port = await listen(server);
  if (upstream === undefined) server.close();
  return port;
}

async function listen(server: Server | NetServer): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** Two gateways: one with connections of its own, one with a pool whose statistics can be seen. */
async function gatewaysOf(fault: Fault, origin: string): Promise<{ ports: number[]; pool: Pool }> {
  const options = { connections: 500, ...fault.options };
  const { connectTimeoutMs: timeout = 5_000 } = options;
  const pool = new Pool(origin, { connections: 500, pipelining: 1, connect: { timeout } });
  const passes = [proxyPass(origin, options), proxyPass(origin, { ...options, dispatcher: pool })];
  const answer = proxyErrors();
  const listeners = passes.map((pass): RequestListener => {
    return (req, res) => {
      const next = (error?: unknown) =>
        error === undefined ? pass(req, res, next) : answer(error, req, res, () => res.destroy());
      if (fault.piece === undefined) next();
      else fault.piece(req, res, next);
    };
  });
  const ports = await Promise.all(listeners.map((listener) => listen(createServer(listener))));
  return { ports, pool };
}

let requests = 0;

/** One request and its fault; gives the status that the client got, or what became of it. */
async function suffer(fault: Fault, port: number): Promise<string> {
  const id = String(++requests);
  const arrived = new Promise<void>((resolve) => arrivals.set(id, resolve));
  const socket = connect({ port, host: '127.0.0.1' });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  let text = '';
  socket.on('error', () => {});
  const answered = new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      text ||= chunk.toString('latin1', 0, 12);
      resolve();
    });
  });
  const method = fault.upload === true ? 'POST' : 'GET';
  const length = fault.upload === true ? 'Content-Length: 100000\r\n' : '';
  socket.write(`${method} /${id} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n${length}\r\n`);
  if (fault.upload === true) socket.write('x'.repeat(1_000));
  if (fault.leaves !== undefined) {
    await (fault.leaves === 'at the first byte' ? answered : arrived);
    socket.destroy();
  }
  await closed;
  arrivals.delete(id);
  return fault.leaves === undefined ? text.slice(9) || 'cut off' : 'left';
}

async function repeat(fault: Fault, ports: readonly number[], times: number): Promise<string[]> {
  const outcomes = new Set<string>();
  let left = times;
  const worker = async () => {
    while (left-- > 0) outcomes.add(await suffer(fault, ports[left % ports.length] as number));
  };
  await Promise.all(Array.from({ length: fault.atOnce }, worker));
  return [...outcomes];
}

/** How long what closes may take on a machine that has much else to do. What is lost does not close at all. */
const PATIENCE_MS = 5_000;

/** What is open once everything has come to rest; where that is more than it was, after another while. */
async function measure(pool: Pool, files = Number.POSITIVE_INFINITY): Promise<Measure> {
  let before = '';
  const start = performance.now();
  const mayWait = () => filesOpen() > files && performance.now() - start < PATIENCE_MS;
  for (let calm = 0; calm < 3 || mayWait(); ) {
    // Connections that nobody uses stay open for a while, more or fewer of them.
    for (const socket of open.upstream) socket.destroy();
    await delay(50);
    const sizes = [open.upstream.size, open.pool.size, timers.size, filesOpen()];
    const now = JSON.stringify([sizes, resources()]);
    calm = now === before ? calm + 1 : 0;
    before = now;
  }
  for (let i = 0; i < 3; i++) {
    global.gc?.();
    await delay(10);
  }
  const { running, pending, queued } = pool.stats;
  return {
    files: filesOpen(),
    resources: resources(),
    timers: timers.size,
    connections: open.pool.size,
    listeners: listenersOf(process),
    pool: { running, pending, queued },
    heapBytes: process.memoryUsage().heapUsed,
  };
}

function resources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}

function listenersOf(emitter: NodeJS.EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0);
}

function filesOpen(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

/** Listens, says where, and never gets to accept a connection. */
const LISTENER = `
  const server = require('node:net').createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    require('node:worker_threads').parentPort.postMessage(server.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

/** A port whose accept queue is full. */
async function fullQueue(): Promise<number> {
  const worker = new Worker(LISTENER, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  for (let i = 0; i < 4; i++) connect({ port, host: '127.0.0.1' }).on('error', () => {});
  return port;
}

const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(String(warning)));

async function reportOn(fault: Fault): Promise<LeakReport> {
  const { ports, pool } = await gatewaysOf(fault, `http://127.0.0.1:${await upstreamOf(fault)}`);
  await repeat(fault, ports, WARM_UP);
  const before = await measure(pool);
  const outcomes = await repeat(fault, ports, REPETITIONS);
  return {
    outcomes,
    warnings: warnings.splice(0),
    before,
    after: await measure(pool, before.files),
  };
}

async function main(names: readonly string[]): Promise<void> {
  const reports: Record<string, LeakReport> = {};
  for (const name of names) reports[name] = await reportOn(faults[name] as Fault);
  process.stdout.write(JSON.stringify(reports), () => process.exit());
}

void main(process.argv.slice(2));

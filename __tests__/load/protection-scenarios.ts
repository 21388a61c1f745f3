/** Run in a process of their own by `protection.load.ts`. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import {
  attach,
  circuitBreaker,
  concurrencyLimit,
  type Handler,
  loadBalancer,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { type Answer, offer, quantile } from '../helpers/open-loop.js';

/** Requests that the upstream works on at a time, and how long each takes. */
const WORKERS = 20;
const SERVICE_MS = 80;
const CAPACITY = (WORKERS * 1_000) / SERVICE_MS;

async function listen(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

const close = ({ server }: { server: Server }): void => {
  server.close();
  server.closeAllConnections();
};

async function gateway(...pieces: Handler[]) {
  return listen(express().use(...pieces, proxyErrors()));
}

/** An upstream that gets slower the more it is asked at once, as real ones do. */
async function busyUpstream() {
  let busy = 0;
  let most = 0;
  const running = await listen((_req, res) => {
    busy++;
    most = Math.max(most, busy);
    // Beyond what it can work on, requests get in each other's way.
    const share = Math.max(1, busy / WORKERS);
    setTimeout(() => {
      busy--;
      res.end('done');
    }, SERVICE_MS * share);
  });
  return { ...running, most: () => most };
}

export interface Overload {
  readonly capacity: number;
  readonly offered: number;
  readonly goodput: number;
  readonly unloadedP99: number;
  readonly acceptedP99: number;
  readonly mostAtOnce: number;
  readonly statuses: Readonly<Record<number, number>>;
}

/** Three times as many requests as the upstream can serve. */
export async function overload(): Promise<Overload> {
  const upstream = await busyUpstream();
  const front = await gateway(
    concurrencyLimit({ limit: WORKERS, queue: { size: WORKERS / 2, timeoutMs: 1_000 } }),
    proxyPass(`http://127.0.0.1:${upstream.port}`),
  );
  // All of it runs in this process, and compiles in the first seconds.
  await offer(front.port, CAPACITY * 3, 3);
  const calm = await offer(front.port, CAPACITY / 4, 4);
  const seconds = 6;
  const storm = await offer(front.port, CAPACITY * 3, seconds);
  close(front);
  close(upstream);
  const accepted = storm.answers.filter(({ status }) => status === 200);
  const ended = storm.answers.map(({ sentAt, tookMs }) => sentAt + tookMs);
  const lasted =
    (Math.max(...ended) - Math.min(...storm.answers.map(({ sentAt }) => sentAt))) / 1e3;
  return {
    capacity: CAPACITY,
    offered: storm.sent / seconds,
    goodput: accepted.length / lasted,
    unloadedP99: quantile(calm.answers.map(took), 0.99),
    acceptedP99: quantile(accepted.map(took), 0.99),
    mostAtOnce: upstream.most(),
    statuses: statusesOf(storm.answers),
  };
}

export interface Hanging {
  readonly statuses: Readonly<Record<number, number>>;
  /** The longest that a client had to wait. */
  readonly longestMs: number;
  /** Requests that reached the upstream while it hung. */
  readonly reached: number;
  /** The share of requests sent once the breaker has had its time that were answered within 100 ms. */
  readonly quick: number;
  /** How long after the end of the hang the first good answer was asked for. */
  readonly backAfterMs: number;
  /** Answers other than 200 to what was sent once the upstream was back and found to be. */
  readonly failedAfter: number;
}

const HANG = { afterMs: 1_000, forMs: 10_000, headersTimeoutMs: 1_000, resetTimeoutMs: 2_000 };

/** An upstream that says nothing for ten seconds, while 500 requests come each second. */
export async function hanging(): Promise<Hanging> {
  const start = performance.now();
  let reached = 0;
  const hangs = (): boolean => {
    const at = performance.now() - start;
    return at > HANG.afterMs && at < HANG.afterMs + HANG.forMs;
  };
  const upstream = await listen((_req, res) => {
    if (!hangs()) res.end('ok');
    else reached++;
  });
  const front = await gateway(
    loadBalancer({
      upstreams: [`http://127.0.0.1:${upstream.port}`],
      health: { passive: false },
    }),
    circuitBreaker({ resetTimeoutMs: HANG.resetTimeoutMs }),
    proxyPass({ headersTimeoutMs: HANG.headersTimeoutMs, connections: 1_000 }),
  );
  const offset = performance.now() - start;
  const { answers } = await offer(front.port, 500, 16);
  close(front);
  close(upstream);
  const at = (answer: Answer): number => answer.sentAt + offset;
  const hangEnds = HANG.afterMs + HANG.forMs;
  const shed = answers.filter(
    (answer) => at(answer) > HANG.afterMs + 2_500 && at(answer) < hangEnds - 100,
  );
  const back = answers.find((answer) => at(answer) > hangEnds && answer.status === 200);
  const backAt = back === undefined ? Number.POSITIVE_INFINITY : at(back);
  return {
    statuses: statusesOf(answers),
    longestMs: Math.max(...answers.map(took)),
    reached,
    quick: shed.filter(({ tookMs }) => tookMs < 100).length / shed.length,
    backAfterMs: backAt - hangEnds,
    failedAfter: answers.filter((a) => at(a) > backAt + 200 && a.status !== 200).length,
  };
}

export interface SlowLoris {
  readonly held: number;
  readonly healthy: Readonly<Record<number, number>>;
  readonly p99: number;
  /** Slow connections that the server had closed in the end. */
  readonly closed: number;
}

/** A thousand clients that never finish their header, and one that wants an answer. */
export async function slowLoris(): Promise<SlowLoris> {
  const upstream = await listen((_req, res) => res.end('ok'));
  const app = express().use(proxyPass(`http://127.0.0.1:${upstream.port}`), proxyErrors());
  const server = createServer();
  const attached = attach(server, app, { headersTimeoutMs: 2_000 });
  server.on('request', app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  let closed = 0;
  const slow = Array.from({ length: 1_000 }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: slow.example\r\n');
    socket.on('error', () => {});
    socket.resume();
    socket.once('close', () => closed++);
    return socket;
  });
  await Promise.all(slow.map((socket) => once(socket, 'connect')));
  const drip = setInterval(() => {
    for (const socket of slow) if (!socket.destroyed) socket.write('X: y\r\n');
  }, 500);
  const { answers } = await offer(port, 50, 2);
  const held = 1_000 - closed;
  for (let i = 0; i < 100 && closed < 1_000; i++) await delay(100);
  clearInterval(drip);
  for (const socket of slow) socket.destroy();
  await attached.close();
  close(upstream);
  return {
    held,
    healthy: statusesOf(answers),
    p99: quantile(answers.map(took), 0.99),
    closed,
  };
}

const took = ({ tookMs }: Answer): number => tookMs;

function statusesOf(answers: readonly Answer[]): Record<number, number> {
  const statuses: Record<number, number> = {};
  for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
  return statuses;
}

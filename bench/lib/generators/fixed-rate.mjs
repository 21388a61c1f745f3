// Requests at a fixed rate, however slow the answers are. Each latency counts from the moment at which its request was
// due, so that what had to wait behind a slow answer is seen too (no coordinated omission).
import { once } from 'node:events';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
import { generate, percentiles } from './generator.mjs';
import { ResponseReader } from './response-reader.mjs';

/** What is still missing so long after the last was due is an error, and as slow as that. */
const PATIENCE_MS = 2000;
const WARM_UP_SECONDS = 0.5;

/**
 * Opens the connections. Before, it works for a moment that nobody counts: until V8 has compiled this program and the
 * pacer runs, requests would leave late, by tens of milliseconds, and p99 would tell of nothing else.
 */
async function prepare(job) {
  const pacer = new Worker(new URL('pacer.mjs', import.meta.url));
  // It says that it is there.
  await once(pacer, 'message');
  const ofWarmUp = await open(job);
  await run({ ...job, seconds: WARM_UP_SECONDS }, { sockets: ofWarmUp, pacer });
  for (const socket of ofWarmUp) socket.destroy();
  return { sockets: await open(job), pacer };
}

function open({ url, connections }) {
  const { hostname, port } = new URL(url);
  const one = async () => {
    const socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    await once(socket, 'connect');
    return socket;
  };
  return Promise.all(Array.from({ length: connections }, one));
}

async function work(job, prepared) {
  const counted = await run(job, prepared);
  await prepared.pacer.terminate();
  return counted;
}

async function run({ url, rate, seconds }, { sockets, pacer }) {
  const schedule = new Schedule(url, { gapMs: 1000 / rate, total: Math.round(rate * seconds) });
  for (const socket of sockets) schedule.use(socket);
  const sendDue = () => schedule.sendDue();
  pacer.on('message', sendDue);
  pacer.postMessage({ gapMs: schedule.gapMs, total: schedule.total });
  const timer = setTimeout(schedule.finish, seconds * 1000 + PATIENCE_MS);
  await schedule.finished;
  clearTimeout(timer);
  pacer.off('message', sendDue);
  return schedule.counted();
}

class Schedule {
  #request;
  #began = performance.now();
  #sent = 0;
  #idle = [];
  /** When what each busy connection carries was due. */
  #dueAt = new Map();
  #latencies = [];
  #badStatus = 0;

  constructor(url, { gapMs, total }) {
    const { pathname, host } = new URL(url);
    this.#request = `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nAccept: application/json\r\n\r\n`;
    this.gapMs = gapMs;
    this.total = total;
    this.finished = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  use(socket) {
    const reader = new ResponseReader();
    this.#idle.push(socket);
    socket.on('data', (chunk) => {
      const status = reader.push(chunk);
      if (status !== undefined) this.#answered(socket, status);
    });
    // A connection that breaks is not used again; what it carried is never answered.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#idle = this.#idle.filter((one) => one !== socket);
    });
  }

  sendDue() {
    const due = Math.floor((performance.now() - this.#began) / this.gapMs) + 1;
    while (this.#sent < Math.min(due, this.total) && this.#idle.length > 0) {
      const socket = this.#idle.shift();
      this.#dueAt.set(socket, this.#began + this.#sent++ * this.gapMs);
      socket.write(this.#request);
    }
  }

  #answered(socket, status) {
    this.#latencies.push(performance.now() - this.#dueAt.get(socket));
    this.#dueAt.delete(socket);
    this.#idle.push(socket);
    if (status !== 200) this.#badStatus++;
    if (this.#latencies.length === this.total) this.finish();
    else this.sendDue();
  }

  counted() {
    const now = performance.now();
    const missing = [...this.#dueAt.values()].map((dueAt) => now - dueAt);
    for (let i = this.#sent; i < this.total; i++) missing.push(now - this.#began - i * this.gapMs);
    return {
      amount: this.#latencies.length,
      badStatus: this.#badStatus,
      socketErrors: missing.length,
      ...percentiles([...this.#latencies, ...missing]),
    };
  }
}

await generate({ prepare, work });

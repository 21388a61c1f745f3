// Clients that listen to server-sent events. The upstream says in each when it was sent.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate, percentiles } from './generator.mjs';

const AT_ONCE = 50;
const PATIENCE_MS = 5000;

async function prepare({ url, connections }) {
  const sockets = [];
  while (sockets.length < connections) {
    const count = Math.min(AT_ONCE, connections - sockets.length);
    sockets.push(...(await Promise.all(Array.from({ length: count }, () => listen(url)))));
  }
  return sockets;
}

async function listen(url) {
  const { hostname, port, pathname, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  await once(socket, 'data', { signal }).catch(() => {
    throw new Error(`a connection hears nothing in ${PATIENCE_MS} ms`);
  });
  return socket;
}

async function work({ seconds }, sockets) {
  let amount = 0;
  let socketErrors = 0;
  const delays = [];
  for (const socket of sockets) {
    socket.on('error', () => {});
    socket.on('close', () => socketErrors++);
    socket.on('data', (chunk) => {
      const now = performance.timeOrigin + performance.now();
      for (const [, sentAt] of chunk.latin1Slice().matchAll(/data: ([\d.]+)/g)) {
        amount++;
        delays.push(now - Number(sentAt));
      }
    });
  }
  await sleep(seconds * 1000);
  return { amount, socketErrors, ...percentiles(delays) };
}

await generate({ prepare, work });

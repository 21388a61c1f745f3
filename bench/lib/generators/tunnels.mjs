// Tunnels: messages there and back, as many bytes as go, or one tunnel after the other.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate, percentiles } from './generator.mjs';
import { openTunnel } from './tunnel.mjs';

const MESSAGE = Buffer.alloc(128, 'x');
const CHUNK = Buffer.alloc(65_536, 'x');
const MIB = 1024 * 1024;

const kinds = {
  messages: { prepare: openAll, work: messages },
  bulk: { prepare: openAll, work: bulk },
  handshakes: { work: handshakes },
};
function openAll({ url, connections }) {
  const { port, pathname: path } = new URL(url);
  return Promise.all(Array.from({ length: connections }, () => openTunnel({ port, path })));
}

/** One message at a time through each tunnel. */
async function messages({ seconds }, sockets) {
  const until = performance.now() + seconds * 1000;
  const latencies = [];
  let socketErrors = 0;
  const converse = (socket) =>
    new Promise((done) => {
      let sentAt = performance.now();
      let awaited = MESSAGE.length;
      socket.on('close', () => {
        socketErrors++;
        done();
      });
      socket.on('data', ({ length }) => {
        awaited -= length;
        if (awaited > 0) return;
        const now = performance.now();
        latencies.push(now - sentAt);
        if (now >= until) return done();
        sentAt = now;
        awaited = MESSAGE.length;
        socket.write(MESSAGE);
      });
      socket.write(MESSAGE);
    });
  await Promise.all(sockets.map(converse));
  return { amount: latencies.length, socketErrors, ...percentiles(latencies) };
}

/** What came back counts. */
async function bulk({ seconds }, sockets) {
  let bytes = 0;
  let socketErrors = 0;
  for (const socket of sockets) {
    const fill = () => {
      while (socket.write(CHUNK));
    };
    socket.on('close', () => socketErrors++);
    socket.on('data', ({ length }) => {
      bytes += length;
    });
    socket.on('drain', fill);
    fill();
  }
  await sleep(seconds * 1000);
  return { amount: bytes / MIB, socketErrors };
}

/** Tunnels that are opened and closed again, so many at a time. */
async function handshakes({ url, connections, seconds }) {
  const { port, pathname: path } = new URL(url);
  const until = performance.now() + seconds * 1000;
  let amount = 0;
  let socketErrors = 0;
  const client = async () => {
    while (performance.now() < until) {
      try {
        const socket = await openTunnel({ port, path });
        socket.end().resume();
        await once(socket, 'close', { signal: AbortSignal.timeout(5000) });
        amount++;
      } catch {
        socketErrors++;
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, client));
  return { amount, socketErrors };
}

const { settings } = JSON.parse(process.argv[2]);
await generate(kinds[settings.kind]);

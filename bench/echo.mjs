// Messages, bytes and connections through tunnels, beside http-proxy and nginx: node bench/echo.mjs [rounds]
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, stop, stopAllAtExit } from './lib/children.mjs';
import { usageOf } from './lib/native.mjs';
import { nginxPaths } from './lib/nginx.mjs';
import { freePort, waitForPort } from './lib/ports.mjs';
import { median, shuffled } from './lib/stats.mjs';
import { installPeers, nodeBinary, requireBuild, requireTools } from './lib/tools.mjs';

const SECONDS = 3;
const HANDSHAKE = [
  'GET /chat HTTP/1.1',
  'Host: gateway',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';

/** What is counted, each for some seconds: `work` returns how many there were of it. */
const cases = [
  { name: 'messages/s', unit: 'message', work: (port) => messages(port, 50) },
  { name: 'MiB/s', unit: 'MiB', work: (port) => bulk(port, 8) },
  { name: 'tunnels/s', unit: 'tunnel', work: (port) => handshakes(port, 16) },
];

const [role, target] = process.argv.slice(2);
if (role === 'echo') echo(Number(target));
else await main(Number(role ?? 3));

/** Runs in a process of its own, on the core of the load. */
function echo(port) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(SWITCH);
      socket.pipe(socket);
    });
  });
  server.listen(port, '127.0.0.1', 4_096);
}

async function main(rounds) {
  stopAllAtExit();
  requireTools();
  requireBuild();
  installPeers();
  const node = nodeBinary();
  const upstreamPort = await freePort();
  const upstream = start(1, node, [fileURLToPath(import.meta.url), 'echo', String(upstreamPort)]);
  await waitForPort(upstreamPort, upstream);
  const proxies = ['headrace', 'http-proxy', 'nginx'];
  const samples = [];
  for (let round = 0; round < rounds; round++) {
    for (const name of shuffled(proxies)) {
      const proxy = await startProxy(name, node, `http://127.0.0.1:${upstreamPort}`);
      for (const one of cases) samples.push(await measure(name, one, proxy));
      await proxy.close();
    }
  }
  await stop(upstream, 'SIGKILL');
  print(proxies, samples);
}

async function startProxy(name, node, upstream) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  const script = fileURLToPath(new URL(`proxies/tunnels/${name}.mjs`, import.meta.url));
  if (name === 'nginx') writeFileSync(join(folder, 'nginx.conf'), configuration(port, upstream));
  const [command, args] =
    name === 'nginx'
      ? ['nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'log']]
      : [node, [script]];
  const child = start(0, command, args, {
    stdio: 'ignore',
    env: { ...process.env, NODE_ENV: 'production', PORT: String(port), BENCH_UPSTREAM: upstream },
  });
  await waitForPort(port, child);
  const close = async () => {
    await stop(child, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  return { port, pid: child.pid, close };
}

async function measure(name, { name: what, work }, { port, pid }) {
  // Warm, and each as long as what is measured.
  await work(port);
  const before = usageOf(pid).cpuMicros;
  const began = performance.now();
  const count = await work(port);
  const seconds = (performance.now() - began) / 1_000;
  const micros = usageOf(pid).cpuMicros - before;
  return { name, what, perSecond: count / seconds, micros: micros / count };
}

async function open(port) {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.write(HANDSHAKE);
  await once(socket, 'data');
  return socket;
}

function deadline() {
  return performance.now() + SECONDS * 1_000;
}

/** One message of 128 bytes at a time through each tunnel. */
async function messages(port, tunnels) {
  const message = Buffer.alloc(128, 'x');
  const sockets = await Promise.all(Array.from({ length: tunnels }, () => open(port)));
  const until = deadline();
  let count = 0;
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise((done) => {
          socket.on('data', () => {
            count++;
            if (performance.now() < until) socket.write(message);
            else done();
          });
          socket.write(message);
        }),
    ),
  );
  for (const socket of sockets) socket.destroy();
  return count;
}

/** As much as goes through a few tunnels, there and back; MiB that came back. */
async function bulk(port, tunnels) {
  const chunk = Buffer.alloc(65_536, 'x');
  const sockets = await Promise.all(Array.from({ length: tunnels }, () => open(port)));
  let bytes = 0;
  let going = true;
  for (const socket of sockets) {
    const fill = () => {
      while (going && socket.write(chunk));
    };
    socket.on('data', ({ length }) => {
      bytes += length;
    });
    socket.on('drain', fill);
    fill();
  }
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  going = false;
  for (const socket of sockets) socket.destroy();
  return bytes / 1_048_576;
}

/** Tunnels that are opened and closed again, so many at a time. */
async function handshakes(port, atOnce) {
  const until = deadline();
  let count = 0;
  const client = async () => {
    while (performance.now() < until) {
      const socket = await open(port);
      socket.end().resume();
      await once(socket, 'close');
      count++;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
  return count;
}

function print(proxies, samples) {
  console.log(
    `Tunnels on core 0, load and upstream on core 1; Node of the load ${process.version}`,
  );
  for (const { name: what, unit } of cases) {
    console.log(`\n| ${what} | median | CPU µs a ${unit} |\n| --- | ---: | ---: |`);
    for (const name of proxies) {
      const own = samples.filter((sample) => sample.name === name && sample.what === what);
      const speed = median(own.map(({ perSecond }) => perSecond));
      const cost = median(own.map(({ micros }) => micros));
      console.log(`| ${name} | ${speed.toFixed(0)} | ${cost.toFixed(1)} |`);
    }
  }
}

function configuration(port, upstream) {
  return `
daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
${nginxPaths()}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass ${upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection upgrade;
      proxy_set_header Upgrade $http_upgrade;
    }
  }
}
`;
}

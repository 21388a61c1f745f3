// Memory of idle tunnels, and whether they leave anything behind: node --expose-gc bench/tunnels.mjs [count]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';

const HANDSHAKE = [
  'GET /chat HTTP/1.1',
  'Host: gateway',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '',
  '',
].join('\r\n');
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
/** Files that a process has open besides its tunnels; some are being opened or closed. */
const OTHER_FILES = 500;
/** Ports of one address do not suffice for everybody; loopback has more addresses. */
const ADDRESSES = 4;

// Whoever is left alone ends.
process.on('disconnect', () => process.exit());

const [role, ...rest] = process.argv.slice(2);
if (role === 'gateway') await gateway(rest[0]);
else if (role === 'upstream') upstream();
else await main(Number(role ?? 10_000));

async function gateway(target) {
  const { default: express } = await import('express');
  const { attach, proxyPass } = await import('../dist/esm/index.js');
  const app = express();
  app.use(proxyPass(target));
  const server = createHttpServer(app);
  attach(server, app);
  server.listen(0, '127.0.0.1', 4_096, () => process.send(server.address().port));
  process.on('message', () => {
    for (let i = 0; i < 3; i++) global.gc();
    const { heapUsed, rss } = process.memoryUsage();
    const handles = process
      .getActiveResourcesInfo()
      .filter((one) => one === 'TCPSocketWrap').length;
    process.send({ heapUsed, rss, handles });
  });
}

function upstream() {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(SWITCH);
      socket.pipe(socket);
    });
  });
  server.listen(0, '127.0.0.1', 4_096, () => process.send(server.address().port));
}

async function started(...args) {
  const child = fork(import.meta.filename, args, { execArgv: ['--expose-gc'] });
  const [port] = await once(child, 'message');
  return { child, port };
}

/** What all gateways come to. */
async function measure(gateways) {
  const sum = { heapUsed: 0, rss: 0, handles: 0 };
  for (const { child } of gateways) {
    child.send('measure');
    const [figures] = await once(child, 'message');
    for (const name of Object.keys(sum)) sum[name] += figures[name];
  }
  return sum;
}

/** A tunnel takes two files of a gateway: where one may not have that many, several share the work. */
function gatewaysFor(count) {
  const { soft } = process.report.getReport().userLimits?.open_files ?? {};
  const most = Number(soft);
  if (!(most > 0)) return 1;
  if (count + OTHER_FILES > most) {
    throw new Error(`${count} tunnels need more than the ${most} open files of \`ulimit -n\``);
  }
  return Math.ceil((2 * count) / (most - OTHER_FILES));
}

async function open(port, i) {
  const socket = connect({
    port,
    host: '127.0.0.1',
    localAddress: `127.0.0.${2 + (i % ADDRESSES)}`,
  });
  socket.on('error', () => {});
  socket.write(HANDSHAKE);
  await once(socket, 'data');
  return socket;
}

async function openAll(gateways, count) {
  const sockets = [];
  while (sockets.length < count) {
    const batch = Math.min(100, count - sockets.length);
    const opening = Array.from({ length: batch }, (_, i) =>
      open(gateways[i % gateways.length].port, i),
    );
    sockets.push(...(await Promise.all(opening)));
  }
  return sockets;
}

async function closeAll(sockets) {
  await Promise.all(sockets.map((socket) => once(socket.end().resume(), 'close')));
  await new Promise((resolve) => setTimeout(resolve, 500));
}

async function echoes(socket, ms) {
  const message = Buffer.alloc(128, 'x');
  const until = performance.now() + ms;
  let count = 0;
  while (performance.now() < until) {
    socket.write(message);
    await once(socket, 'data');
    count++;
  }
  return count;
}

async function main(count) {
  const far = await started('upstream');
  const near = [];
  for (let i = gatewaysFor(count); i > 0; i--) {
    near.push(await started('gateway', `http://127.0.0.1:${far.port}`));
  }
  await closeAll(await openAll(near, 500));
  const before = await measure(near);
  const began = performance.now();
  const sockets = await openAll(near, count);
  const openMs = performance.now() - began;
  const during = await measure(near);
  const rounds = await Promise.all(sockets.slice(0, 50).map((socket) => echoes(socket, 3_000)));
  await closeAll(sockets);
  const after = await measure(near);
  const kib = (bytes) => `${(bytes / 1_024 / count).toFixed(1)} KiB`;
  const processes = near.length === 1 ? 'one gateway' : `${near.length} gateways`;
  console.log(`${count} tunnels through ${processes}, Node ${process.versions.node}`);
  console.log(
    `opened in ${Math.round(openMs)} ms: ${Math.round((count * 1_000) / openMs)} a second`,
  );
  console.log(
    `heap of one idle tunnel ${kib(during.heapUsed - before.heapUsed)}, resident ${kib(during.rss - before.rss)}`,
  );
  console.log(`echoes over 50 of them: ${Math.round(rounds.reduce((a, b) => a + b) / 3)} a second`);
  console.log(
    `left behind: ${kib(after.heapUsed - before.heapUsed)} each, ${after.handles - before.handles} sockets`,
  );
  for (const { child } of near) child.kill();
  far.child.kill();
}

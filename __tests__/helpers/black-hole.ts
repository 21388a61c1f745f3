import { once } from 'node:events';
import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
import { closeAfter } from './servers.js';

/** Listens, says where, and never gets to accept a connection. */
const LISTENER = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
`;

/**
 * A port of 127.0.0.1 that neither takes nor refuses connections: a listening socket whose accept queue
 * is full. It is closed after the test.
 */
export async function blackHole(): Promise<{ port: number; url: string }> {
  const worker = new Worker(LISTENER, { eval: true });
  closeAfter(() => worker.terminate());
  const [port] = (await once(worker, 'message')) as [number];
  for (let full = false; !full; ) {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => {});
    closeAfter(() => socket.destroy());
    const waited = AbortSignal.timeout(100);
    full = await once(socket, 'connect', { signal: waited }).then(
      () => false,
      () => true,
    );
  }
  return { port, url: `http://127.0.0.1:${port}` };
}

// Says when the next request is due. Timers of Node count milliseconds; a wait for nothing is finer, and needs a thread.
import { parentPort } from 'node:worker_threads';

const cell = new Int32Array(new SharedArrayBuffer(4));

parentPort.on('message', ({ gapMs, total }) => {
  const began = performance.now();
  for (let i = 0; i < total; i++) {
    const ms = began + i * gapMs - performance.now();
    if (ms > 0) Atomics.wait(cell, 0, 0, ms);
    parentPort.postMessage(i);
  }
});
parentPort.postMessage('ready');

// Says when the next request is due. Timers of Node count milliseconds; a wait for nothing is finer, and needs a thread.
import { parentPort, workerData } from 'node:worker_threads';

const cell = new Int32Array(new SharedArrayBuffer(4));
const began = performance.now();
for (let i = 0; i < workerData.total; i++) {
  const ms = began + i * workerData.gapMs - performance.now();
  if (ms > 0) Atomics.wait(cell, 0, 0, ms);
  parentPort.postMessage(i);
}

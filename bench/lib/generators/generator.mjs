import { once } from 'node:events';

/**
 * The frame of a generator, a process of its own: it says when it is ready, so that what it opens first is not
 * measured, works when it is told to, and tells what it counted. The harness ends it.
 */
export async function generate({ prepare = () => undefined, work }) {
  const job = JSON.parse(process.argv[2]);
  // Whoever is left alone ends.
  process.on('disconnect', () => process.exit());
  try {
    const prepared = await prepare(job);
    process.send({ ready: true });
    await once(process, 'message');
    const began = performance.now();
    const counted = await work(job, prepared);
    const micros = Math.round((performance.now() - began) * 1000);
    process.send({ micros, badStatus: 0, socketErrors: 0, ...counted });
  } catch ({ message }) {
    process.send({ failed: message });
  }
}

/** In microseconds, as wrk tells them: `{ p50, p99, p999 }`. */
export function percentiles(milliseconds) {
  const sorted = Float64Array.from(milliseconds).sort();
  const at = (share) => Math.round(sorted[Math.ceil(sorted.length * share) - 1] * 1000);
  return sorted.length === 0 ? {} : { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

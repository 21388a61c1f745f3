// What V8's short collections take, with many clients that all come at once: node bench/garbage.mjs [another build].
// A collection that keeps much of what is garbage takes ten times as long as one that does not: see decision 92.
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { start, stop, stopAllAtExit } from './lib/children.mjs';
import { select } from './lib/contestants.mjs';
import { nextMessage } from './lib/messages.mjs';
import { freePort } from './lib/ports.mjs';
import { median } from './lib/stats.mjs';
import { nodeBinary, requireBuild, requireTools } from './lib/tools.mjs';
import { startUpstreams } from './lib/upstream.mjs';

const CLIENTS = 256;
const SECONDS = { warmUp: 3, counted: 5 };
/** V8 may decide otherwise in the next process. */
const STARTS = 3;
const READY_MS = 10_000;
/** As long as a new process usually has until its first clients come. */
const IDLE_MS = 1_500;

stopAllAtExit();
const [build] = process.argv.slice(2);
await main(build && pathToFileURL(join(resolve(build), 'esm', 'index.js')).href);

async function main(baseline) {
  requireTools({ tls: false });
  requireBuild();
  if (baseline !== undefined) requireBuild(new URL(baseline));
  const node = nodeBinary();
  const upstreams = await startUpstreams({ core: 1, node });
  const only = ['floor-express', 'headrace-seven', 'fast-proxy', 'fastify-http-proxy'];
  try {
    for (const contestant of select({ only, baseline })) {
      for (let i = 0; i < STARTS; i++) {
        console.log(`${contestant.name.padEnd(20)} ${await look(contestant, node, upstreams)}`);
      }
    }
  } finally {
    await upstreams.close();
  }
}

async function look(contestant, node, { origins }) {
  const port = await freePort();
  const own = { PORT: String(port), BENCH_UPSTREAM: origins.plain, BENCH_CONNECTIONS: '1024' };
  const proxy = start(0, node, ['--trace-gc', contestant.script], {
    env: { ...process.env, NODE_ENV: 'production', ...own, ...contestant.env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  let trace = '';
  proxy.stdout.setEncoding('utf8').on('data', (text) => {
    trace += text;
  });
  try {
    await nextMessage(proxy, READY_MS);
    await sleep(IDLE_MS);
    const url = `http://127.0.0.1:${port}/api/small`;
    await load(url, SECONDS.warmUp);
    trace = '';
    await load(url, SECONDS.counted);
    return summary(trace);
  } finally {
    await stop(proxy, 'SIGKILL');
  }
}

async function load(url, seconds) {
  const args = ['-t1', `-c${CLIENTS}`, `-d${seconds}s`, url];
  const [code] = await once(start(1, 'wrk', args, { stdio: 'ignore' }), 'close');
  if (code !== 0) throw new Error(`wrk failed with ${code}`);
}

/** Lines as `Scavenge 56.5 (96.4) -> 31.1 (96.4) MB, pooled: 0 MB, 1.52 / 0.00 ms`. */
function summary(trace) {
  const collection = /Scavenge.*? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB.*?, ([\d.]+) \/ /g;
  const found = [...trace.matchAll(collection)].map((match) => match.slice(1).map(Number));
  if (found.length === 0) return 'no short collections: is there no load?';
  const ms = median(found.map(([, , took]) => took));
  const freed = median(found.map(([before, after]) => before - after));
  const full = trace.match(/Mark-Compact/g)?.length ?? 0;
  return `${found.length} short collections of ${ms.toFixed(1)} ms, each freed ${freed.toFixed(0)} MB; ${full} full ones`;
}

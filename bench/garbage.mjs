// What V8's short collections take, with many clients that all come at once: node bench/garbage.mjs [another build].
// A collection that keeps much of what is garbage takes ten times as long as one that does not: see decision 92.
import { setTimeout as sleep } from 'node:timers/promises';
import { stopAllAtExit } from './lib/children.mjs';
import { select } from './lib/contestants.mjs';
import { wrk } from './lib/load.mjs';
import { startProxy } from './lib/proxy.mjs';
import { median } from './lib/stats.mjs';
import { buildIn, nodeBinary, requireBuild, requireTools } from './lib/tools.mjs';
import { startUpstreams } from './lib/upstream.mjs';

const CLIENTS = 256;
const SECONDS = { warmUp: 3, counted: 5 };
/** V8 may decide otherwise in the next process. */
const STARTS = 3;
/** As long as a new process usually has until its first clients come. */
const IDLE_MS = 1_500;

stopAllAtExit();
await main(buildIn(process.argv[2]));

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
  let trace = '';
  const proxy = await startProxy(contestant, {
    core: 0,
    node: [node, '--trace-gc'],
    upstream: origins.plain,
    env: { BENCH_CONNECTIONS: '1024' },
    onOutput: (text) => {
      trace += text;
    },
  });
  const load = (seconds) => {
    const job = { url: `${proxy.origin}/api/small`, benchCase: { connections: CLIENTS }, seconds };
    return wrk(1, job, () => undefined);
  };
  try {
    await sleep(IDLE_MS);
    await load(SECONDS.warmUp);
    trace = '';
    await load(SECONDS.counted);
    return summary(trace);
  } finally {
    await proxy.close();
  }
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

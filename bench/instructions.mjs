// Instructions that a small GET takes in user space, counted by valgrind: for machines on which time says nothing.
// node bench/instructions.mjs [another build of headrace], five to eight minutes. It needs valgrind and nginx.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopAllAtExit } from './lib/children.mjs';
import { select } from './lib/contestants.mjs';
import { startProxy } from './lib/proxy.mjs';
import { median } from './lib/stats.mjs';
import { temporaryFolder } from './lib/temporary-folder.mjs';
import { buildIn, nodeBinary, requireBuild } from './lib/tools.mjs';
import { startUpstreams } from './lib/upstream.mjs';

/** Until V8 has compiled what it will, and for each count. */
const WARM_UP = 14_000;
const COUNTED = 1_500;
const COUNTS = 5;
const CLIENTS = 16;
/** Everything takes fifty times its time. */
const READY_MS = 60_000;

stopAllAtExit();
await main(buildIn(process.argv[2]));

async function main(baseline) {
  requireBuild();
  if (baseline !== undefined) requireBuild(new URL(baseline));
  const node = nodeBinary();
  const contestants = select({ only: ['floor-express', 'headrace'], baseline });
  const upstreams = await startUpstreams({ core: 1, node });
  const { folder, remove } = temporaryFolder();
  try {
    const run = (contestant, i) =>
      count(contestant, { core: i % 2, node, upstream: upstreams.origins.plain, folder });
    const counts = await Promise.all(contestants.map(run));
    const floor = median(counts[0]);
    contestants.forEach(({ name }, i) => {
      const all = counts[i].map((one) => Math.round(one / 1_000)).join(' ');
      const middle = median(counts[i]);
      const ratio = (middle / floor).toFixed(2);
      console.log(
        `${name.padEnd(18)} ${Math.round(middle)} a request, ${ratio} of floor-express (thousands: ${all})`,
      );
    });
  } finally {
    await upstreams.close();
    remove();
  }
}

/** The instructions of the main thread a request, several times. */
async function count(contestant, { core, node, upstream, folder }) {
  const own = join(folder, contestant.name);
  mkdirSync(own);
  const command = [
    'valgrind',
    '--tool=callgrind',
    '--smc-check=all-non-file',
    '--separate-threads=yes',
    `--callgrind-out-file=${join(own, 'out')}`,
    node,
    '--single-threaded-gc',
  ];
  const proxy = await startProxy(contestant, { core, node: command, upstream, readyMs: READY_MS });
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  try {
    await load(proxy.origin, agent, WARM_UP);
    const counts = [];
    for (let part = 1; part <= COUNTS; part++) {
      control('-z', proxy.pid);
      await load(proxy.origin, agent, COUNTED);
      control('-d', proxy.pid);
      counts.push((await instructions(own, part)) / COUNTED);
    }
    return counts;
  } finally {
    agent.destroy();
    await proxy.close();
  }
}

/** Has valgrind begin anew (`-z`), or write what it has counted (`-d`). */
function control(command, pid) {
  execFileSync('callgrind_control', [command, String(pid)], { stdio: 'ignore' });
}

/** What the `part`-th dump says of the main thread. It is written when the process next has something to do. */
async function instructions(folder, part) {
  const name = `out.${part}-01`;
  for (let attempt = 0; attempt < 50; attempt++) {
    const text = readdirSync(folder).includes(name) ? readFileSync(join(folder, name), 'utf8') : '';
    const totals = /^totals: (\d+)/m.exec(text)?.[1];
    if (totals !== undefined) return Number(totals);
    await sleep(100);
  }
  throw new Error('valgrind has not written what it counted');
}

/** So many requests, from clients that each wait for their answer. */
async function load(origin, agent, requests) {
  let left = requests;
  const client = async () => {
    while (left-- > 0) {
      const [response] = await once(get(`${origin}/small`, { agent }), 'response');
      if (response.statusCode !== 200) throw new Error(`an answer of ${response.statusCode}`);
      response.resume();
      await once(response, 'end');
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

// What a pick costs: `node bench/balancing/pick.mjs`, after `npm run build`.
import { execFileSync } from 'node:child_process';
import { Upstream } from '../../dist/esm/index.js';
import { exchangeOfClient, strategies, table } from './strategies.mjs';

const SIZES = [3, 1_000, 10_000];
const PICKS = 400_000;
const ROUNDS = 7;
/** Requests in flight at a time, for the strategies that go by load. */
const IN_FLIGHT = 256;
/** A young generation that nothing of a measurement leaves: what is on the heap after it was allocated in it. */
const FLAGS = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256'];

const [name, size] = process.argv.slice(2);
if (name === undefined) report();
else console.log(JSON.stringify(measure(name, Number(size))));

/** Each case in a process of its own: V8 optimises for what it has seen. */
function report() {
  const rows = Object.keys(strategies).map((strategy) => {
    const results = SIZES.map((count) => {
      const args = [...FLAGS, import.meta.filename, strategy, String(count)];
      return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    });
    const column = (name, digits = 0) => results.map((result) => result[name].toFixed(digits));
    return [
      strategy,
      column('pickNs').join(' / '),
      column('requestNs').join(' / '),
      column('bytes', 1).join(' / '),
      results.at(-1).changeMs.toFixed(1),
    ];
  });
  const sizes = SIZES.map((count) => count.toLocaleString('en')).join(' / ');
  console.log(`Upstreams: ${sizes}. Node ${process.version}.\n`);
  console.log(
    table(
      ['strategy', 'pick, ns', 'with counting, ns', 'bytes a pick', '10,000 changed, ms'],
      rows,
    ),
  );
}

function measure(strategyName, count) {
  const strategy = strategies[strategyName](undefined, () => performance.now());
  const candidates = upstreams(count);
  for (const upstream of candidates) strategy.observe?.(upstream, 10 + (upstream.weight % 7));
  const exchanges = Array.from({ length: 1_024 }, (_, i) => exchangeOfClient(i));
  const inFlight = Array.from({ length: IN_FLIGHT }, () => undefined);

  const pick = () => {
    for (let i = 0; i < PICKS; i++) strategy.pick(candidates, exchanges[i & 1_023]);
  };
  /** From the choice to the end of the answer, as the pool counts it. */
  const request = () => {
    for (let i = 0; i < PICKS; i++) {
      const upstream = strategy.pick(candidates, exchanges[i & 1_023]);
      upstream.inFlight += 1;
      const ended = inFlight[i % IN_FLIGHT];
      if (ended !== undefined) ended.inFlight -= 1;
      inFlight[i % IN_FLIGHT] = upstream;
    }
  };
  const requestNs = nanoseconds(request);
  const pickNs = nanoseconds(pick);
  return { pickNs, requestNs, bytes: bytes(pick), changeMs: change(strategy, candidates) };
}

function upstreams(count) {
  return Array.from(
    { length: count },
    (_, i) =>
      new Upstream({ url: `http://10.0.${i >> 8}.${i & 255}:8080`, weight: [4, 3, 2, 1][i % 4] }),
  );
}

/** CPU time, the median over the rounds: the machine does other things too. */
function nanoseconds(run) {
  run();
  const samples = Array.from({ length: ROUNDS }, () => {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    return ((user + system) * 1_000) / PICKS;
  });
  return median(samples);
}

function bytes(run) {
  const samples = Array.from({ length: ROUNDS }, () => {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    run();
    return Math.max(0, process.memoryUsage().heapUsed - before) / PICKS;
  });
  return median(samples);
}

/** The first pick after an upstream has gone or come back. */
function change(strategy, candidates) {
  const [first] = candidates;
  const samples = Array.from({ length: 2 * ROUNDS }, () => {
    if (first.usable) first.bar('ejected');
    else first.lift('ejected');
    const list = candidates.filter(({ usable }) => usable);
    const startedAt = performance.now();
    strategy.pick(list, exchangeOfClient(1));
    return performance.now() - startedAt;
  });
  return median(samples);
}

function median(samples) {
  return samples.sort((a, b) => a - b)[samples.length >> 1];
}

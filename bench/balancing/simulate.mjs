// How each strategy distributes the load of 1,000 clients over 10,000 upstreams of unequal speed, in
// virtual time: `node bench/balancing/simulate.mjs [seed]`, after `npm run build`.
import { Upstream } from '../../dist/esm/index.js';
import { Events } from './events.mjs';
import { exchangeOfClient, seeded, strategies, table } from './strategies.mjs';

const SEED = Number(process.argv[2] ?? 1);
const UPSTREAMS = 10_000;
const CLIENTS = 1_000;
/** A client is a company, say: its requests belong to sessions, and those are what is hashed. */
const SESSIONS_PER_CLIENT = 100;
/** Mean service times, a third of the upstreams each; each upstream serves one request after the other. */
const SERVICE_MS = [5, 10, 20];
/** Of what all upstreams together can do. With equal shares it is 93 % of what the slowest can. */
const UTILISATION = 0.4;
const WARM_UP_MS = 1_000;
const END_MS = 3_000;

const exchanges = Array.from({ length: CLIENTS * SESSIONS_PER_CLIENT }, (_, i) =>
  exchangeOfClient(i),
);

const rows = Object.entries(strategies).flatMap(([name, make]) => {
  if (name === 'ip-hash') return [];
  const plain = name === 'weighted-round-robin' ? [] : [row(name, 'no', make, () => 1)];
  if (name === 'round-robin') return plain;
  return [...plain, row(name, 'yes', make, (serviceMs) => SERVICE_MS.at(-1) / serviceMs)];
});
console.log(
  table(
    ['strategy', 'weights', 'load, max/mean', 'p50, ms', 'p99, ms', 'longest queue', 'keys moved'],
    rows,
  ),
);

function row(name, weights, make, weightOf) {
  const result = simulate(make, weightOf);
  return [
    name,
    weights,
    result.imbalance.toFixed(2),
    result.p50.toFixed(1),
    result.p99.toFixed(1),
    result.longest,
    `${(result.moved * 100).toFixed(2)} %`,
  ];
}

function simulate(make, weightOf) {
  const random = seeded(SEED);
  const exponential = (mean) => -Math.log(1 - random()) * mean;
  let now = 0;
  const strategy = make(seeded(SEED + 1), () => now);
  const servers = Array.from({ length: UPSTREAMS }, (_, i) => serverOf(i, weightOf));
  const candidates = servers.map(({ upstream }) => upstream);
  const byUpstream = new Map(servers.map((server) => [server.upstream, server]));
  const capacity = servers.reduce((sum, { serviceMs }) => sum + 1 / serviceMs, 0);
  const ends = new Events();
  const latencies = [];

  for (;;) {
    now += exponential(1 / (capacity * UTILISATION));
    if (now > END_MS) break;
    while (ends.nextTime <= now) finish(ends.take(), strategy);
    const exchange = exchanges[Math.floor(random() * exchanges.length)];
    const server = byUpstream.get(strategy.pick(candidates, exchange));
    const endsAt = Math.max(now, server.freeAt) + exponential(server.serviceMs);
    server.freeAt = endsAt;
    server.upstream.inFlight += 1;
    ends.add(endsAt, { server, latencyMs: endsAt - now });
    if (now < WARM_UP_MS) continue;
    server.workMs += server.serviceMs;
    server.longest = Math.max(server.longest, server.upstream.inFlight);
    latencies.push(endsAt - now);
  }
  return { ...summary(servers, latencies), moved: keysMoved(make, candidates) };
}

function serverOf(i, weightOf) {
  const serviceMs = SERVICE_MS[i % SERVICE_MS.length];
  const url = `http://10.0.${i >> 8}.${i & 255}:8080`;
  const upstream = new Upstream({ url, weight: weightOf(serviceMs) });
  return { upstream, serviceMs, freeAt: 0, workMs: 0, longest: 0 };
}

function finish({ server, latencyMs }, strategy) {
  server.upstream.inFlight -= 1;
  strategy.observe?.(server.upstream, latencyMs);
}

function summary(servers, latencies) {
  const work = servers.map(({ workMs }) => workMs);
  const sorted = Float64Array.from(latencies).sort();
  return {
    imbalance: Math.max(...work) / (work.reduce((sum, ms) => sum + ms, 0) / work.length),
    p50: sorted[Math.floor(sorted.length * 0.5)],
    p99: sorted[Math.floor(sorted.length * 0.99)],
    longest: Math.max(...servers.map(({ longest }) => longest)),
  };
}

/** The share of all sessions that go elsewhere when one of the upstreams, all idle, has gone. */
function keysMoved(make, busy) {
  const candidates = busy.map(({ url, weight }) => new Upstream({ url, weight }));
  const strategy = make(seeded(SEED + 2), () => 0);
  const before = exchanges.map((exchange) => strategy.pick(candidates, exchange));
  const [gone, ...left] = candidates;
  gone.bar('ejected');
  const moved = exchanges.filter((exchange, i) => strategy.pick(left, exchange) !== before[i]);
  return moved.length / exchanges.length;
}

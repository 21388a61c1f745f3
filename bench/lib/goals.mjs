import { best, isClean, ratio } from './summary.mjs';

/**
 * What the project promises itself. `atLeast` is a ratio in which more is better: units of work per CPU second of
 * `ours` over those of `than`, or `by` memory or p99, where twice as good is half of it. `best-peer` is whichever Node
 * peer was best in the run. A goal with `node` holds for that major version only.
 */
export const goals = [
  ...sameFor(
    ['small', 'post'],
    [
      { ours: 'headrace-seven', than: 'floor-express', atLeast: 0.95, node: 24 },
      { ours: 'headrace-seven', than: 'floor-express', atLeast: 0.85, node: 20 },
      { ours: 'headrace-seven', than: 'go-reverse-proxy', atLeast: 1.25 },
      { ours: 'headrace-seven', than: 'http-proxy-middleware4', atLeast: 3 },
      { ours: 'headrace-seven', than: 'fastify-http-proxy', atLeast: 1.8 },
      { ours: 'headrace-seven', than: 'nginx', atLeast: 1 / 3.5 },
    ],
  ),
  ...sameFor(
    ['large', 'upload'],
    [
      { ours: 'headrace-seven', than: 'best-peer', atLeast: 1 },
      { ours: 'headrace-seven', than: 'go-reverse-proxy', atLeast: 0.6 },
    ],
  ),
  {
    case: 'connections',
    ours: 'headrace-seven',
    than: 'fastify-http-proxy',
    by: 'memory',
    atLeast: 1,
  },
  { case: 'latency', ours: 'headrace-seven', than: 'best-peer', by: 'p99', atLeast: 1 },
];

/** What was true once and has to stay so: milder, and without the circuit breaker. */
export const floors = [
  { case: 'small', ours: 'headrace', than: 'floor-express', atLeast: 0.92 },
  { case: 'small', ours: 'headrace', than: 'http-proxy-middleware4', atLeast: 2.5 },
  { case: 'small', ours: 'headrace', than: 'fastify-http-proxy', atLeast: 1.5 },
  { case: 'large', ours: 'headrace', than: 'best-peer', atLeast: 1 },
  { case: 'small', ours: 'headrace-seven', than: 'floor-express', atLeast: 0.85 },
  { case: 'small', ours: 'headrace-seven', than: 'go-reverse-proxy', atLeast: 1 },
  { case: 'small', ours: 'headrace-observed', than: 'headrace-seven', atLeast: 0.94 },
];

/** What `--guard` watches: a ratio that is under `atLeast` by more than the margin fails. */
export const guard = {
  margin: 0.08,
  /** The same program twice: what lies between these two is noise. */
  twins: ['floor-express', 'floor-express-again'],
  limits: [
    // The first was between 1.09 and 1.18 when answers began to leave together, and 0.9 before; the second 0.96 to 1.02.
    { case: 'small', ours: 'headrace', than: 'floor-express', atLeast: 1 },
    { case: 'small', ours: 'headrace', than: 'best-peer', atLeast: 0.95 },
    // Both were between 1.6 and 1.9 when memory began to be given back, and under 1 before.
    { case: 'large', ours: 'headrace', than: 'floor-express', atLeast: 1.4 },
    { case: 'large', ours: 'headrace', than: 'best-peer', atLeast: 1.4 },
    // Between 1.4 and 1.45 since it is given back for uploads as well, and 0.88 before.
    { case: 'upload', ours: 'headrace', than: 'floor-express', atLeast: 1.2 },
  ],
};

/** `runs` are those of runCase(). A goal whose proxies were not measured has no verdict. */
export function judge(wanted, { runs, contestants, major }) {
  const peers = contestants.filter(({ kind }) => kind === 'peer').map(({ name }) => name);
  return wanted.map((goal) => {
    const samples = runs.find(({ benchCase }) => benchCase.name === goal.case)?.samples ?? {};
    const than = goal.than === 'best-peer' ? best(samples, peers, goal.by) : goal.than;
    const reached = than && ratio(samples, goal.ours, than, goal.by);
    if (reached === undefined || (goal.node ?? major) !== major) {
      return { ...goal, verdict: 'not measured' };
    }
    const clean = isClean([...samples[goal.ours], ...samples[than]]);
    return { ...goal, than, ratio: reached, verdict: verdictOf(goal, reached.median, clean) };
  });
}

function verdictOf({ atLeast }, reached, clean) {
  if (!clean) return 'fail: errors';
  return reached >= atLeast ? 'pass' : 'fail';
}

function sameFor(names, list) {
  return names.flatMap((name) => list.map((goal) => ({ case: name, ...goal })));
}

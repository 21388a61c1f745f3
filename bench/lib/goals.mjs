import { median } from './stats.mjs';
import { ratio } from './summary.mjs';

/**
 * Requests per CPU second of headrace, or of `ours`, over those of another, in one run. `best-peer` is the
 * fastest peer.
 */
const goals = [
  { case: 'small', than: 'floor-express', atLeast: 0.92 },
  { case: 'small', than: 'http-proxy-middleware4', atLeast: 2.5 },
  { case: 'small', than: 'fastify-http-proxy', atLeast: 1.5 },
  { case: 'large', than: 'best-peer', atLeast: 1 },
  { case: 'small', ours: 'headrace-seven', than: 'floor-express', atLeast: 0.85 },
  { case: 'small', ours: 'headrace-seven', than: 'go-reverse-proxy', atLeast: 1 },
  { case: 'small', ours: 'headrace-observed', than: 'headrace-seven', atLeast: 0.94 },
];

/** `samples` is `{ case: { proxy: Sample[] } }`. A goal whose proxies were not measured has no verdict. */
export function judge(samples, contestants) {
  const peers = contestants.filter(({ kind }) => kind === 'peer').map(({ name }) => name);
  return goals.map((goal) => {
    const measured = samples[goal.case] ?? {};
    const than = goal.than === 'best-peer' ? bestOf(measured, peers) : goal.than;
    const { ours = 'headrace' } = goal;
    const reached = than && ratio(measured, ours, than);
    const clean = reached && [...measured[ours], ...measured[than]].every(isClean);
    const verdict =
      reached === undefined ? 'not measured' : verdictOf(clean, reached.median, goal.atLeast);
    return { ...goal, ours, than: than ?? goal.than, ratio: reached, verdict };
  });
}

function verdictOf(clean, reached, atLeast) {
  if (!clean) return 'fail: errors';
  return reached >= atLeast ? 'pass' : 'fail';
}

function bestOf(measured, peers) {
  const speed = (name) => median(measured[name].map(({ perCpuSecond }) => perCpuSecond));
  return peers
    .filter((name) => measured[name] !== undefined)
    .sort((a, b) => speed(b) - speed(a))
    .at(0);
}

function isClean({ badStatus, socketErrors }) {
  return badStatus === 0 && socketErrors === 0;
}

import { guard, judge } from './goals.mjs';
import { ratio } from './summary.mjs';

/** Which the run of `--guard` measures. */
export const guardOptions = {
  cases: [...new Set(guard.limits.map((limit) => limit.case))],
  only: [
    'floor-node',
    ...guard.twins,
    'headrace',
    'fast-proxy',
    'fastify-http-proxy',
    'httpxy',
    'http-proxy',
  ],
};

/** How the process ends. 75 is what sendmail calls a temporary failure: try again later. */
const EXIT = { pass: 0, fail: 1, noisy: 75 };

/** What the guard has to say of a run, by rules like those in goals.mjs: `{ lines, exitCode }`. */
export function guardVerdict(judged, { limits, twins, margin } = guard) {
  const noise = Object.fromEntries(
    judged.runs.map(({ benchCase, samples }) => [
      benchCase.name,
      noiseOf(ratio(samples, ...twins)),
    ]),
  );
  const findings = judge(limits, judged).map((limit) =>
    finding(limit, { margin, noise: noise[limit.case] }),
  );
  const outcome = ['fail', 'noisy'].find((kind) => findings.some((one) => one.kind === kind));
  return { lines: findings.map(({ line }) => line), exitCode: EXIT[outcome ?? 'pass'] };
}

function finding(limit, { margin, noise }) {
  const { case: name, ours, than, atLeast, ratio: reached, verdict } = limit;
  const subject = `${name}: ${ours} / ${than}`;
  if (verdict === 'not measured') return { kind: 'fail', line: `${subject} was not measured` };
  if (verdict === 'fail: errors') return { kind: 'fail', line: `${subject} had errors` };

  const measured = `${subject} is ${reached.median.toFixed(2)}`;
  const bar = `${atLeast.toFixed(2)} less the margin of ${percent(margin)}`;
  if (noise > margin) {
    return {
      kind: 'noisy',
      line: `${measured}: too noisy to tell, the floor strays from itself by ${percent(noise)}`,
    };
  }
  return reached.median < atLeast * (1 - margin)
    ? { kind: 'fail', line: `${measured}: less than ${bar}` }
    : { kind: 'pass', line: `${measured}: not less than ${bar}` };
}

/** How far the quartiles of the floor against itself are from 1. */
function noiseOf({ low, high }) {
  return Math.max(Math.abs(low - 1), Math.abs(high - 1));
}

function percent(share) {
  return `${(share * 100).toFixed(0)} %`;
}

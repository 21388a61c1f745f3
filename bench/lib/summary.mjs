import { median, spread, sum } from './stats.mjs';

/** What a proxy is compared by, so that more is better. */
const merits = {
  cpu: ({ perCpuSecond }) => perCpuSecond,
  memory: ({ rssMiB }) => 1 / rssMiB,
  p99: ({ p99 }) => 1 / p99,
};

/** One row a proxy: what its samples of one case come to. */
export function summarize(samplesByName) {
  return Object.entries(samplesByName).map(([name, samples]) => {
    const of = (field) => spread(samples.map((sample) => sample[field]));
    return {
      name,
      cpu: of('cpuMicros'),
      perCpuSecond: of('perCpuSecond'),
      perSecond: of('perSecond'),
      coreUse: of('coreUse'),
      p50: of('p50'),
      p99: of('p99'),
      p999: of('p999'),
      rssMiB: Math.max(...samples.map(({ rssMiB }) => rssMiB)),
      badStatus: sum(samples.map(({ badStatus }) => badStatus)),
      socketErrors: sum(samples.map(({ socketErrors }) => socketErrors)),
    };
  });
}

/**
 * How many times as good as `other` is `subject`? Compared round by round, because neighbours in time share the
 * machine's mood; `undefined` when one of the two was not measured.
 */
export function ratio(samplesByName, subject, other, by = 'cpu') {
  const ours = samplesByName[subject];
  const theirs = samplesByName[other];
  if (ours === undefined || theirs === undefined) return undefined;
  return spread(ours.map((sample, round) => merits[by](sample) / merits[by](theirs[round])));
}

/** Whichever of `names` was the best in this run. */
export function best(samplesByName, names, by = 'cpu') {
  const merit = (name) => median(samplesByName[name].map(merits[by]));
  return names
    .filter((name) => samplesByName[name] !== undefined)
    .sort((a, b) => merit(b) - merit(a))
    .at(0);
}

/** Whether every answer was right. */
export function isClean(samples) {
  return samples.every(({ badStatus, socketErrors }) => badStatus === 0 && socketErrors === 0);
}

import { spread, sum } from './stats.mjs';

/** One row a proxy: medians over the rounds of one case. `samples` are in the order of the rounds. */
export function summarize(samplesByName) {
  return Object.entries(samplesByName).map(([name, samples]) => ({
    name,
    cpuPerRequest: spread(samples.map((sample) => sample.cpuPerRequest)),
    perCpuSecond: spread(samples.map((sample) => sample.perCpuSecond)),
    perSecond: spread(samples.map((sample) => sample.perSecond)),
    coreUse: spread(samples.map((sample) => sample.coreUse)),
    p50: spread(samples.map((sample) => sample.p50)),
    p99: spread(samples.map((sample) => sample.p99)),
    rssMiB: spread(samples.map((sample) => sample.rssMiB)),
    badStatus: sum(samples.map((sample) => sample.badStatus)),
    socketErrors: sum(samples.map((sample) => sample.socketErrors)),
  }));
}

/**
 * How many times the requests per CPU second of `other` does `subject` make? Compared round by round,
 * because neighbours in time share the machine's mood; `undefined` when one of the two was not measured.
 */
export function ratio(samplesByName, subject, other) {
  const ours = samplesByName[subject];
  const theirs = samplesByName[other];
  if (ours === undefined || theirs === undefined) return undefined;
  return spread(ours.map((sample, round) => sample.perCpuSecond / theirs[round].perCpuSecond));
}

import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { cases } from './lib/cases.mjs';
import { stopAllAtExit } from './lib/children.mjs';
import { contestants as select } from './lib/contestants.mjs';
import { judge } from './lib/goals.mjs';
import { measure } from './lib/measure.mjs';
import { readOptions, usage } from './lib/options.mjs';
import { caseTable, goalLines } from './lib/report.mjs';
import { shuffled } from './lib/stats.mjs';
import {
  installPeers,
  nodeBinary,
  requireBuild,
  requireCores,
  requireTools,
} from './lib/tools.mjs';
import { startUpstream } from './lib/upstream.mjs';
import { versions } from './lib/versions.mjs';

stopAllAtExit();
try {
  await main(readOptions(process.argv.slice(2)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}

async function main(options) {
  if (options.help) return console.log(usage);
  const setting = prepare(options);
  console.log(headline(setting));

  const upstream = await startUpstream(options.loadCore);
  const samples = {};
  try {
    for (const benchCase of cases.filter(({ name }) => options.cases.includes(name))) {
      samples[benchCase.name] = await runCase(benchCase, { ...setting, upstream: upstream.origin });
      console.log(`\n${caseTable(benchCase, samples[benchCase.name])}`);
    }
  } finally {
    await upstream.close();
  }

  const goals = judge(samples, setting.contestants);
  console.log(`\n### Goals: ratios of requests per CPU second\n\n${goalLines(goals)}`);
  if (options.json) writeJson(options.json, { setting, samples, goals });
}

function prepare(options) {
  requireTools();
  requireCores(options.proxyCore, options.loadCore);
  installPeers();
  const node = nodeBinary(options.node);
  const contestants = select(options);
  if (contestants.some(({ name }) => name === 'headrace')) requireBuild();
  if (options.baseline) requireBuild(options.baseline);
  return { options, node, versions: versions(node), contestants };
}

/** Interleaved: every round visits every proxy, each time in another order. */
async function runCase(benchCase, setting) {
  const { options, contestants } = setting;
  const samples = Object.fromEntries(contestants.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const contestant of shuffled(contestants)) {
      const sample = await measure(contestant, benchCase, setting);
      samples[contestant.name].push(sample);
      console.error(
        `${benchCase.name} ${round}/${options.rounds} ${contestant.name.padEnd(24)} ${sample.cpuPerRequest.toFixed(1)} µs`,
      );
    }
  }
  return samples;
}

function headline({ options, versions: { node, ...packages } }) {
  const { rounds, seconds, warmup, proxyCore, loadCore } = options;
  return [
    `Node ${node} on core ${proxyCore}, wrk and nginx on core ${loadCore}; ${machine()}`,
    `${rounds} rounds of ${seconds} s after ${warmup} s of warm-up, a fresh process each time`,
    Object.entries(packages)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  ].join('\n');
}

function writeJson(file, { setting, samples, goals }) {
  const { rounds, seconds, warmup } = setting.options;
  const { versions } = setting;
  const report = { machine: machine(), versions, rounds, seconds, warmup, samples, goals };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

function machine() {
  return `${cpus()[0].model}, ${cpus().length} cores, Linux ${release()}`;
}

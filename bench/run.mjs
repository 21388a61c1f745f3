import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { cases } from './lib/cases.mjs';
import { stopAllAtExit } from './lib/children.mjs';
import { entrants, select } from './lib/contestants.mjs';
import { floors, goals, judge } from './lib/goals.mjs';
import { guardVerdict } from './lib/guard.mjs';
import { readOptions, usage } from './lib/options.mjs';
import { picture } from './lib/picture.mjs';
import { caseTable, goalLines } from './lib/report.mjs';
import { runCase } from './lib/rounds.mjs';
import {
  installPeers,
  moveTo,
  nodeBinary,
  requireBuild,
  requireCores,
  requireTools,
} from './lib/tools.mjs';
import { startUpstreams } from './lib/upstream.mjs';
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
  const runs = await runCases(setting);
  const judged = {
    runs,
    contestants: setting.contestants,
    major: Number.parseInt(setting.versions.node, 10),
  };

  const verdicts = { goals: judge(goals, judged), floors: judge(floors, judged) };
  if (options.svg && runs.length > 0) writeFileSync(options.svg, picture(runs[0]));
  if (options.json) writeJson(options.json, { setting, runs, ...verdicts });
  if (options.guard) return sayGuard(guardVerdict(judged));
  console.log(`\n### Goals\n\n${goalLines(verdicts.goals)}`);
  console.log(`\n### What has to stay\n\n${goalLines(verdicts.floors)}`);
}

function sayGuard({ lines, exitCode }) {
  console.log(`\n### Guard\n\n${lines.join('\n')}`);
  process.exitCode = exitCode;
}

function prepare(options) {
  const todo = options.cases.map((name) => cases[name]);
  const tls = todo.some(({ front, upstream }) => front === 'tls' || upstream === 'tls');
  requireTools({ tls });
  requireCores(options.proxyCore, options.loadCore);
  moveTo(options.loadCore);
  installPeers();
  const node = nodeBinary(options.node);
  const contestants = select(options);
  if (contestants.some(({ kind }) => kind === 'headrace')) requireBuild();
  if (options.baseline) requireBuild(options.baseline);
  return { options, todo, tls, node, versions: versions(node), contestants };
}

async function runCases(setting) {
  const { options, node, tls, todo, contestants } = setting;
  const upstreams = await startUpstreams({ core: options.loadCore, node, tls });
  const runs = [];
  try {
    for (const benchCase of todo) {
      if (entrants(contestants, benchCase).length === 0) {
        console.log(`\n### ${benchCase.name}: nobody here to measure`);
        continue;
      }
      runs.push(await runCase(benchCase, { ...setting, upstreams }));
      console.log(`\n${caseTable(runs.at(-1))}`);
    }
  } finally {
    await upstreams.close();
  }
  return runs;
}

function headline({ options, versions: { node, ...others } }) {
  const { fresh, rounds, seconds, warmup, proxyCore, loadCore } = options;
  const there = Object.entries(others).filter(([, version]) => version !== undefined);
  const missing = Object.keys(others).filter((name) => others[name] === undefined);
  return [
    `Node ${node} on core ${proxyCore}, load and upstream on core ${loadCore}; ${machine()}`,
    `${fresh} × ${rounds} rounds of ${seconds} s after ${warmup} s of warm-up, all proxies side by side`,
    there.map(([name, version]) => `${name} ${version}`).join(', '),
    ...(missing.length > 0 ? [`Not installed here, and left out: ${missing.join(', ')}`] : []),
  ].join('\n');
}

function writeJson(file, { setting, runs, goals, floors }) {
  const { fresh, rounds, seconds, warmup } = setting.options;
  const results = runs.map(({ benchCase: { name, title, unit }, ...run }) => ({
    name,
    title,
    unit,
    ...run,
  }));
  const { versions } = setting;
  const how = { machine: machine(), versions, fresh, rounds, seconds, warmup };
  writeFileSync(file, `${JSON.stringify({ ...how, cases: results, goals, floors }, null, 2)}\n`);
}

function machine() {
  return `${cpus()[0].model}, ${cpus().length} cores, Linux ${release()}`;
}

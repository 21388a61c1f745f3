// Runs the suite under every supported Node, taken from npm, and once more with the next undici. The
// run of one of them fails where a test leaves something open, that of the next undici where too little
// is covered. With `--others`, not under the Node that runs this: for where `npm test` has just done so.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

const VERSIONS = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' };
const TIMEOUT_MS = 15 * 60_000;
/** Whose run looks for what tests leave open, which takes Jest three times as long, in one process. */
const LOOKS_FOR_OPEN_HANDLES = '24';
/** What looks at the source, which is the same under every Node. */
const SAME_EVERYWHERE = ['architecture', 'docs', 'types'].map((name) => `__tests__/${name}.test`);
/** What takes long to look at, and opens nothing that others do not. */
const LARGE = ['__tests__/(leaks|package).test', 'conformance/large-'];

const root = resolve(import.meta.dirname, '..');
const prefix = join(root, '.cache/nodes');
const logs = join(root, '.cache/matrix');
mkdirSync(logs, { recursive: true });

const nodes = install();
const [running] = process.versions.node.split('.');
const runs = Object.keys(VERSIONS)
  .filter((major) => major !== running || !process.argv.includes('--others'))
  .map((major) => ({
    name: `node-${major}`,
    node: nodes[major],
    args: major === LOOKS_FOR_OPEN_HANDLES ? ['--detectOpenHandles'] : ['--maxWorkers=2'],
  }));
runs.push({
  name: 'node-24-undici-8',
  node: nodes[24],
  args: ['--maxWorkers=2', '--coverage', '--coverageReporters=text-summary'],
  env: { HEADRACE_UNDICI: '8' },
});

// Beside each other: the long one, and the others in turn.
await Promise.all([inTurn(runs.filter(looking)), inTurn(runs.filter((run) => !looking(run)))]);

console.log('');
for (const { name, code, summary } of runs) {
  console.log(`${code === 0 ? 'ok  ' : 'FAIL'}  ${name.padEnd(18)}${summary}`);
}
process.exitCode = runs.some(({ code }) => code !== 0) ? 1 : 0;

/** The executable of each version: the running one where it fits, else from npm. */
function install() {
  const running = process.versions.node.split('.')[0];
  const packages = [];
  const paths = {};
  for (const [major, version] of Object.entries(VERSIONS)) {
    if (major === running) {
      paths[major] = process.execPath;
      continue;
    }
    const folder = join(prefix, 'node_modules', `node${major}`);
    paths[major] = join(folder, 'bin/node');
    if (installed(folder) !== version) {
      packages.push(`node${major}@npm:node-${process.platform}-${process.arch}@${version}`);
    }
  }
  if (packages.length > 0) {
    // A package.json of its own, else npm would take the project's for the place to install.
    mkdirSync(prefix, { recursive: true });
    const args = ['install', '--no-audit', '--no-fund', '--prefix', prefix, ...packages];
    const { status } = spawnSync('npm', args, { stdio: 'inherit' });
    if (status !== 0) throw new Error('the Node versions could not be installed');
  }
  return paths;
}

function installed(folder) {
  const manifest = join(folder, 'package.json');
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : undefined;
}

function looking({ args }) {
  return args.includes('--detectOpenHandles');
}

/** What coverage leaves out is in Jest's own configuration. */
function leavingOut(run) {
  if (run.args.includes('--coverage')) return [];
  return ['--testPathIgnorePatterns', ...SAME_EVERYWHERE, ...(looking(run) ? LARGE : [])];
}

async function inTurn(runs) {
  for (const run of runs) await runSuite(run);
}

async function runSuite(run) {
  const started = Date.now();
  const log = join(logs, `${run.name}.log`);
  const output = createWriteStream(log);
  const path = `${dirname(run.node)}${delimiter}${process.env.PATH}`;
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  const args = [jest, ...run.args, '--forceExit', ...leavingOut(run)];
  const child = spawn(run.node, args, {
    cwd: root,
    env: { ...process.env, FORCE_COLOR: '0', PATH: path, ...run.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  child.stdout.pipe(output, { end: false });
  child.stderr.pipe(output, { end: false });
  [run.code] = await once(child, 'close');
  output.end();
  await once(output, 'finish');

  const text = readFileSync(log, 'utf8');
  const seconds = Math.round((Date.now() - started) / 1000);
  run.summary = `${/^Tests: +(.*)$/m.exec(text)?.[1] ?? 'no summary'} (${seconds} s)`;
  console.log(`${run.name}: ${run.summary}`);
  if (run.code !== 0) console.log(text);
}

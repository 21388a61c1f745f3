// Runs the suite under every supported Node, taken from npm, and once more with the next undici. With
// `--others`, not under the Node that runs this: for where `npm test` has just done so.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';

const VERSIONS = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' };
const TIMEOUT_MS = 10 * 60_000;
/** What looks at the source, which is the same under every Node. */
const SAME_EVERYWHERE = ['architecture', 'docs', 'types'].map((name) => `__tests__/${name}.test`);

const root = resolve(import.meta.dirname, '..');
const prefix = join(root, '.cache/nodes');
const logs = join(root, '.cache/matrix');
mkdirSync(logs, { recursive: true });

const nodes = install();
const [running] = process.versions.node.split('.');
const runs = Object.keys(VERSIONS)
  .filter((major) => major !== running || !process.argv.includes('--others'))
  .map((major) => ({ name: `node-${major}`, node: nodes[major] }));
runs.push({ name: 'node-24-undici-8', node: nodes[24], env: { HEADRACE_UNDICI: '8' } });

const queue = [...runs];
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, work));

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

async function work() {
  for (let run = queue.shift(); run !== undefined; run = queue.shift()) await runSuite(run);
}

async function runSuite(run) {
  const started = Date.now();
  const log = join(logs, `${run.name}.log`);
  const output = createWriteStream(log);
  const path = `${dirname(run.node)}${delimiter}${process.env.PATH}`;
  const jest = join(root, 'node_modules/jest/bin/jest.js');
  // One process for each: two versions run side by side already.
  const args = [jest, '--runInBand', '--forceExit', '--testPathIgnorePatterns', ...SAME_EVERYWHERE];
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

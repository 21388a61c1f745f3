import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const BENCH = new URL('../', import.meta.url);
const NODES = new URL('../.cache/nodes/', BENCH);
const NODE24 = new URL('node_modules/node24/bin/node', NODES);
const NODE24_PACKAGE = `node24@npm:node-linux-${process.arch}@24.21.0`;

const debianPackages = {
  wrk: 'wrk',
  nginx: 'nginx-light',
  taskset: 'util-linux',
  setpriv: 'util-linux',
  openssl: 'openssl',
};

/** Fails with the command that installs what is missing. Certificates take openssl. */
export function requireTools({ tls }) {
  const needed = Object.keys(debianPackages).filter((tool) => tls || tool !== 'openssl');
  const missing = needed.filter((tool) => !works(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => debianPackages[tool]))].join(' ');
  throw new Error(
    `The benchmark needs ${missing.join(', ')}. On Debian and Ubuntu: apt-get install ${packages}`,
  );
}

export function requireCores(...cores) {
  for (const core of cores) {
    const { status } = spawnSync('taskset', ['-c', String(core), 'true']);
    if (status !== 0) {
      throw new Error(
        `No core ${core} to run on. Proxy and load need a core each: choose them with --cores.`,
      );
    }
  }
}

/** The harness itself stays off the core of the proxies. */
export function moveTo(core) {
  execFileSync('taskset', ['-a', '-p', '-c', String(core), String(process.pid)], {
    stdio: 'ignore',
  });
}

/** The entry of another build of headrace, by its folder; `undefined` where none is named. */
export function buildIn(folder) {
  return folder && pathToFileURL(resolve(folder, 'esm/index.js')).href;
}

export function requireBuild(entry = new URL('../dist/esm/index.js', BENCH)) {
  if (!existsSync(fileURLToPath(entry)))
    throw new Error(`${fileURLToPath(entry)} is missing: npm run build`);
}

/** The Node binary for the proxies: `path`, or Node 24, fetched from npm when it is not there yet. */
export function nodeBinary(path) {
  if (path !== undefined) return path;
  const binary = fileURLToPath(NODE24);
  if (!existsSync(binary)) {
    process.stderr.write('Installing Node 24 for the proxies …\n');
    // Saved in a package.json of its own: with --no-save npm would remove the other versions there.
    mkdirSync(NODES, { recursive: true });
    npm(['install', '--prefix', fileURLToPath(NODES), NODE24_PACKAGE]);
  }
  return binary;
}

/** Installs the peers into bench/node_modules when one is missing or of another version. */
export function installPeers() {
  if (peersAreInstalled()) return;
  process.stderr.write('Installing the peers into bench/node_modules …\n');
  npm(['ci', '--prefix', fileURLToPath(BENCH)]);
}

function peersAreInstalled() {
  const { dependencies } = readJson(new URL('package.json', BENCH));
  return Object.entries(dependencies).every(([name, range]) => {
    const manifest = new URL(`node_modules/${name}/package.json`, BENCH);
    return existsSync(manifest) && range.endsWith(readJson(manifest).version);
  });
}

function npm(args) {
  // Some peers warn about the Node version of npm; what counts is the one that runs the proxies.
  execFileSync('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], {
    stdio: ['ignore', process.stderr, process.stderr],
  });
}

function works(tool) {
  return spawnSync(tool, ['-v']).error === undefined;
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}

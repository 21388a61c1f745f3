// Packs the package as npm would publish it and checks the tarball: contents, publint,
// are-the-types-wrong, and a strict TypeScript consumer in each module system. Needs a build.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const bin = (name) => join(root, 'node_modules/.bin', name);
const temp = mkdtempSync(join(tmpdir(), 'headrace-package-'));

try {
  const { filename, files } = pack();
  const tarball = join(temp, filename);
  checkContents(files);
  checkManifest();
  run(bin('publint'), [tarball, '--strict']);
  run(bin('attw'), [tarball, '--no-emoji']);
  checkConsumer(tarball);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}

function pack() {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', temp];
  const output = execFileSync('npm', args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
  const packed = JSON.parse(output.toString());
  // An array up to npm 11, an object by package name after that.
  return Array.isArray(packed) ? packed[0] : Object.values(packed)[0];
}

function checkContents(files) {
  const names = new Set(files.map(({ path }) => path));
  const expected =
    /^(package\.json|README\.md|LICENSE|dist\/(esm|cjs)\/(package\.json|.*\.(js|d\.ts)))$/;
  for (const name of names) {
    if (!expected.test(name)) throw new Error(`the package contains ${name}`);
    const pair = name.replace(/\.js$/, '.d.ts');
    if (!names.has(pair)) throw new Error(`the package has ${name} without ${pair}`);
    const twin = name.replace('dist/esm/', 'dist/cjs/');
    if (!names.has(twin)) throw new Error(`the package has ${name} without ${twin}`);
  }
  for (const name of ['README.md', 'LICENSE', 'dist/esm/index.js', 'dist/cjs/index.js']) {
    if (!names.has(name)) throw new Error(`the package lacks ${name}`);
  }
  console.log(`contents: ${names.size} files, as expected`);
}

function checkManifest() {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    if (name in scripts) throw new Error(`the package runs code on install: ${name}`);
  }
}

/** Without `@types/express`, which our declarations must not need. */
function checkConsumer(tarball) {
  const modules = join(temp, 'node_modules');
  mkdirSync(join(modules, 'headrace'), { recursive: true });
  mkdirSync(join(modules, '@types'));
  run('tar', ['-xzf', tarball, '--strip-components=1', '-C', join(modules, 'headrace')]);
  for (const name of ['undici', 'undici-types', '@types/node']) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  const source =
    "import * as headrace from 'headrace';\nexport const names = Object.keys(headrace);\n";
  writeFileSync(join(temp, 'consumer.mts'), source);
  writeFileSync(join(temp, 'consumer.cts'), source);
  const options = '--strict --exactOptionalPropertyTypes --noEmit --module nodenext --types node';
  // Apart: the two builds declare `res.locals.proxy` with classes of their own.
  for (const consumer of ['consumer.mts', 'consumer.cts']) {
    run(bin('tsc'), [...options.split(' '), '--target', 'es2022', consumer], temp);
  }
  console.log('consumer: type checks as ESM and as CommonJS');
}

function run(command, args, cwd = root) {
  try {
    execFileSync(command, args, { cwd, stdio: 'inherit' });
  } catch {
    throw new Error(`${command} failed`);
  }
}

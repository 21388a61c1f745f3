import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as source from 'headrace';

const root = resolve(__dirname, '..');
const run = promisify(execFile);

/** A project that has installed the package as npm would publish it, and nothing else. */
let consumer: string;
let installed: string;

beforeAll(async () => {
  consumer = await mkdtemp(join(tmpdir(), 'headrace-package-'));
  const checkout = join(consumer, 'checkout');
  await mkdir(checkout);
  for (const name of ['package.json', 'README.md', 'LICENSE']) {
    await cp(join(root, name), join(checkout, name));
  }
  await node([join(root, '.ci/build.mjs'), join(checkout, 'dist')]);

  const args = ['pack', '--ignore-scripts', '--pack-destination', consumer];
  await run('npm', args, { cwd: checkout });
  const { version } = await manifest(root);
  installed = join(consumer, 'node_modules/headrace');
  await mkdir(installed, { recursive: true });
  const tarball = join(consumer, `headrace-${version}.tgz`);
  await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed]);

  for (const name of Object.keys((await manifest(root)).dependencies)) {
    await symlink(join(root, 'node_modules', name), join(consumer, 'node_modules', name));
  }
}, 180_000);

afterAll(async () => {
  await rm(consumer, { recursive: true, force: true });
});

describe('the package', () => {
  it('ships the two builds, the manifest, the README and the license, and nothing else', async () => {
    expect((await readdir(installed)).sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
    ]);
    expect((await readdir(join(installed, 'dist'))).sort()).toEqual(['cjs', 'esm']);
    const esm = await modules('esm');
    expect(esm).toEqual(await modules('cjs'));
    expect(esm.filter((name) => !/\.(js|d\.ts)$|^package\.json$/.test(name))).toEqual([]);
  });

  it('is required by CommonJS, with the names of the source', async () => {
    expect(await names("print(require('headrace'))")).toEqual(Object.keys(source).sort());
  });

  it('is imported by an ES module, with the names of the source', async () => {
    expect(await names("import * as headrace from 'headrace'; print(headrace)", 'module')).toEqual(
      Object.keys(source).sort(),
    );
  });

  it('is one copy to whoever imports it and whoever requires it, where Node can require ES modules', async () => {
    const script =
      "import('headrace').then((imported) => console.log(imported.ProxyError === require('headrace').ProxyError))";
    expect(await node(['--eval', script])).toBe(`${await canRequireModules()}\n`);
  });

  it('has a CommonJS build for Node that cannot', async () => {
    const script = "console.log(typeof require('headrace').proxyPass, module.children[0].filename)";
    const flags = (await canRequireModules()) ? ['--no-experimental-require-module'] : [];
    const output = await node([...flags, '--eval', script]);
    expect(output).toMatch(/^function .*dist[\\/]cjs[\\/]index\.js\n$/);
  });

  it.each(['esm', 'cjs'])(
    'declares nothing that needs the types of opossum, in %s',
    async (build) => {
      const declarations = (await modules(build as 'esm' | 'cjs')).filter((name) =>
        /\.d\.ts$/.test(name),
      );
      expect(declarations).toContain('upstreams/verdicts.d.ts');
      for (const name of declarations) {
        const text = await readFile(join(installed, 'dist', build, name), 'utf8');
        expect([name, /from '(opossum)'|import\("(opossum)"\)/.test(text)]).toEqual([name, false]);
      }
    },
  );

  it('lets tools read its package.json', async () => {
    const script = "console.log(require('headrace/package.json').name)";
    expect(await node(['--eval', script])).toBe('headrace\n');
  });

  it('runs nothing when it is installed', async () => {
    const { scripts } = await manifest(installed);
    expect(
      Object.keys(scripts).filter((name) => /^((pre|post)?install|prepare)$/.test(name)),
    ).toEqual([]);
  });
});

async function names(script: string, type: 'commonjs' | 'module' = 'commonjs'): Promise<string[]> {
  const print = '; function print(all) { console.log(JSON.stringify(Object.keys(all).sort())); }';
  const output = await node([`--input-type=${type}`, '--eval', script + print]);
  return JSON.parse(output) as string[];
}

async function canRequireModules(): Promise<boolean> {
  return (await node(['--print', 'process.features.require_module === true'])) === 'true\n';
}

async function node(args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, args, { cwd: consumer });
  return stdout;
}

async function modules(build: 'esm' | 'cjs'): Promise<string[]> {
  const entries = await readdir(join(installed, 'dist', build), {
    recursive: true,
    withFileTypes: true,
  });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name).slice(join(installed, 'dist', build).length + 1),
    )
    .sort();
}

interface Manifest {
  readonly version: string;
  readonly dependencies: Record<string, string>;
  readonly scripts: Record<string, string>;
}

async function manifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
}

// Builds the package: `tsc` once for ESM, once for CommonJS. `node .ci/build.mjs [dist]`
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const dist = resolve(root, process.argv[2] ?? 'dist');
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

rmSync(dist, { recursive: true, force: true });
const codes = await Promise.all([build('esm', 'module'), build('cjs', 'commonjs')]);
process.exitCode = Math.max(...codes);

async function build(name, type) {
  const outDir = join(dist, name);
  mkdirSync(outDir, { recursive: true });
  // Bundlers look for `sideEffects` in the nearest package.json, so it is said here again.
  writeFileSync(
    join(outDir, 'package.json'),
    `${JSON.stringify({ type, sideEffects: false }, null, 2)}\n`,
  );
  const project = join(root, `tsconfig.${name}.json`);
  const child = spawn(process.execPath, [tsc, '-p', project, '--outDir', outDir], {
    stdio: 'inherit',
  });
  const [code] = await once(child, 'exit');
  return code ?? 1;
}

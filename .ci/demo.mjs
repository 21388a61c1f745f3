// Bundles a demo, which is TypeScript, and runs it in this very process; `zero-trust` names the other one. npm
// hands signals to its shell, which would keep them: hence the `exec` in package.json. It comes last, because
// that is where npm puts the arguments, and what precedes it is for Windows, whose shell has none.
import { buildSync } from 'esbuild';

const [name] = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const outfile = `.cache/demo/${name ?? 'main'}.mjs`;
buildSync({
  entryPoints: [name === undefined ? 'demo/main.ts' : `demo/${name}/main.ts`],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  sourcemap: true,
  logLevel: 'warning',
});
process.setSourceMapsEnabled(true);
await import(`../${outfile}`);

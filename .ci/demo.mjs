// Bundles the demo, which is TypeScript, and runs it in this very process. npm hands signals to its shell,
// which would keep them: hence the `exec` in package.json. It comes last, because that is where npm puts the
// arguments, and what precedes it is for Windows, whose shell has none.
import { buildSync } from 'esbuild';

const outfile = '.cache/demo/main.mjs';
buildSync({
  entryPoints: ['demo/main.ts'],
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

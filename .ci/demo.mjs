// Bundles the demo, which is TypeScript, and runs it in this very process. npm hands signals to its shell,
// which would keep them: hence the `exec` in package.json, and what follows it where a shell has none.
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

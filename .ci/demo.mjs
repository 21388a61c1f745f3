// Bundles the demo, which is TypeScript, and runs it in this very process.
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
// npm hands signals to its shell, which ends and does not pass them on. An `exec` there would lose our arguments
// where it has a fallback, and fail where there is no such thing.
const shell = process.ppid;
setInterval(() => process.ppid === shell || process.emit('SIGTERM'), 200).unref();

await import(`../${outfile}`);

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';

const run = promisify(execFile);
const folder = join(__dirname, '../bench/test');

// They are ES modules without a build, which Jest does not load: Node runs them.
it('the benchmark counts, judges and draws rightly', async () => {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const { NODE_OPTIONS: _, ...env } = process.env;
  const args = ['--test', '--test-reporter=tap', ...files];
  // What fails says so in its output.
  const { stdout } = await run(process.execPath, args, { env }).catch((error) => error);
  expect(stdout).toMatch(/^# fail 0$/m);
  expect(stdout).toMatch(/^# pass [1-9]\d*$/m);
}, 180_000);

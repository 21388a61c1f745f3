import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import type { LeakReport } from './helpers/leak-process.js';

/** Each fault with what its clients get. */
const faults: Record<string, string> = {
  'a connection that is refused': '502',
  'a reset before the head': '502',
  'an end before the head': '502',
  'a reset in the body': '200',
  garbage: '502',
  'a connection that takes too long': '504',
  'a head that takes too long': '504',
  'a body that stands still': '200',
  'an upload that stands still': '408',
  'an upload that is too long': '413',
  'a client that leaves while it waits': 'left',
  'a client that leaves while it uploads': 'left',
  'a client that leaves while it downloads': 'left',
  'an edit that throws': '502',
  'an edit that rejects as it reads': '502',
};

/** What one kept exchange for each repetition would come to, and more. */
const HEAP_BYTES = 2_500_000;

let directory: string;
let reports: Record<string, LeakReport>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'headrace-leaks-'));
  const script = join(directory, 'leaks.cjs');
  await build({
    entryPoints: [resolve(__dirname, 'helpers/leak-process.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    // Binaries, and only loaded by those who want them.
    external: ['@node-rs/*'],
    alias: {
      headrace: resolve(__dirname, '../src/index.ts'),
      ...(process.env.HEADRACE_UNDICI === '8' ? { undici: 'undici8' } : {}),
    },
  });
  const names = Object.keys(faults);
  const shares = [0, 1].map((share) => names.filter((_, i) => i % 2 === share));
  reports = Object.assign({}, ...(await Promise.all(shares.map((share) => repeat(script, share)))));
}, 400_000);

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Runs faults a thousand times each, in a process of their own. */
async function repeat(script: string, names: string[]): Promise<Record<string, LeakReport>> {
  const args = ['--expose-gc', script, ...names];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Record<string, LeakReport>;
}

describe('a thousand repetitions of', () => {
  it.each(Object.entries(faults))(
    '%s leave files, timers, listeners, pool and heap as they were',
    (name, outcome) => {
      const { outcomes, warnings, before, after } = reports[name] as LeakReport;

      expect([outcomes, warnings]).toEqual([[outcome], []]);
      expect(after.files).toBe(before.files);
      expect(after.resources).toEqual(before.resources);
      expect(after.connections).toBe(0);
      expect(after.listeners).toBe(before.listeners);
      expect(after.pool).toEqual({ running: 0, pending: 0, queued: 0 });
      // Node and undici keep a few timers of their own, and start them when they please.
      expect(after.timers - before.timers).toBeLessThan(10);
      expect(after.heapBytes - before.heapBytes).toBeLessThan(HEAP_BYTES);
    },
  );
});

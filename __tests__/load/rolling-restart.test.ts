import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { load } from '../helpers/load.js';
import { closeAfter, serve } from '../helpers/servers.js';

/** How many requests there are; `LOAD_REQUESTS=20000 npx jest __tests__/load` takes longer. */
const REQUESTS = Number(process.env.LOAD_REQUESTS ?? 4_000);
const RESTARTS = 4;

it('lets clients see no error while one gateway takes the place of another', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'headrace-rolling-'));
  closeAfter(() => rm(directory, { recursive: true }));
  const outfile = join(directory, 'rolling.cjs');
  await build({
    entryPoints: [resolve(__dirname, '../helpers/rolling-process.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    alias: { headrace: resolve(__dirname, '../../src/index.ts') },
  });
  const upstream = await serve((_req, res) => res.end('ok'));
  const primary = spawn(process.execPath, [outfile], {
    env: { ...process.env, UPSTREAM: upstream.url },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  closeAfter(async () => {
    primary.disconnect();
    await once(primary, 'exit');
  });
  const [{ port }] = (await once(primary, 'message')) as [{ port: number }];

  let sent = 0;
  const clients = load(port, {
    more: (requests) => {
      sent = requests;
      return requests < REQUESTS;
    },
  });
  const codes: unknown[] = [];
  while (codes.length < RESTARTS && sent < REQUESTS * 0.9) {
    const ended = once(primary, 'message');
    primary.send('restart');
    codes.push(((await ended) as [{ ended: number }])[0].ended);
  }
  const { requests, statuses, errors } = await clients;

  expect(errors).toEqual([]);
  expect(statuses).toEqual({ 200: requests });
  // Without these, nothing would have been put to the test.
  expect(codes.length).toBeGreaterThanOrEqual(1);
  expect(codes).toEqual(codes.map(() => 0));
  expect(requests).toBe(REQUESTS);
}, 120_000);

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { type LoadResult, load } from '../helpers/load.js';
import { closeAfter, serve } from '../helpers/servers.js';

/** What clients saw of so many requests, while gateways took each other's place. */
export async function rollingRestart(
  total: number,
  restarts: number,
): Promise<LoadResult & { readonly codes: readonly unknown[] }> {
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
    resends: true,
    more: (requests) => {
      sent = requests;
      return requests < total;
    },
  });
  const codes: unknown[] = [];
  while (codes.length < restarts && sent < total * 0.9) {
    const ended = once(primary, 'message');
    primary.send('restart');
    codes.push(((await ended) as [{ ended: number }])[0].ended);
  }
  return { ...(await clients), codes };
}

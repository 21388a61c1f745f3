import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchWhole } from './http.js';
import { findProgram } from './programs.js';
import { closeAfter } from './servers.js';
import { eventually } from './settled.js';

const prometheus = findProgram('prometheus');
const promtool = findProgram('promtool');

/** Whether both programs are there: the Debian package `prometheus` has them. */
export const hasPrometheus = prometheus !== undefined && promtool !== undefined;

/** Reads samples in the text format, by their series as they are written. */
export function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1).replace('Inf', 'Infinity'))];
    }),
  );
}

/** What promtool finds wrong with text in the older format; empty when it is as it should be. */
export async function complaintsOf(text: string): Promise<string> {
  const child = execFile(installed(promtool), ['check', 'metrics']);
  let said = '';
  child.stdout?.on('data', (chunk: string) => (said += chunk));
  child.stderr?.on('data', (chunk: string) => (said += chunk));
  child.stdin?.end(text);
  await once(child, 'close');
  return said;
}

/** One series of the answer to a query. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Starts Prometheus, which scrapes `/metrics` of a gateway; it ends with the test. What comes back asks it,
 * and rejects when a query is not understood.
 */
export async function prometheusOf(port: number): Promise<(query: string) => Promise<Series[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-prometheus-'));
  closeAfter(() => rm(folder, { recursive: true, force: true }));
  const config = {
    global: { scrape_interval: '100ms', scrape_timeout: '100ms' },
    scrape_configs: [{ job_name: 'gateway', static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
  };
  // JSON is YAML.
  await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
  const url = await start(folder);
  return async (query) => {
    const { body } = await fetchWhole(`${url}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { status, error, data } = JSON.parse(String(body));
    if (status !== 'success') throw new Error(`${error}: ${query}`);
    return (data.result as { metric: Series['metric']; value: [number, string] }[]).map(
      ({ metric, value }) => ({ metric, value: Number(value[1]) }),
    );
  };
}

/** A run that is killed must not leave it behind: it would scrape whoever gets that port next. */
const UNTIL_STDIN_ENDS = '"$0" "$@" & read -r _; kill -KILL $!; wait $!';

async function start(folder: string): Promise<string> {
  const args = {
    'config.file': join(folder, 'prometheus.yml'),
    'storage.tsdb.path': join(folder, 'data'),
    'web.listen-address': '127.0.0.1:0',
  };
  const child = spawn(
    'sh',
    [
      '-c',
      UNTIL_STDIN_ENDS,
      installed(prometheus),
      ...Object.entries(args).map(([name, value]) => `--${name}=${value}`),
    ],
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  closeAfter(async () => {
    const exit = once(child, 'exit');
    child.stdin.end();
    await exit;
  });
  let said = '';
  child.stderr.on('data', (chunk) => (said += String(chunk)));
  // Parts of it that start side by side say these two, in either order.
  const address = () => /msg="Listening on" address=(\S+)\s/.exec(said)?.[1];
  const isReady = () => said.includes('ready to receive') && address() !== undefined;
  await eventually('Prometheus', isReady, 30_000);
  return `http://${address()}`;
}

function installed(program: string | undefined): string {
  if (program === undefined) throw new Error('Prometheus is missing: apt-get install prometheus');
  return program;
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { loadBalancer, proxyPass, retry } from 'headrace';
import { load } from '../helpers/load.js';
import { closeAfter, gateway } from '../helpers/servers.js';

/** How long the clients keep on. */
const DURATION_MS = 5_000;
/** How long the upstream is down, and how long it is left alone, each time. */
const PAUSE_MS = 150;

const SERVER = `
  const [port, name] = process.argv.slice(1);
  const server = require('node:http').createServer((req, res) => res.end(name));
  server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
  process.on('disconnect', () => process.exit());
`;

/** An upstream in a process of its own, which can be killed and started again on its port. */
class UpstreamProcess {
  readonly #name: string;
  #child: ChildProcess | undefined = undefined;
  port = 0;

  constructor(name: string) {
    this.#name = name;
    closeAfter(() => this.kill());
  }

  async start(): Promise<void> {
    // The channel ends the process with this one, however this one ends.
    const child = spawn(process.execPath, ['-e', SERVER, String(this.port), this.#name], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.#child = child;
    const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
    this.port = Number(line);
  }

  /** Ends it as a crash would: connections break off, and nothing is said. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

it('lets clients see no error while one of three upstreams is killed again and again', async () => {
  const processes = ['a', 'b', 'c'].map((name) => new UpstreamProcess(name));
  await Promise.all(processes.map((one) => one.start()));
  const balancer = loadBalancer({
    upstreams: processes.map(({ port }) => `http://127.0.0.1:${port}`),
    health: { passive: { ejectMs: 100, maxEjectMs: 200 } },
  });
  closeAfter(() => balancer.close());
  const events: string[] = [];
  balancer.upstreams.on('ejected', () => events.push('ejected'));
  balancer.upstreams.on('recovered', () => events.push('recovered'));
  const { port } = await gateway('express 5', balancer, retry(), proxyPass());

  const until = performance.now() + DURATION_MS;
  const clients = load(port, { more: () => performance.now() < until });
  const victim = processes[0] as UpstreamProcess;
  let kills = 0;
  while (performance.now() < until - 2 * PAUSE_MS) {
    await delay(PAUSE_MS);
    await victim.kill();
    kills++;
    await delay(PAUSE_MS);
    await victim.start();
  }
  const { requests, statuses, bodies, errors } = await clients;

  expect(errors).toEqual([]);
  expect(statuses).toEqual({ 200: requests });
  expect(Object.keys(bodies).sort()).toEqual(['a', 'b', 'c']);
  // Without these, nothing would have been put to the test.
  expect(kills).toBeGreaterThanOrEqual(3);
  const failures = balancer.upstreams.stats()[0]?.failures ?? {};
  const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
  expect(failed).toBeGreaterThanOrEqual(kills);
  expect(events).toEqual(expect.arrayContaining(['ejected', 'recovered']));
});

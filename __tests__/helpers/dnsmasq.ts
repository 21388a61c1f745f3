import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { findProgram, onceSaid } from './programs.js';
import { closeAfter } from './servers.js';

/** The DNS server that the tests start; `undefined` where it is not installed. */
export const dnsmasq = findProgram('dnsmasq');

/** A DNS server of a test's own, which knows what it is told and nothing else. */
export interface DnsServer {
  readonly port: number;
  /** Asks this server, briefly. */
  readonly resolver: Resolver;
  /**
   * Answers from these lines of its configuration from now on. It is another process then: that is what
   * it takes to change SRV records.
   */
  serve(...lines: string[]): Promise<void>;
  /** Ends the process; questions find nobody. */
  stop(): Promise<void>;
}

/**
 * Starts dnsmasq on a free port of 127.0.0.1. Names below `.test` are its own: those it does not know do
 * not exist. Others it refuses. It ends with the test.
 */
export async function dnsServer(...lines: string[]): Promise<DnsServer> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-dns-'));
  closeAfter(() => rm(folder, { recursive: true, force: true }));
  const config = join(folder, 'dnsmasq.conf');
  let port = await freePort();
  let running: ChildProcess | undefined;

  const stop = async () => {
    const child = running;
    running = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
  const serve = async (...more: string[]) => {
    await stop();
    await writeFile(config, [...settings(port, folder), ...more, ''].join('\n'));
    running = await start(config);
  };
  closeAfter(stop);
  // A port that is free for UDP may be in use for TCP, which dnsmasq needs as well.
  for (let tries = 1; running === undefined; tries++) {
    await serve(...lines).catch(async (error: unknown) => {
      if (tries === 5) throw error;
      port = await freePort();
    });
  }

  const resolver = new Resolver({ timeout: 200, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  return { port, resolver, serve, stop };
}

function settings(port: number, folder: string): string[] {
  return [
    `port=${port}`,
    'listen-address=127.0.0.1',
    'bind-interfaces',
    'no-resolv',
    'no-hosts',
    'no-poll',
    'local=/test/',
    `user=${userInfo().username}`,
    `pid-file=${join(folder, 'pid')}`,
  ];
}

async function start(config: string): Promise<ChildProcess> {
  if (dnsmasq === undefined) throw new Error('dnsmasq is missing: apt-get install dnsmasq-base');
  const child = spawn(
    dnsmasq,
    ['--keep-in-foreground', '--log-facility=-', `--conf-file=${config}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  return onceSaid(child, child.stderr, 'started');
}

/**
 * A port below those that the system gives to clients: of the others, thousands may be waiting for the
 * last packets of connections that tests have closed.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const socket = createSocket('udp4');
    const bound = once(socket, 'listening');
    socket.bind(port, '127.0.0.1');
    const isFree = await bound.then(
      () => true,
      () => false,
    );
    socket.close();
    if (isFree) return port;
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { closeAfter } from './servers.js';

const root = join(__dirname, '../..');

/** A demo in a process of its own. */
export interface RunningDemo {
  readonly child: ChildProcess;
  /** Resolves with all output once it satisfies `condition`; rejects when the demo has ended first. */
  output(condition: (all: string) => boolean): Promise<string>;
}

/** Runs what a newcomer types; `env` gives it free ports. */
export function runDemo(script: string, env: Record<string, string>): RunningDemo {
  // A group of its own, so that nothing of it outlives the test.
  const child = spawn('npm', ['run', script, '--', '--quiet'], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  closeAfter(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // It has ended, as it should.
    }
  });
  let all = '';
  const checks = new Set<() => void>();
  const note = (chunk: Buffer): void => {
    all += chunk;
    for (const check of checks) check();
  };
  child.stdout.on('data', note);
  child.stderr.on('data', note);
  return {
    child,
    output: (condition) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (!condition(all)) return;
          checks.delete(check);
          resolve(all);
        };
        checks.add(check);
        child.once('close', () => reject(new Error(`the demo has ended:\n${all}`)));
        check();
      }),
  };
}

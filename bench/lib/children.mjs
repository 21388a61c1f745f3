import { spawn } from 'node:child_process';
import { once } from 'node:events';

const GRACE_MS = 2000;
const running = new Set();

/**
 * Starts a child pinned to one core, which the kernel kills should the harness be killed itself.
 * `setpriv` and `taskset` turn into the command, so the pid is the command's own.
 */
export function start(core, command, args, options = {}) {
  const prefix = ['--pdeathsig', 'KILL', 'taskset', '-c', String(core)];
  const child = spawn('setpriv', [...prefix, command, ...args], options);
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', () => running.delete(child));
  return child;
}

export async function stop(child, signal = 'SIGTERM') {
  if (!running.has(child)) return;
  const exited = once(child, 'exit');
  const killer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  child.kill(signal);
  await exited;
  clearTimeout(killer);
}

/** Nothing outlives the harness, however it ends. */
export function stopAllAtExit() {
  process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
  });
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ]) {
    process.on(signal, () => process.exit(code));
  }
}

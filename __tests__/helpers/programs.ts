import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { closeAfter } from './servers.js';

const BUNDLER = ['--bundle', '--platform=node', '--packages=external', '--log-level=error'];

/**
 * Runs a TypeScript program in a process of its own, where Jest neither slows it down nor keeps it
 * alive, and resolves with what it printed once it has ended by itself.
 */
export async function runProgram(source: string): Promise<string> {
  const program = execFileSync('node_modules/.bin/esbuild', BUNDLER, {
    input: source,
    maxBuffer: 2 ** 24,
  });
  const child = spawn(process.execPath, ['-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  closeAfter(() => child.kill('SIGKILL'));
  child.stdin.end(program);
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  if (code !== 0) throw new Error(`the program ended with ${code}; it printed:\n${printed}`);
  return printed;
}

/** Resolves with a child once one of its outputs has said some words; what it says after that is dropped. */
export async function onceSaid<Child extends ChildProcess>(
  child: Child,
  output: Readable,
  words: string,
): Promise<Child> {
  let said = '';
  for await (const chunk of output.iterator({ destroyOnReturn: false })) {
    said += String(chunk);
    if (said.includes(words)) {
      output.resume();
      return child;
    }
  }
  throw new Error(`${child.spawnfile} ended without "${words}": ${said}`);
}

/** Where a program is. That of a daemon may be where a user's path does not look. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

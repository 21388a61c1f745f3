import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { start } from './children.mjs';

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url));

/** Runs wrk for `seconds` and resolves with what it counted (the object that wrk.lua prints). */
export async function load(core, url, { connections, body }, seconds) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', SCRIPT, url];
  if (body !== undefined) args.push('--', body);
  const child = start(core, 'wrk', args, { stdio: ['ignore', 'pipe', 'pipe'] });

  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const [code] = await once(child, 'close');
  const result = /^\{.*\}$/m.exec(output);
  if (code !== 0 || result === null) throw new Error(`wrk failed with ${code}:\n${output}`);
  return JSON.parse(result[0]);
}

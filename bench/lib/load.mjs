import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { start, stop } from './children.mjs';
import { nextMessage, tail } from './messages.mjs';

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url));
const MIB = 1024 * 1024;
const READY_MS = 20_000;
/** A generator ends by itself; one that hangs is ended. */
const LATE_MS = 60_000;

/**
 * Loads a proxy for `seconds`: `{ before, counted, after }`, with what `usage()` said at both ends. `counted` has
 * `amount` (in the case's unit), `micros`, `badStatus`, `socketErrors`, and the latencies where there are any.
 */
export function load({ core, node }, job, usage) {
  return job.benchCase.load === undefined
    ? wrk(core, job, usage)
    : generator(core, node, job, usage);
}

/** The same by wrk, whatever the case says: what the proxy can take at most. */
export async function wrk(core, { url, benchCase, seconds }, usage) {
  const { connections, fields = {}, body, unit } = benchCase;
  const more = Object.entries(fields).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', ...more];
  if (body === undefined) args.push('-s', SCRIPT, url);
  else args.push('-s', SCRIPT, url, '--', body);

  const before = await usage();
  const child = start(core, 'wrk', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [output, complaint] = [tail(child.stdout), tail(child.stderr)];
  const [code] = await once(child, 'close');
  const after = await usage();
  const result = /^\{.*\}$/m.exec(output());
  if (code !== 0 || result === null) {
    throw new Error(`wrk failed with ${code}:\n${output()}${complaint()}`);
  }
  const { requests, bytes, ...counted } = JSON.parse(result[0]);
  return {
    before,
    after,
    counted: { amount: unit === 'MiB' ? bytes / MIB : requests, ...counted },
  };
}

async function generator(core, node, { url, benchCase, seconds, rate }, usage) {
  const { load: name, connections, settings } = benchCase;
  const script = fileURLToPath(new URL(`generators/${name}.mjs`, import.meta.url));
  const job = JSON.stringify({ url, connections, settings, seconds, rate });
  const child = start(core, node, [script, job], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const complaint = tail(child.stderr);
  try {
    await told(child, READY_MS);
    const before = await usage();
    child.send('go');
    const counted = await told(child, seconds * 1000 + LATE_MS);
    return { before, after: await usage(), counted };
  } catch (error) {
    throw new Error(`the load "${name}" failed: ${error.message}\n${complaint()}`);
  } finally {
    await stop(child, 'SIGKILL');
  }
}

async function told(child, ms) {
  const message = await nextMessage(child, ms);
  if (message.failed !== undefined) throw new Error(message.failed);
  return message;
}

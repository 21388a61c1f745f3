import { start, stop } from './children.mjs';
import { nextMessage, tail } from './messages.mjs';
import { freePort } from './ports.mjs';

const ANSWER_MS = 5000;

/**
 * Starts one proxy in a process of its own, by `node` or a longer command, and resolves when it listens. `onOutput` is
 * given what it prints.
 */
export async function startProxy(
  contestant,
  { core, node, upstream, env, benchCase, readyMs = 10_000, onOutput },
) {
  const port = await freePort();
  const own = { PORT: String(port), BENCH_UPSTREAM: upstream, ...contestant.env };
  const [command, ...args] = [node].flat();
  // taskset hands the channel on: it becomes the Node process.
  const child = start(core, command, [...args, contestant.script], {
    env: { ...process.env, NODE_ENV: 'production', ...env, ...own },
    stdio: ['ignore', onOutput ? 'pipe' : 'ignore', 'pipe', 'ipc'],
  });
  if (onOutput) child.stdout.setEncoding('utf8').on('data', onOutput);
  const output = tail(child.stderr);
  const close = () => stop(child, 'SIGKILL');
  await nextMessage(child, readyMs).catch(async (error) => {
    await close();
    throw new Error(`${contestant.name} did not start: ${error.message}\n${output()}`);
  });

  return {
    origin: `${benchCase?.front === 'tls' ? 'https' : 'http'}://127.0.0.1:${port}`,
    pid: child.pid,
    usage() {
      const answer = nextMessage(child, ANSWER_MS);
      child.send('usage');
      return answer;
    },
    output,
    close,
  };
}

import { once } from 'node:events';
import { start, stop } from './children.mjs';
import { freePort } from './ports.mjs';

const READY_MS = 10_000;
const ANSWER_MS = 5000;

/** Starts one proxy in a process of its own and resolves when it listens. */
export async function startProxy(contestant, { core, node, upstream }) {
  const port = await freePort();
  const env = {
    ...process.env,
    NODE_ENV: 'production',
    PORT: String(port),
    BENCH_UPSTREAM: upstream,
  };
  if (contestant.entry) env.BENCH_HEADRACE = contestant.entry;
  if (contestant.pieces) env.BENCH_PIECES = contestant.pieces;

  // taskset hands the channel on: it becomes the Node process.
  const child = start(core, node, [contestant.script], {
    env,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const output = collect(child.stderr);
  await nextMessage(child, READY_MS).catch((error) => {
    throw new Error(`${contestant.name} did not start: ${error.message}\n${output()}`);
  });

  return {
    origin: `http://127.0.0.1:${port}`,
    pid: child.pid,
    usage() {
      const answer = nextMessage(child, ANSWER_MS);
      child.send('usage');
      return answer;
    },
    output,
    close: () => stop(child, 'SIGKILL'),
  };
}

async function nextMessage(child, ms) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`no word in ${ms} ms`)), ms);
  const exited = once(child, 'exit', { signal: abort.signal }).then(([code, signal]) => {
    throw new Error(`exited with ${code ?? signal}`);
  });
  const told = once(child, 'message', { signal: abort.signal }).then(([message]) => message);
  try {
    return await Promise.race([told, exited]);
  } catch (error) {
    throw error.name === 'AbortError' ? error.cause : error;
  } finally {
    clearTimeout(timer);
    abort.abort();
    await Promise.allSettled([told, exited]);
  }
}

function collect(stream) {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk) => {
    text = (text + chunk).slice(-2000);
  });
  return () => text;
}

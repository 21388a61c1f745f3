import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { ask, open } from './ask.mjs';
import { openTunnel } from './generators/tunnel.mjs';
import { rewritten } from './page.mjs';

const checks = { answer, events, rewrite, tunnel, upload };

/** Does it proxy at all? Every number rests on that, so each process is asked before it is measured. */
export async function checkProxy(contestant, { proxy, upstream, benchCase, ca }) {
  const side = { proxy: `${proxy}/api`, upstream, benchCase, ca };
  const complaint = await checks[benchCase.check](side);
  if (complaint !== undefined)
    throw new Error(`${contestant.name} answers ${benchCase.path} ${complaint}`);
  if (contestant.kind === 'headrace' && benchCase.check === 'answer')
    await checkPipeline(contestant, side);
}

async function answer({ proxy, upstream, benchCase: { path, body }, ca }) {
  const asked = await ask(proxy + path, { body, ca });
  const expected = await ask(upstream + path, { body, ca });
  if (asked.status !== 200 || asked.digest !== expected.digest) return wrong(asked);
  if (body === undefined) return undefined;
  const echoed = await ask(`${proxy}/echo`, { body, ca });
  return echoed.text === body ? undefined : wrong(echoed);
}

async function checkPipeline({ name }, { proxy, benchCase, ca }) {
  const { headers } = await ask(proxy + benchCase.path, { body: benchCase.body, ca });
  if (headers['x-proxy'] !== 'magical') {
    throw new Error(`${name} does not set the header that its pipeline adds`);
  }
}

async function rewrite({ proxy, upstream, benchCase: { path }, ca }) {
  const asked = await ask(proxy + path, { ca });
  const expected = await ask(upstream + path, { ca });
  const text = expected.text.replaceAll(rewritten.from, rewritten.to);
  return asked.status === 200 && asked.text === text ? undefined : wrong(asked);
}

async function upload({ proxy, upstream }) {
  const body = randomBytes(1024 * 1024);
  const asked = await ask(`${proxy}/digest`, { body });
  const expected = await ask(`${upstream}/digest`, { body });
  return asked.status === 200 && asked.text === expected.text ? undefined : wrong(asked);
}

/** Events have to arrive while the response goes on. */
async function events({ proxy, benchCase: { path } }) {
  const response = await open(proxy + path);
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    if (/^data: .*\n\n/m.test(text)) return undefined;
  }
  return `with ${response.statusCode} and no event`;
}

async function tunnel({ proxy, benchCase: { path } }) {
  const { port, pathname } = new URL(proxy + path);
  const socket = await openTunnel({ port, path: pathname });
  socket.write('hello');
  const [echoed] = await once(socket, 'data', { signal: AbortSignal.timeout(5000) });
  socket.destroy();
  return String(echoed) === 'hello' ? undefined : 'without an echo';
}

function wrong({ status, length }) {
  return `with ${status} and ${length} wrong bytes`;
}

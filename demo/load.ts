import { get } from 'node:http';

/** What the load asks for, over and over; the breaker's route is asked less often than the others. */
const PATHS = ['/balanced', '/balanced/user/1', '/balanced', '/balanced/page', '/breaker'];

/** The load comes in waves this long, so that there is something to see. */
const WAVE_MS = 60_000;

/** Asks the gateway some ten times a second, like a few idle readers, until it is stopped. */
export function load(gateway: string): { stop(): void } {
  const startedAt = performance.now();
  let count = 0;
  let timer: NodeJS.Timeout;

  const ask = (): void => {
    const path = PATHS[count++ % PATHS.length] ?? '/balanced';
    // What comes back is shown on the status page, failures included.
    get(`${gateway}${path}`, { headers: { 'user-agent': 'the load of the demo' } }, (res) => {
      res.on('error', () => {}).resume();
    }).on('error', () => {});
    const wave = Math.sin(((performance.now() - startedAt) / WAVE_MS) * 2 * Math.PI);
    timer = setTimeout(ask, 100 - 60 * wave);
    timer.unref();
  };
  ask();

  return { stop: () => clearTimeout(timer) };
}

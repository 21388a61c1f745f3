import { setTimeout as delay } from 'node:timers/promises';

/**
 * Resolves with a number once it has stood still for `quietMs`. For what has no event of its own: that
 * nothing more is written, that nothing more comes.
 */
export async function settled(read: () => number, quietMs = 150): Promise<number> {
  for (let last = read(); ; ) {
    await delay(quietMs);
    const now = read();
    if (now === last) return now;
    last = now;
  }
}

/** Resolves once a condition holds that has no event of its own; rejects after `timeoutMs`. */
export async function eventually(
  what: string,
  condition: () => boolean,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) {
      throw new Error(`${what} did not happen within ${timeoutMs} ms`);
    }
    await delay(5);
  }
}

import { Deadline } from '../../deadline.js';
import type { DnsResolver } from './dns-records.js';

/** How long a resolver may take for an answer. Those of Node give up before, with the settings we give them. */
const ANSWER_TIMEOUT_MS = 30_000;

/**
 * A resolver that somebody has brought, with a limit of time for each question: one that never settles its
 * promise would end discovery without a word. `signal` ends the waiting.
 */
export function limitedResolver(resolver: DnsResolver, signal: AbortSignal): DnsResolver {
  return {
    resolve4: (name, options) => inTime(resolver.resolve4(name, options), name, signal),
    resolve6: (name, options) => inTime(resolver.resolve6(name, options), name, signal),
    resolveSrv: (name) => inTime(resolver.resolveSrv(name), name, signal),
  };
}

async function inTime<T>(answer: Promise<T>, name: string, signal: AbortSignal): Promise<T> {
  let deadline: Deadline | undefined;
  let stop = (): void => {};
  const limit = new Promise<never>((_resolve, reject) => {
    const message = `fromDns: no answer for ${name} within ${ANSWER_TIMEOUT_MS} ms`;
    deadline = new Deadline(ANSWER_TIMEOUT_MS, () => reject(new Error(message)));
    stop = () => reject(signal.reason);
  });
  signal.addEventListener('abort', stop);
  try {
    return await Promise.race([answer, limit]);
  } finally {
    deadline?.end();
    signal.removeEventListener('abort', stop);
  }
}

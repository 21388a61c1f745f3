import { Agent, request } from 'node:http';
import { setImmediate as breathe } from 'node:timers/promises';

/** What clients saw that kept to their rate, whatever came back. */
export interface Offered {
  readonly sent: number;
  /** One entry for each answer, in the order in which the requests were sent. */
  readonly answers: readonly Answer[];
}

/** What came of one request. `status` is 0 where there was no answer. */
export interface Answer {
  /** When it was sent, in milliseconds from the start. */
  readonly sentAt: number;
  readonly tookMs: number;
  readonly status: number;
}

/** Sends requests at a fixed rate for a while, and waits for the last answer. */
export async function offer(port: number, perSecond: number, seconds: number): Promise<Offered> {
  const agent = new Agent({ keepAlive: true });
  const answers: Promise<Answer>[] = [];
  const start = performance.now();
  const total = perSecond * seconds;
  while (answers.length < total) {
    const due = Math.min(total, ((performance.now() - start) / 1_000) * perSecond);
    while (answers.length < due) answers.push(ask(agent, port, start));
    await breathe();
  }
  const all = await Promise.all(answers);
  agent.destroy();
  return { sent: all.length, answers: all };
}

function ask(agent: Agent, port: number, start: number): Promise<Answer> {
  const sentAt = performance.now() - start;
  return new Promise((resolve) => {
    const done = (status: number): void => {
      resolve({ sentAt, status, tookMs: performance.now() - start - sentAt });
    };
    const sent = request({ agent, host: '127.0.0.1', port }, (res) => {
      res.resume();
      res.on('end', () => done(res.statusCode ?? 0));
      res.on('error', () => done(0));
    });
    sent.on('error', () => done(0));
    sent.end();
  });
}

/** The value below which the share `q` lies. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

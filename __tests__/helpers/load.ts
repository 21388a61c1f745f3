import { Agent, request } from 'node:http';
import type { Socket } from 'node:net';

/** What clients saw of many requests. */
export interface LoadResult {
  readonly requests: number;
  /** How many answers there were of each status. */
  readonly statuses: Readonly<Record<number, number>>;
  /** How many answers there were with each body. */
  readonly bodies: Readonly<Record<string, number>>;
  /** How often a request was sent again: its kept connection was reset before an answer. */
  readonly resent: number;
  /** The codes of the errors that clients saw in place of answers. */
  readonly errors: readonly string[];
}

/** What to send, and for how long. */
export interface LoadOptions {
  /** Asked before each request. */
  readonly more: (sent: number) => boolean;
  /** Clients that send one request after the other. */
  readonly clients?: number;
  readonly method?: string;
  /**
   * Sends a request again when the kept connection that it went over was reset, as browsers and most
   * clients do (RFC 9112, 9.3.1): a server may close it just then, and the other kept ones with it.
   */
  readonly resends?: boolean;
}

/** Sends requests over kept connections, as many clients at once would. */
export async function load(
  port: number,
  { more, clients = 32, method = 'GET', resends = false }: LoadOptions,
): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const statuses: Record<number, number> = {};
  const bodies: Record<string, number> = {};
  const errors: string[] = [];
  let requests = 0;
  let resent = 0;
  const ask = async (): Promise<Answer> => {
    for (;;) {
      try {
        return await once(agent, port, method);
      } catch (error) {
        if (!resends || !(error as Failure).reused) throw error;
        resent++;
      }
    }
  };
  const client = async (): Promise<void> => {
    while (more(requests)) {
      requests++;
      try {
        const { status, body } = await ask();
        statuses[status] = (statuses[status] ?? 0) + 1;
        bodies[body] = (bodies[body] ?? 0) + 1;
      } catch (error) {
        errors.push(String((error as NodeJS.ErrnoException).code ?? error));
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return { requests, statuses, bodies, errors, resent };
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Failure extends NodeJS.ErrnoException {
  /** Whether it went over a connection that had carried a request before. */
  reused?: boolean;
}

/** Sockets that have carried a request: `reusedSocket` does not know of those that another one has waited for. */
const carried = new WeakSet<Socket>();

function once(agent: Agent, port: number, method: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let reused = false;
    const sent = request({ agent, host: '127.0.0.1', port, method }, (res) => {
      let body = '';
      res.setEncoding('latin1');
      res.on('data', (chunk: string) => {
        body += chunk;
      });
      res.on('error', reject);
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body }));
    });
    sent.on('socket', (socket) => {
      reused = carried.has(socket);
      carried.add(socket);
    });
    sent.on('error', (error) => reject(Object.assign(error, { reused })));
    sent.end();
  });
}

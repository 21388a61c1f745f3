import { Agent, request } from 'node:http';

/** What clients saw of many requests. */
export interface LoadResult {
  readonly requests: number;
  /** How many answers there were of each status. */
  readonly statuses: Readonly<Record<number, number>>;
  /** How many answers there were with each body. */
  readonly bodies: Readonly<Record<string, number>>;
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
}

/** Sends requests over kept connections, as many clients at once would. */
export async function load(
  port: number,
  { more, clients = 32, method = 'GET' }: LoadOptions,
): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const statuses: Record<number, number> = {};
  const bodies: Record<string, number> = {};
  const errors: string[] = [];
  let requests = 0;
  const client = async (): Promise<void> => {
    while (more(requests)) {
      requests++;
      try {
        const { status, body } = await once(agent, port, method);
        statuses[status] = (statuses[status] ?? 0) + 1;
        bodies[body] = (bodies[body] ?? 0) + 1;
      } catch (error) {
        errors.push(String((error as NodeJS.ErrnoException).code ?? error));
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return { requests, statuses, bodies, errors };
}

function once(
  agent: Agent,
  port: number,
  method: string,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ agent, host: '127.0.0.1', port, method }, (res) => {
      let body = '';
      res.setEncoding('latin1');
      res.on('data', (chunk: string) => {
        body += chunk;
      });
      res.on('error', reject);
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

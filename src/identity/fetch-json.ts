import { Agent, type Dispatcher, request } from 'undici';
import type { AnyDispatcher } from '../connection-settings.js';
import { Deadline } from '../deadline.js';

/** What bounds a fetch. */
export interface FetchLimits {
  /** For all of it, from the first step to the last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** Sends it in place of a connection of its own. */
  readonly dispatcher: AnyDispatcher | undefined;
}

/**
 * Gets a JSON document over a connection that ends with it. Redirects are not followed: they could lead
 * to where nobody meant to ask.
 */
export async function fetchJson(url: string, limits: FetchLimits): Promise<unknown> {
  const { timeoutMs, maxBytes } = limits;
  const own = limits.dispatcher === undefined ? ownAgent(limits) : undefined;
  const ended = new AbortController();
  const deadline = new Deadline(timeoutMs, () => {
    ended.abort(new Error(`no whole answer within ${timeoutMs} ms`));
  });
  try {
    const { statusCode, body } = await request(url, {
      dispatcher: own ?? (limits.dispatcher as Dispatcher),
      signal: ended.signal,
      headers: { accept: 'application/json', 'accept-encoding': 'identity' },
    });
    // What is not read to its end breaks off, which says nothing new.
    body.on('error', () => {});
    if (statusCode !== 200) {
      body.destroy();
      throw new Error(`answered ${statusCode}`);
    }
    return JSON.parse(await textOf(body, maxBytes));
  } finally {
    deadline.end();
    await own?.destroy();
  }
}

function ownAgent({ timeoutMs }: FetchLimits): Agent {
  return new Agent({ connections: 1, connect: { timeout: timeoutMs }, maxHeaderSize: 16_384 });
}

async function textOf(body: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw new Error(`answered with more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

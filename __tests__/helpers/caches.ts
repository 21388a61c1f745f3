import { type Cache, type CacheOptions, cache, proxyErrors, proxyPass } from 'headrace';
import { type RawResponse, rawRequest } from './client.js';
import { request } from './requests.js';
import { gateway, type Middleware, type RawUpstream, rawUpstream } from './servers.js';

/** An answer with these lines; its length comes with it. */
export function reply(status: string, lines: readonly string[], body = ''): string {
  const length = `Content-Length: ${body.length}`;
  return [`HTTP/1.1 ${status}`, ...lines, length, '', body].join('\r\n');
}

export type Answer = (n: number, bytes: string) => string | Buffer | undefined;

/** Answers that are numbered, and may be kept for a minute. */
export const numbered: Answer = (n) =>
  reply('200 OK', ['Cache-Control: max-age=60'], `answer ${n}`);

/** A clock that stands still until it is told not to. */
export const clock = (at = 1_800_000_000_000) => ({
  at,
  now(): number {
    return this.at;
  },
});

export interface Cached {
  readonly upstream: RawUpstream;
  readonly kept: Cache;
  readonly time: ReturnType<typeof clock>;
  readonly port: number;
  ask(line?: string, headers?: readonly string[]): Promise<RawResponse>;
  /** The bodies of answers to the same request, one after the other. */
  bodies(count: number, line?: string, headers?: readonly string[]): Promise<string[]>;
}

/** A gateway with a cache before an upstream that answers so. */
export async function cached(
  answer: Answer = numbered,
  options: CacheOptions = {},
  ...before: Middleware[]
): Promise<Cached> {
  let n = 0;
  const upstream = await rawUpstream((bytes) => answer(++n, bytes));
  const time = clock();
  const kept = cache({ now: () => time.now(), ...options });
  const pass = proxyPass(upstream.url);
  const { port } = await gateway('express 5', ...before, kept, pass, proxyErrors());
  const ask: Cached['ask'] = (line = 'GET /page', headers = []) =>
    rawRequest(port, request(line, headers));
  const bodies: Cached['bodies'] = async (count, line, headers) => {
    const all: string[] = [];
    for (let i = 0; i < count; i++) all.push((await ask(line, headers)).body);
    return all;
  };
  return { upstream, kept, time, port, ask, bodies };
}

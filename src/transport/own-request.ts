import type { Upstream } from '../upstreams/upstream.js';
import type { SendOptions } from './carrier.js';

/** A request of our own, on behalf of nobody or of another one: a GET without a body, limited in time. */
export function ownRequest(
  upstream: Upstream,
  path: string,
  headers: string[],
  timeoutMs: number,
): SendOptions {
  return {
    origin: upstream.origin,
    path,
    method: 'GET',
    headers,
    body: null,
    reset: false,
    limits: { headersTimeoutMs: timeoutMs, bodyTimeoutMs: timeoutMs },
    servername: upstream.protocol === 'https:' ? upstream.hostname : undefined,
    replayable: true,
    connection: undefined,
  };
}

import type { Upstream } from '../upstreams/upstream.js';
import type { ProxyError } from './errors.js';

/** One try at an upstream. Times are of `performance.now()`. */
export interface Attempt {
  readonly upstream: Upstream;
  /** Path and query as the upstream got them, its own base before the request's. */
  readonly path: string;
  /** The `Host` that it was sent; `undefined` where that is the one of its own URL. */
  readonly host: string | undefined;
  /** When the try began. */
  readonly startedAt: number;
  /** When a connection took it; what lies before was the wait for one. `undefined` when none did. */
  sentAt: number | undefined;
  /** When the head of the response came; `undefined` when none did. */
  headAt: number | undefined;
  /** The status of the response; `undefined` when none came. */
  status: number | undefined;
  /** How the try failed. After a status: in the middle of the body. */
  error: ProxyError | undefined;
}

/** A try that begins now. */
export function beginAttempt(upstream: Upstream, path = '', host?: string): Attempt {
  return {
    upstream,
    path,
    host,
    startedAt: performance.now(),
    sentAt: undefined,
    headAt: undefined,
    status: undefined,
    error: undefined,
  };
}

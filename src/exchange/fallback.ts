import type { IncomingMessage } from 'node:http';
import type { UpstreamPool } from '../upstreams/pool.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { ProxyError } from './errors.js';
import type { Exchange } from './exchange.js';
import type { ResponseInit, UpstreamResponse } from './upstream-response.js';

/** What can stand in for a response that did not come: another one, or somewhere else to ask. */
export type Substitute = ResponseInit | UpstreamResponse | Upstream | UpstreamPool;

/** What {@link Exchange.onFailure} takes: it gives a substitute, or nothing to let the error go on. */
export type FailureHandler = (
  error: ProxyError,
  req: IncomingMessage,
  exchange: Exchange,
) => Substitute | undefined | void | Promise<Substitute | undefined> | Promise<void>;

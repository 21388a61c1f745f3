import { ClientClosedError } from './errors.js';
import type { Exchange } from './exchange.js';

/** Has a request that waits for something of its client's or ours be in flight nowhere. */
export function stepBack(exchange: Exchange): void {
  if (exchange.pool !== undefined) exchange.lease(undefined);
}

/**
 * Has it be in flight again. The upstream that it was given may be gone or out of use by now.
 *
 * @throws ProxyError when its client has left, or its pool has none for it.
 */
export function comeBack(exchange: Exchange): void {
  const { pool, upstream, open } = exchange;
  if (!open) throw new ClientClosedError({ upstream });
  if (pool === undefined || upstream === undefined) return;
  if (upstream.well && pool.keeps(upstream)) pool.give(exchange, upstream);
  else exchange.upstream = pool.pick(exchange);
  if (exchange.upstream === undefined) throw pool.refusal();
}

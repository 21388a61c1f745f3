import type { Exchange } from '../exchange/exchange.js';
import type { Upstream } from './upstream.js';

/**
 * Chooses among the upstreams that may be used. Bring your own: any object with `pick` will do. Each
 * pool needs one of its own.
 */
export interface Strategy {
  /**
   * The upstream for this exchange, or `undefined` for none. The same array comes again until the
   * candidates change; it is never changed in place. Only a retry brings a shorter one for itself,
   * without the upstreams that were tried, and so does a choice without those that start slowly or fail
   * and have had their share, which may also ask several times for one exchange.
   */
  pick(candidates: readonly Upstream[], exchange: Exchange): Upstream | undefined;
  /** Is told how long each upstream took to the head of a response. Optional. */
  observe?(upstream: Upstream, latencyMs: number): void;
}

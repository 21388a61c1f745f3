import type { Exchange } from '../exchange/exchange.js';
import type { Upstream } from './upstream.js';

/** Chooses among the upstreams that may be used. Bring your own: any object with `pick` will do. */
export interface Strategy {
  /**
   * The upstream for this exchange, or `undefined` for none. The same array comes again until the
   * candidates change; it is never changed in place.
   */
  pick(candidates: readonly Upstream[], exchange: Exchange): Upstream | undefined;
  /** Is told how long each upstream took to the head of a response. Optional. */
  observe?(upstream: Upstream, latencyMs: number): void;
}

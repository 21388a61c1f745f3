import { NoTargetError } from '../exchange/errors.js';
import type { Exchange, Send } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { connectionsTo } from './connections.js';
import { outgoingRequest } from './request.js';
import type { TransportSettings } from './settings.js';
import { WireResponse } from './wire-response.js';

/**
 * Sends the exchange through the wrappers that pieces have put round the call. What `once` does stands for
 * one try; usually that is the request as it is.
 */
export function send(
  exchange: Exchange,
  settings: TransportSettings,
  once?: Send,
): Promise<UpstreamResponse> {
  if (exchange.wrappers.length === 0) {
    return once === undefined ? sendOnce(exchange, settings) : once();
  }
  // Async functions, so that a wrapper that throws at once rejects like one that throws later.
  const call = exchange.wrappers.reduceRight<Send>(
    (inner, wrapper) => async () => wrapper(exchange, inner),
    once ?? (() => sendOnce(exchange, settings)),
  );
  return call();
}

/** One try: resolves at the head of the response. */
function sendOnce(exchange: Exchange, settings: TransportSettings): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    const { upstream, refusal } = exchange;
    if (refusal !== undefined && refusal.upstream === upstream) throw refusal;
    if (upstream === undefined) {
      throw new NoTargetError(
        'proxyPass: nothing says where to send the request: ' +
          'give proxyPass() a target, or place loadBalancer() before it',
      );
    }
    const request = outgoingRequest(exchange, upstream, settings);
    const connections = connectionsTo(upstream, upstream.settings ?? settings.connection);
    const one = { exchange, request, connections, settings, resolve, reject, again: false };
    new WireResponse(one).dispatch();
  });
}

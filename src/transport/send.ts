import { NoTargetError } from '../exchange/errors.js';
import type { Around, Exchange, Send } from '../exchange/exchange.js';
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
  const { wrappers } = exchange;
  const innermost = wrappers.length - 1;
  if (innermost < 0) return once === undefined ? sendOnce(exchange, settings) : once();
  let call = once ?? (() => sendOnce(exchange, settings));
  for (let i = innermost; i > 0; i--) call = wrapped(wrappers[i] as Around, exchange, call);
  return run(wrappers[0] as Around, exchange, call);
}

function wrapped(wrapper: Around, exchange: Exchange, inner: Send): Send {
  return () => run(wrapper, exchange, inner);
}

/** A wrapper that throws at once rejects like one that throws later. */
function run(wrapper: Around, exchange: Exchange, inner: Send): Promise<UpstreamResponse> {
  try {
    // Costs nothing where it is a promise already; what users write may return a response as it is.
    return Promise.resolve(wrapper(exchange, inner));
  } catch (error) {
    return Promise.reject(error);
  }
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

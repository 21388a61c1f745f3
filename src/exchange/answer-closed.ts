import type { ServerResponse } from 'node:http';
import { isAnswered, isGone, isHttp2 } from './answers.js';
import { type Carrier, EXCHANGE } from './carrier.js';
import { ClientClosedError } from './errors.js';
import type { Exchange } from './exchange.js';
import { closeWithConnection } from './queued-answers.js';

/** Has the exchange of an answer settle when that closes; at once where it has. */
export function settleWithAnswer(res: ServerResponse): void {
  if (isGone(res)) {
    onAnswerClosed.call(res);
  } else {
    res.on('close', onAnswerClosed);
    closeWithConnection(res);
    // Node says nothing of the end of a stream while the answer to its HEAD has not been ended.
    if (isHttp2(res) && res.req.method === 'HEAD') {
      res.stream.once('close', () => onAnswerClosed.call(res));
    }
  }
}

/**
 * Settles the exchange of an answer that has closed. One function for all answers: a listener of their own
 * for each would cost a closure a request.
 */
function onAnswerClosed(this: ServerResponse): void {
  const exchange = (this as Carrier)[EXCHANGE] as Exchange;
  if (exchange.isTunnel) {
    exchange.settle('upgraded', exchange.failure);
  } else if (isAnswered(this) || (this.writableEnded && exchange.failure !== undefined)) {
    // From Node 24 on, an answer that closes its connection is called finished a moment after that has closed.
    exchange.settle(exchange.failure === undefined ? 'completed' : 'failed', exchange.failure);
  } else if (exchange.outcome === undefined) {
    exchange.settle('client-closed', new ClientClosedError({ upstream: exchange.upstream }));
  }
  exchange.response?.discard();
  exchange.inFlight?.abandon();
}

import { isOver } from '../exchange/answers.js';
import { distrustBehind } from '../exchange/distrust.js';
import { ClientClosedError, NoTargetError } from '../exchange/errors.js';
import type { Around, Exchange, Send } from '../exchange/exchange.js';
import { isUpstream } from '../exchange/is-upstream.js';
import { hasTurn, onTurn } from '../exchange/queued-answers.js';
import { comeBack, stepBack } from '../exchange/step-back.js';
import { asResponse, type UpstreamResponse } from '../exchange/upstream-response.js';
import { inspect } from '../options.js';
import { lent } from '../promises.js';
import { connectionsTo } from './connections.js';
import { OutgoingRequest } from './request.js';
import { RequestBody } from './request-body.js';
import type { TransportSettings } from './settings.js';
import { Call, Try } from './try.js';
import { isToCome, UploadStart } from './upload-start.js';
import { mayComeWhole } from './whole-upload.js';
import { WireResponse } from './wire-response.js';

/**
 * Sends the exchange through the wrappers that pieces have put round the call. What `once` does stands for
 * one try; usually that is the request as it is. What the outermost wrapper gives may be no response: `editThen()` looks.
 */
export function send(
  exchange: Exchange,
  settings: TransportSettings,
  once?: Send,
): Promise<unknown> {
  exchange.transport = settings;
  if (hasTurn(exchange.res)) return sendInTurn(exchange, settings, once);
  // RFC 9112, 9.3.2: of what a client sends without waiting for answers, only safe requests could be sent at
  // the same time. And all connections to an upstream could then be had by one client for one of its own.
  stepBack(exchange);
  return new Promise((resolve) => onTurn(exchange.res, () => resolve(undefined))).then(() => {
    comeBack(exchange);
    return sendInTurn(exchange, settings, once);
  });
}

function sendInTurn(
  exchange: Exchange,
  settings: TransportSettings,
  once: Send | undefined,
): Promise<unknown> {
  const { wrappers } = exchange;
  const innermost = wrappers.length - 1;
  if (innermost < 0) return once === undefined ? sendOnce(exchange, settings) : once();
  let call: Send = () => lent(once === undefined ? sendOnce(exchange, settings) : once());
  for (let i = innermost; i > 0; i--) call = wrapped(wrappers[i] as Around, exchange, call);
  return run(wrappers[0] as Around, exchange, call);
}

function wrapped(wrapper: Around, exchange: Exchange, inner: Send): Send {
  return () => lent(run(wrapper, exchange, inner).then(asResponse));
}

/** A wrapper that throws at once rejects like one that throws later. */
function run(wrapper: Around, exchange: Exchange, inner: Send): Promise<unknown> {
  try {
    return Promise.resolve(wrapper(exchange, inner));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** One try: resolves at the head of the response. */
function sendOnce(exchange: Exchange, settings: TransportSettings): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    const call = new Call(exchange, settings, resolve, reject);
    // What came in one packet with its head is there in a moment, and cheaper to send then.
    if (mayComeWhole(exchange.req)) {
      // To whoever listens already, it would go by until then.
      if (exchange.req.readableFlowing) exchange.req.pause();
      process.nextTick(begin, call);
    } else begin(call);
  });
}

function begin(call: Call): void {
  const { exchange, settings } = call;
  try {
    const { upstream, refusal } = exchange;
    if (isOver(exchange)) throw new ClientClosedError({ upstream });
    if (refusal !== undefined && refusal.upstream === upstream) throw refusal;
    if (upstream === undefined) {
      throw new NoTargetError(
        'proxyPass: nothing says where to send the request: ' +
          'give proxyPass() a target, or place loadBalancer() before it',
      );
    }
    if (!isUpstream(upstream)) {
      throw new TypeError(
        `exchange.upstream must be an Upstream, such as new Upstream(url), received ${inspect(upstream)}`,
      );
    }
    const request = new OutgoingRequest(exchange, upstream, settings);
    const connection = upstream.settings ?? settings.connection;
    const connections = connectionsTo(upstream, connection);
    const isStream = request.body instanceof RequestBody;
    if (isStream && isToCome(exchange.req) && !connections.sendsHeadsAlone) {
      // By then, those that are there now may have been closed.
      const go = (): void =>
        new WireResponse(new Try(call, request, connectionsTo(upstream, connection))).dispatch();
      new UploadStart(exchange, settings.bodyTimeoutMs, go, call.reject);
    } else new WireResponse(new Try(call, request, connections)).dispatch();
  } catch (error) {
    // Before whoever waits hears of it, the parser may have come to the next request.
    distrustBehind(error, exchange.req);
    call.reject(error);
  }
}

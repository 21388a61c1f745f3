import type { IncomingMessage, ServerResponse } from 'node:http';
import { NoTargetError } from '../exchange/errors.js';
import { type Exchange, exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { refuseForProxy } from '../exchange/for-proxy.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { type Callback, flag, inspect, known, refuseRequest } from '../options.js';
import { alreadyAnswered, deliver, editThen, fail } from '../transport/deliver.js';
import { countForwards } from '../transport/max-forwards.js';
import { refuseForeign } from '../transport/other-proxies.js';
import { probe } from '../transport/probe.js';
import { endBehindUpgrade, guardRequest } from '../transport/request-guard.js';
import { makeRoom } from '../transport/room-for-fields.js';
import { warnOfRuntime } from '../transport/runtime.js';
import { send } from '../transport/send.js';
import {
  TRANSPORT_OPTIONS,
  type TransportOptions,
  transportSettings,
} from '../transport/settings.js';
import { isPool } from '../upstreams/is-pool.js';
import type { UpstreamPool } from '../upstreams/pool.js';
import { Targets } from '../upstreams/targets.js';
import { Upstream } from '../upstreams/upstream.js';

/** Names a target for one request. */
export type TargetFunction = Callback<[req: IncomingMessage, res: ServerResponse], string | URL>;

/** Where requests go: a URL, a pool, or a function that decides. */
export type Target = string | URL | UpstreamPool | TargetFunction;

/** Options for {@link proxyPass}. */
export interface ProxyPassOptions extends TransportOptions {
  /**
   * Puts the response on the exchange and calls `next()` instead of sending it. `sendResponse()` ends
   * such a chain.
   *
   * @default false
   */
  readonly hold?: boolean | undefined;
}

/** A {@link proxyPass} in place. */
export interface ProxyPass extends Handler {
  /** Closes the connections to its target. A pool that was given is not its own to close. */
  close(): Promise<void>;
}

/**
 * Sends the request and relays the response: the end of the chain. Without a target it goes where
 * `exchange.upstream` says, which `loadBalancer()` or your own middleware sets.
 *
 * @example
 * app.use('/api', proxyPass('http://localhost:3000'));
 * app.use('/old', proxyPass('https://example.org/base', { host: 'client', headersTimeoutMs: 5_000 }));
 *
 * @throws TypeError or RangeError when target or an option is not what it should be.
 */
export function proxyPass(target?: Target, options?: ProxyPassOptions): ProxyPass;
export function proxyPass(options: ProxyPassOptions): ProxyPass;
export function proxyPass(first?: Target | ProxyPassOptions, second?: ProxyPassOptions): ProxyPass {
  refuseRequest('proxyPass', first);
  const target = isTarget(first) ? first : undefined;
  if (second !== undefined && first !== undefined && target === undefined) {
    throw new TypeError(
      `proxyPass: target must be a URL, a pool or a function, received ${inspect(first)}`,
    );
  }
  const given = second === undefined && target === undefined ? first : second;
  const options = given === undefined ? {} : (given as ProxyPassOptions);
  if (options !== null) refuseForeign('proxyPass', options);
  const { hold = false, ...transport } = known('proxyPass', options, [
    'hold',
    ...TRANSPORT_OPTIONS,
  ]);
  flag('proxyPass: hold', hold);
  const settings = transportSettings('proxyPass', transport);
  const route = routeTo(target);
  const done = hold ? holdResponse : deliver;
  warnOfRuntime();

  const go = (exchange: Exchange, next: Next | undefined): void => {
    send(exchange, settings).then(
      (response) => editThen(exchange, response, next, done),
      (error: unknown) => fail(exchange, error, next, { done, resume: () => go(exchange, next) }),
    );
  };
  const handler: Handler = function proxyPassMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    makeRoom(req, res);
    exchange.watch();
    if (alreadyAnswered(exchange, settings, next)) return;
    discardHeld(exchange);
    try {
      guardRequest(req, settings.allowTrace);
      endBehindUpgrade(exchange);
      refuseForProxy(req);
      if (countForwards(exchange)) return;
    } catch (error) {
      return fail(exchange, error, next, { done });
    }
    try {
      route.choose?.(exchange);
    } catch (error) {
      return fail(exchange, error, next, { done, resume: () => go(exchange, next) });
    }
    go(exchange, next);
  };
  return Object.assign(handler, { close: route.close });
}

/** How a target becomes the exchange's upstream, and what there is to close behind it. */
interface Route {
  readonly choose?: (exchange: Exchange) => void;
  readonly close: () => Promise<void>;
}

const nothingToClose = async (): Promise<void> => {};

function routeTo(target: Target | undefined): Route {
  if (target === undefined) return { close: nothingToClose };
  if (typeof target === 'function') return routeByFunction(target);
  if (isPool(target)) {
    target.probeWith(probe);
    return {
      choose: (exchange) => {
        exchange.upstream = target.pick(exchange);
        if (exchange.upstream === undefined) throw target.refusal();
      },
      close: nothingToClose,
    };
  }
  const upstream = new Upstream(target, 'proxyPass: target');
  return {
    choose: (exchange) => goTo(exchange, upstream),
    close: () => upstream.close(),
  };
}

function routeByFunction(target: TargetFunction): Route {
  if (target.length > 2) {
    const name = inspect(target);
    throw new TypeError(
      `proxyPass: target() must take req and res and return a URL, received ${name}; ` +
        'middleware stands before it: app.use(loadBalancer(…), proxyPass())',
    );
  }
  const targets = new Targets();
  return {
    choose: (exchange) => {
      const url = target(exchange.req, exchange.res);
      goTo(exchange, targets.get(url, 'proxyPass: target()'));
    },
    close: () => targets.close(),
  };
}

/** There is no other: retries must not take what is for this one to the pool of a balancer before. */
function goTo(exchange: Exchange, upstream: Upstream): void {
  if (exchange.pool !== undefined) exchange.lease(undefined);
  exchange.pool = undefined;
  exchange.upstream = upstream;
}

function isTarget(value: unknown): value is Target {
  return (
    typeof value === 'string' ||
    typeof value === 'function' ||
    value instanceof URL ||
    isPool(value)
  );
}

/** A pipeline before this one held a response and let the request go on: nobody wants it now. */
function discardHeld(exchange: Exchange): void {
  exchange.response?.discard();
  exchange.response = undefined;
  exchange.failure = undefined;
  exchange.restartEdits();
}

function holdResponse(
  exchange: Exchange,
  response: UpstreamResponse,
  next: Next | undefined,
): void {
  if (!exchange.open) {
    response.discard();
  } else if (next === undefined) {
    response.discard();
    fail(
      exchange,
      new NoTargetError('proxyPass: hold needs middleware after it, such as sendResponse()'),
      next,
    );
  } else {
    exchange.response = response;
    exchange.keepRoute();
    next();
  }
}

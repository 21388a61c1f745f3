import type { IncomingMessage } from 'node:http';
import { type Around, exchangeOf, type Handler } from '../exchange/exchange.js';
import { type Callback, callable, inspect, known, milliseconds, wholeNumber } from '../options.js';
import type { GateSettings } from '../upstreams/gate.js';
import { type Gates, KeyedGates, oneGate, UpstreamGates } from '../upstreams/gates.js';
import { Slots } from '../upstreams/slots.js';

/** Who may wait for a place, and how long. */
export interface ConcurrencyQueueOptions {
  /**
   * Requests that may wait at each limit. Those beyond get 503 at once.
   *
   * @default 0
   */
  readonly size?: number | undefined;
  /**
   * How long one waits before it gets 503.
   *
   * @default 1_000
   */
  readonly timeoutMs?: number | undefined;
}

/** Options for {@link concurrencyLimit}. */
export interface ConcurrencyLimitOptions {
  /** How many requests may be in flight at once. Required. */
  readonly limit: number;
  /**
   * What has a limit of its own: each upstream, the route as a whole, or each key that a function makes
   * of the request.
   *
   * @default 'upstream'
   */
  readonly per?: 'upstream' | 'route' | Callback<[req: IncomingMessage], string> | undefined;
  /** Who may wait for a place, and how long. */
  readonly queue?: ConcurrencyQueueOptions | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/** A {@link concurrencyLimit} in place. */
export interface ConcurrencyLimit extends Handler {
  /** Requests that hold a place now, at all of its limits together. */
  readonly inFlight: number;
  /** Requests that wait for one. */
  readonly waiting: number;
}

/**
 * Lets a number of requests through at a time. Some more wait in order; the rest get 503 at once, with
 * `Retry-After`. Place it after `loadBalancer()` and `retry()`, and before `circuitBreaker()`.
 *
 * @example
 * app.use(loadBalancer({ upstreams }), concurrencyLimit({ limit: 100, queue: { size: 50 } }), proxyPass());
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function concurrencyLimit(options: ConcurrencyLimitOptions): ConcurrencyLimit {
  const {
    limit,
    per = 'upstream',
    queue = {},
    now = () => performance.now(),
  } = known('concurrencyLimit', options, ['limit', 'per', 'queue', 'now']);
  const { size = 0, timeoutMs = 1_000 } = known('concurrencyLimit: queue', queue, [
    'size',
    'timeoutMs',
  ]);
  wholeNumber('concurrencyLimit: limit', limit, 1);
  wholeNumber('concurrencyLimit: queue.size', size);
  milliseconds('concurrencyLimit: queue.timeoutMs', timeoutMs);
  callable('concurrencyLimit: now', now);
  const total = { inFlight: 0, waiting: 0 };
  const slots = new Slots(gatesFor(per, { limit, size, timeoutMs, now, total }));
  const sendWithin: Around = (exchange, send) => slots.send(exchange, send);
  const sendOn: Around = (exchange, send) => slots.sendOn(exchange, send);

  const handler: Handler = function concurrencyLimitMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.around(sendWithin);
    if (per === 'upstream') exchange.aroundEach(sendOn);
    next?.();
  };
  return Object.defineProperties(handler, {
    inFlight: { get: () => total.inFlight },
    waiting: { get: () => total.waiting },
  }) as ConcurrencyLimit;
}

function gatesFor(per: ConcurrencyLimitOptions['per'], settings: GateSettings): Gates {
  if (per === 'upstream') return new UpstreamGates(settings);
  if (per === 'route') return oneGate(settings);
  if (typeof per === 'function') return new KeyedGates(settings, per, 'concurrencyLimit: per()');
  throw new TypeError(
    `concurrencyLimit: per must be "upstream", "route" or a function, received ${inspect(per)}`,
  );
}

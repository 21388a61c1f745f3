import type { IncomingMessage } from 'node:http';
import {
  type Around,
  type Exchange,
  exchangeOf,
  type Handler,
  type Send,
} from '../exchange/exchange.js';
import type { ResponseInit, UpstreamResponse } from '../exchange/upstream-response.js';
import { type Callback, callable, inspect, known, milliseconds, wholeNumber } from '../options.js';
import type { BreakerGauge } from '../upstreams/breaker-metrics.js';
import { type Circuit, circuitOpenError, REFUSED } from '../upstreams/circuit.js';
import { type CircuitListener, Circuits } from '../upstreams/circuits.js';
import { type FallbackHandler, fallbackOption } from '../upstreams/fallback-option.js';
import { type CallResult, Judge } from '../upstreams/judge.js';
import type { Upstream } from '../upstreams/upstream.js';

/** Options for {@link circuitBreaker}. */
export interface CircuitBreakerOptions {
  /**
   * Failures, in per cent of the calls within `windowMs`, beyond which the circuit opens. 100 never opens it.
   *
   * @default 50
   */
  readonly errorThresholdPercentage?: number | undefined;
  /**
   * Calls within `windowMs` without which it does not open.
   *
   * @default 10
   */
  readonly volumeThreshold?: number | undefined;
  /**
   * How long a call counts. The window moves on in ten steps.
   *
   * @default 10_000
   */
  readonly windowMs?: number | undefined;
  /**
   * How long it is open before it lets a probe pass, and how long one that says nothing keeps others from it.
   *
   * @default 10_000
   */
  readonly resetTimeoutMs?: number | undefined;
  /**
   * What has a circuit of its own: each upstream, the route as a whole, or each key that a function makes
   * of a request.
   *
   * @default 'upstream'
   */
  readonly per?: 'upstream' | 'route' | Callback<[req: IncomingMessage], string> | undefined;
  /** Whether a call has failed. By default, answers from 500 on have, and all errors that are the upstream's. */
  readonly isFailure?: ((result: CallResult) => boolean) | undefined;
  /**
   * What takes the place of an error: a response, or a function that gives one or another upstream, as
   * `fallback()` takes them. It is asked about whatever goes wrong, an open circuit included.
   */
  readonly fallback?: FallbackHandler | ResponseInit | undefined;
  /** Is told whenever a circuit opens, lets a probe pass, or closes. */
  readonly onStateChange?: CircuitListener | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/** A {@link circuitBreaker} in place. */
export interface CircuitBreaker extends Handler, BreakerGauge {
  /** Closes the connections to upstreams that its fallback named by URL. */
  close(): Promise<void>;
}

/** What a breaker goes by on the request path. */
interface Policy {
  readonly circuits: Circuits;
  /** `undefined` for circuits of upstreams. */
  readonly keyOf: ((req: IncomingMessage) => string) | undefined;
  readonly judge: Judge;
}

/**
 * Leaves an upstream alone that fails: once more than `errorThresholdPercentage` of the calls have failed,
 * requests go to another upstream, or are answered with 503 at once. After `resetTimeoutMs` one request is
 * let through, and shows whether it is well again. Place it after `loadBalancer()`; after `retry()`, each
 * try counts by itself.
 *
 * @example
 * app.use(loadBalancer({ upstreams }), retry(), circuitBreaker(), proxyPass());
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function circuitBreaker(options: CircuitBreakerOptions = {}): CircuitBreaker {
  const policy = policyOf(options);
  const { fallback } = options;
  const instead =
    fallback === undefined ? undefined : fallbackOption('circuitBreaker: fallback', fallback);
  const guard: Around = (exchange, send) => sendGuarded(exchange, send, policy);

  const handler: Handler = function circuitBreakerMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.around(guard);
    if (instead !== undefined) exchange.onFailure(instead.handler);
    next?.();
  };
  Object.defineProperties(handler, {
    circuits: { get: () => policy.circuits.counts },
    transitions: { get: () => policy.circuits.transitions },
  });
  return Object.assign(handler as CircuitBreaker, { close: async () => instead?.close() });
}

function policyOf(options: CircuitBreakerOptions): Policy {
  const {
    errorThresholdPercentage = 50,
    volumeThreshold = 10,
    windowMs = 10_000,
    resetTimeoutMs = 10_000,
    per = 'upstream',
    isFailure,
    onStateChange,
    now = () => performance.now(),
  } = known('circuitBreaker', options, [
    'errorThresholdPercentage',
    'volumeThreshold',
    'windowMs',
    'resetTimeoutMs',
    'per',
    'isFailure',
    'fallback',
    'onStateChange',
    'now',
  ]);
  percentage('circuitBreaker: errorThresholdPercentage', errorThresholdPercentage);
  wholeNumber('circuitBreaker: volumeThreshold', volumeThreshold, 1);
  milliseconds('circuitBreaker: windowMs', windowMs);
  milliseconds('circuitBreaker: resetTimeoutMs', resetTimeoutMs);
  if (per !== 'upstream' && per !== 'route' && typeof per !== 'function') {
    const wanted = `"upstream", "route" or a function, received ${inspect(per)}`;
    throw new TypeError(`circuitBreaker: per must be ${wanted}`);
  }
  if (isFailure !== undefined) callable('circuitBreaker: isFailure', isFailure);
  if (onStateChange !== undefined) callable('circuitBreaker: onStateChange', onStateChange);
  callable('circuitBreaker: now', now);
  const settings = { errorThresholdPercentage, volumeThreshold, windowMs, resetTimeoutMs, now };
  return {
    circuits: new Circuits(settings, onStateChange),
    keyOf: per === 'upstream' ? undefined : per === 'route' ? wholeRoute : per,
    judge: new Judge(isFailure),
  };
}

/** One key for all: that the breaker is mounted on a route makes the difference. */
function wholeRoute(): string {
  return 'route';
}

function percentage(path: string, value: number): void {
  if (typeof value !== 'number' || !(value >= 0 && value <= 100)) {
    throw new RangeError(`${path} must be a number from 0 to 100, received ${inspect(value)}`);
  }
}

function sendGuarded(exchange: Exchange, send: Send, policy: Policy): Promise<UpstreamResponse> {
  let circuit = circuitOf(exchange, policy);
  if (circuit === undefined) return send();
  let turn = circuit.admit();
  for (const refused: Upstream[] = []; turn === REFUSED; turn = circuit.admit()) {
    circuit = otherCircuit(exchange, circuit, refused, policy);
  }
  if (exchange.refusal !== undefined) takeBack(exchange, circuit);
  if (circuit.state !== 'closed') freeAtTheEnd(exchange, circuit, turn);
  const admitted = circuit;
  const { judge } = policy;
  const pending = send();
  // The circuit hears of it before whoever waits for the call does.
  pending.then(
    (response) => admitted.settle(turn, judge.ofResponse(response)),
    (error: unknown) => admitted.settle(turn, judge.ofError(error)),
  );
  return pending;
}

/** What was open when the balancer looked lets a call pass now, unless it was another breaker's circuit. */
function takeBack(exchange: Exchange, { upstream, state }: Circuit): void {
  if (upstream === undefined || (state === 'closed' && !upstream.usable)) return;
  exchange.refusal = undefined;
  exchange.lease(exchange.upstream);
}

function circuitOf(exchange: Exchange, { circuits, keyOf }: Policy): Circuit | undefined {
  // A fallback has sent it elsewhere, away from what the circuit of a route or key is about.
  if (keyOf !== undefined && exchange.degraded !== undefined) return undefined;
  if (keyOf === undefined) return exchange.upstream && circuits.ofUpstream(exchange.upstream);
  const key: unknown = keyOf(exchange.req);
  if (typeof key === 'string') return circuits.ofKey(key);
  throw new TypeError(`circuitBreaker: per() must return a string, received ${inspect(key)}`);
}

/**
 * The upstream has been put out since it was chosen, or another request is its probe: the pool may have
 * another one.
 *
 * @throws CircuitOpenError when there is none.
 */
function otherCircuit(
  exchange: Exchange,
  circuit: Circuit,
  refused: Upstream[],
  { circuits }: Policy,
): Circuit {
  const { pool } = exchange;
  const { upstream } = circuit;
  if (upstream === undefined || !pool?.owns(upstream)) {
    throw circuitOpenError(circuit.waitMs, upstream);
  }
  refused.push(upstream);
  const tried = exchange.attempts.map((attempt) => attempt.upstream);
  const other = pool.pick(exchange, [...refused, ...tried]);
  if (other === undefined || refused.includes(other)) throw pool.refusal();
  exchange.upstream = other;
  return circuits.ofUpstream(other);
}

/** Whatever becomes of a probe, an exchange that has ended does not keep others from being one. */
function freeAtTheEnd(exchange: Exchange, circuit: Circuit, turn: number): void {
  exchange.onOutcome(() => circuit.settle(turn, undefined));
}

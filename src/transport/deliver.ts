import { STATUS_CODES } from 'node:http';
import { dropBodyFields } from '../exchange/body-fields.js';
import { distrustBehind } from '../exchange/distrust.js';
import { isProxyError, ModifyResponseError } from '../exchange/errors.js';
import type { Exchange, Next } from '../exchange/exchange.js';
import { asResponse, NoBody, type UpstreamResponse } from '../exchange/upstream-response.js';
import { inspect } from '../options.js';
import { endFailed, sendAnswer, setErrorFields, unsent } from './answer.js';
import { breakOff } from './break-off.js';
import { degrade } from './degrade.js';
import { lingerOnUpload } from './linger.js';
import { log, masked } from './log.js';
import type { TransportSettings } from './settings.js';
import { bodyTimeoutOf } from './slow-reader.js';

/** What becomes of a response once its edits have run. */
export type Done = (exchange: Exchange, response: UpstreamResponse, next: Next | undefined) => void;

/** Runs the edits of a response, if it is one, and then hands it to `done`; what goes wrong goes to `next`. */
export function editThen(
  exchange: Exchange,
  given: unknown,
  next: Next | undefined,
  done: Done,
): void {
  let response: UpstreamResponse;
  try {
    response = asResponse(given);
  } catch (error) {
    return fail(exchange, error, next);
  }
  let pending: void | Promise<void>;
  try {
    pending = exchange.edit(response);
  } catch (error) {
    return spoil(exchange, response, error, next, done);
  }
  if (pending === undefined) return done(exchange, response, next);
  pending.then(
    () => done(exchange, response, next),
    (error: unknown) => {
      if (error instanceof NoBody) editThen(exchange, response, next, done);
      else spoil(exchange, response, error, next, done);
    },
  );
}

/** Sends a response, unless there is nobody left to send it to. */
export function deliver(
  exchange: Exchange,
  response: UpstreamResponse,
  next: Next | undefined,
): void {
  if (!exchange.open || exchange.res.headersSent) {
    response.discard();
    giveWay(exchange, next);
    return;
  }
  try {
    sendAnswer(exchange, response);
  } catch (error) {
    response.discard();
    fail(exchange, error, next);
  }
}

/**
 * Whether there is nothing to be done any more: nobody to answer, or somebody who has begun to. An answer of
 * somebody else's is looked after; one that is under way by the exchange's own call is in good hands.
 */
export function alreadyAnswered(
  exchange: Exchange,
  settings: TransportSettings,
  next: Next | undefined,
): boolean {
  if (exchange.open && !exchange.res.headersSent) return false;
  if (exchange.inFlight === undefined) {
    exchange.transport = settings;
    giveWay(exchange, next);
  }
  return true;
}

/**
 * Makes way for an answer that somebody else has begun, and will end. One that nobody has ended in the time
 * that a body may stand still is broken off: a head that was only flushed would hang for ever.
 */
function giveWay(exchange: Exchange, next: Next | undefined): void {
  const { res } = exchange;
  if (!exchange.open || res.writableEnded) return;
  if (log.enabled) {
    log('%s %s left alone: another answer has begun', exchange.method, masked(exchange.path));
  }
  const timer = setTimeout(() => {
    if (res.writableEnded) return;
    fail(exchange, new Error('The response cannot be sent: another answer has begun'), next);
  }, bodyTimeoutOf(exchange));
  timer.unref();
  exchange.onOutcome(() => clearTimeout(timer));
}

/** An edit failed: the response is released, and the error says whose fault it was. */
function spoil(
  exchange: Exchange,
  response: UpstreamResponse,
  cause: unknown,
  next: Next | undefined,
  done: Done,
): void {
  response.discard();
  const { upstream } = response;
  const error = isProxyError(cause) ? cause : new ModifyResponseError({ cause, upstream });
  fail(exchange, error, next, { done });
}

/** How an exchange can go on when a fallback makes up for an error. */
export interface Recovery {
  /** Sends the request to the exchange's new upstream. Without it, only a response can help. */
  readonly resume?: (() => void) | undefined;
  /** What becomes of a response in place of the error; it is sent when this is not given. */
  readonly done?: Done | undefined;
}

/**
 * Ends an exchange with an error, unless a fallback makes up for it: `next(error)`, once, and only while
 * nothing has been sent. After that the connection is broken; a client that has left is told nothing.
 */
export function fail(
  exchange: Exchange,
  error: unknown,
  next: Next | undefined,
  { resume, done = deliver }: Recovery = {},
): void {
  const { res } = exchange;
  exchange.watch();
  if (!exchange.open) return;
  if (passesForSuccess(error)) error = new Error(`${inspect(error)} was thrown`, { cause: error });
  if (log.enabled) log('%s %s failed: %O', exchange.method, masked(exchange.path), error);
  const known = isProxyError(error) ? error : undefined;
  if (known?.code === 'ERR_PROXY_CLIENT_CLOSED') return;
  // RFC 9112, 9.3: a server that does not trust what follows on a connection closes it, whoever answers.
  if (distrustBehind(error, exchange.req)) res.shouldKeepAlive = false;
  if (known === undefined || res.headersSent || !exchange.hasFallback) {
    return refuse(exchange, error, next);
  }
  void degrade(exchange, known, {
    respond: (response) => editThen(exchange, response, next, done),
    resume,
    giveUp: () => refuse(exchange, error, next),
  });
}

/** What Express and Connect do not take for an error: they would go on with what comes next, or the next route. */
function passesForSuccess(error: unknown): boolean {
  return !error || error === 'route' || error === 'router';
}

function refuse(exchange: Exchange, error: unknown, next: Next | undefined): void {
  const { req, res } = exchange;
  if (!exchange.open) return;
  exchange.failure = error;
  exchange.keepRoute();
  if (res.headersSent) {
    exchange.settle('failed', error);
    breakOff(res);
    return;
  }
  const known = isProxyError(error) ? error : undefined;
  lingerOnUpload(req, res);
  try {
    if (next !== undefined) next(error);
    else answerPlainly(exchange, known?.status ?? 500, known?.headers);
    if (res.writableEnded) unsent.add(exchange);
  } catch (thrown) {
    // Nobody is above to catch it: a head that cannot be written must not end the process.
    endFailed(exchange, thrown);
  }
}

/** What a bare `node:http` server, which has no error middleware, lets its client know. */
function answerPlainly(
  exchange: Exchange,
  status: number,
  headers: Readonly<Record<string, string>> | undefined,
): void {
  const { res } = exchange;
  dropBodyFields(res);
  setErrorFields(res, headers);
  const text = `${STATUS_CODES[status] ?? status}\n`;
  res.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': text.length,
  });
  res.end(text);
}

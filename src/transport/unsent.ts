import { AsyncResource } from 'node:async_hooks';
import { setImmediate, setTimeout } from 'node:timers';
import { isGone, isHttp2 } from '../exchange/answers.js';
import type { Exchange } from '../exchange/exchange.js';
import { limitSlowReader } from './slow-reader.js';

/** When an answer that did not leave at once is looked at again. Almost all have left by then. */
const LOOK_AGAIN_MS = 10;

/** Kept from the start: a test that puts its own clock in place of timers must not keep answers from being looked at. */
const later = setTimeout;
const afterIo = setImmediate;

/** A class and no literal: see decision 92. */
class Ended {
  readonly exchange: Exchange;
  readonly context: AsyncResource;

  constructor(exchange: Exchange, context: AsyncResource) {
    this.exchange = exchange;
    this.context = context;
  }
}

/**
 * Answers that have been ended and were not out at once, as those of TLS and HTTP/2 never are. They share one timer;
 * only those whose client still has not taken them when it is up get a limit of their own.
 */
export class Unsent {
  /** Emptied, and not made anew: see decision 92. */
  readonly #ended: Ended[] = [];

  /** Takes an answer that has been ended; `context` is that of its request. */
  add(exchange: Exchange, context?: AsyncResource): void {
    if (isOut(exchange)) return;
    if (this.#ended.length === 0) later(lookAgain, LOOK_AGAIN_MS, this).unref();
    this.#ended.push(new Ended(exchange, context ?? new AsyncResource('HeadraceUnsent')));
  }

  limitRest(): void {
    for (const { exchange, context } of this.#ended.splice(0)) {
      if (!isOut(exchange)) context.runInAsyncScope(limitSlowReader, undefined, exchange);
    }
  }
}

/** Whether nothing of an answer waits for its client. compression() may still be about to end one. */
function isOut({ res }: Exchange): boolean {
  if (isHttp2(res)) return isGone(res) || res.stream.writableFinished;
  // Not `writableFinished`: from Node 24 on, that is true a moment later only.
  return (res.writableEnded && res.writableLength === 0) || isGone(res);
}

/** When what has been written meanwhile is known: on a busy machine, timers run before that. */
function lookAgain(unsent: Unsent): void {
  afterIo(limitRest, unsent);
}

function limitRest(unsent: Unsent): void {
  unsent.limitRest();
}

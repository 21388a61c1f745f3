import { isHttp2 } from '../exchange/answers.js';
import { BodyTimeoutError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { hasTurn } from '../exchange/queued-answers.js';
import { breakOff } from './break-off.js';

/** Where nothing was sent that has a limit of its own. */
const BODY_TIMEOUT_MS = 60_000;

/** How long the body of an answer may stand still, in milliseconds. */
export function bodyTimeoutOf({ transport }: Exchange): number {
  return transport?.bodyTimeoutMs ?? BODY_TIMEOUT_MS;
}

/**
 * Breaks off an answer whose client takes nothing for longer than a body may stand still. It is looked at
 * from time to time, and found out after once to twice as long.
 */
export function limitSlowReader(exchange: Exchange): void {
  const { res } = exchange;
  const to = isHttp2(res) ? res.stream : res;
  let moved = false;
  let left = to.writableLength;
  let wasWaiting = false;
  const timer = setInterval(() => {
    // Behind the end, nothing tells of what the client takes but what is left.
    if (to.writableLength < left) moved = true;
    left = to.writableLength;
    const isUnsent = to.writableNeedDrain || (to.writableEnded && !to.writableFinished);
    // Before its turn it waits for the answers before it, and not for its client.
    const isWaiting = isUnsent && !moved && hasTurn(res);
    moved = false;
    if (isWaiting && wasWaiting) giveUp(exchange);
    wasWaiting = isWaiting;
  }, bodyTimeoutOf(exchange));
  timer.unref();
  to.on('drain', () => {
    moved = true;
  });
  res.once('close', () => clearInterval(timer));
}

function giveUp(exchange: Exchange): void {
  const error = new BodyTimeoutError({ upstream: exchange.upstream });
  exchange.settle('failed', error);
  breakOff(exchange.res);
}

import type { ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { FailureHandler } from '../exchange/fallback.js';
import { HeaderList } from '../exchange/header-list.js';
import { isUpstream } from '../exchange/is-upstream.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import { inspect } from '../options.js';
import type { Upstream } from '../upstreams/upstream.js';
import { warnOfThrown } from '../warnings.js';
import { log } from './log.js';

/** What an exchange can go on with after an error. */
export interface Continuation {
  /** Sends a response in place of the error. */
  readonly respond: (response: UpstreamResponse) => void;
  /** Goes on with the exchange's new upstream; `undefined` where it is too late for that. */
  readonly resume: (() => void) | undefined;
  /** Nobody had anything: the error stands. */
  readonly giveUp: () => void;
}

/** Asks the fallbacks of an exchange, one after the other, for something in place of an error. */
export async function degrade(
  exchange: Exchange,
  error: ProxyError,
  { respond, resume, giveUp }: Continuation,
): Promise<void> {
  for (;;) {
    const handler = exchange.takeFallback();
    if (handler === undefined) return giveUp();
    const instead = await ask(handler, error, exchange);
    if (instead === undefined) continue;
    if (!isUpstream(instead)) {
      exchange.degrade(error, undefined);
      if (!REFUSALS.has(instead.status)) dropRetryAfter(exchange, error);
      return respond(instead);
    }
    if (resume === undefined || !exchange.canSendAgain) {
      log('the request cannot be sent to %s any more', instead);
    } else {
      exchange.degrade(error, instead);
      return resume();
    }
  }
}

/** Answers that an error's `Retry-After` is right for as well. */
const REFUSALS: ReadonlySet<number> = new Set([429, 503]);

/** `rateLimiter()` sets it ahead of its error: a client that is served is not to wait. */
function dropRetryAfter({ res }: Exchange, { headers }: ProxyError): void {
  const asked = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === FIELD);
  if (asked === undefined || res.headersSent) return;
  // Another value is not the error's.
  if (String(res.getHeader(FIELD)) === asked[1]) res.removeHeader(FIELD);
}

const FIELD = 'retry-after';

/** A fallback that fails leaves things as they are: the client hears of the first error. */
async function ask(
  handler: FailureHandler,
  error: ProxyError,
  exchange: Exchange,
): Promise<UpstreamResponse | Upstream | undefined> {
  try {
    const instead = await handler(error, exchange.req, exchange);
    if (instead === undefined) return undefined;
    if (typeof instead !== 'object' || instead === null) {
      const wanted = 'a response, an upstream or a pool';
      throw new TypeError(`A fallback must return ${wanted}, received ${inspect(instead)}`);
    }
    if ('pick' in instead) return instead.pick(exchange);
    if (isUpstream(instead)) return instead;
    return 'relayTo' in instead ? ownOf(instead) : new UpstreamResponse(instead);
  } catch (cause) {
    warnOfThrown('A fallback threw', cause, 'HEADRACE_FALLBACK');
    return undefined;
  }
}

/**
 * A response for this client alone. A fallback may give the same one each time, and edits, or a HEAD,
 * would change it for the clients to come. Only a stream, or what comes over a wire, can be sent once.
 */
function ownOf(response: UpstreamResponse): UpstreamResponse {
  const { status, statusText, upstream, content } = response;
  if (response.constructor !== UpstreamResponse) return response;
  if (content.at === 'stream' || content.at === 'taken' || content.at === 'nowhere') {
    return response;
  }
  const own = new UpstreamResponse({ status, statusText, upstream });
  if (content.at !== 'wire') own.lendBody(content.bytes);
  own.headers = HeaderList.from(response.headers);
  own.hasBody = response.hasBody;
  own.sentHost = response.sentHost;
  own.maxBodyBytes = response.maxBodyBytes;
  return own;
}

import {
  BadRequestError,
  BadResponseError,
  BodyTimeoutError,
  ConnectError,
  ConnectTimeoutError,
  HeadersTimeoutError,
  isProxyError,
  NoUpstreamError,
  type ProxyError,
  type ProxyErrorOptions,
  ResetError,
} from '../exchange/errors.js';
import type { Upstream } from '../upstreams/upstream.js';

/** How far a try had come when it failed. */
export type Stage = 'connecting' | 'sent';

/** The {@link ProxyError} for what undici, Node or the request's own body reports. */
export function failure(cause: unknown, stage: Stage, upstream: Upstream): ProxyError {
  if (isProxyError(cause)) return cause;
  const options: ProxyErrorOptions = { cause, upstream };
  const {
    code,
    name,
    message = '',
  } = (cause ?? {}) as Partial<Record<'code' | 'name', unknown>> & {
    message?: string;
  };
  switch (code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
      return new ConnectTimeoutError(options);
    case 'UND_ERR_HEADERS_TIMEOUT':
      return new HeadersTimeoutError(options);
    case 'UND_ERR_BODY_TIMEOUT':
      return new BodyTimeoutError(options);
    case 'UND_ERR_HEADERS_OVERFLOW':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return new BadResponseError(options);
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
      return new NoUpstreamError(options);
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
      return new BadRequestError('The request cannot be forwarded', 400, options);
    default:
  }
  if (stage === 'connecting') return new ConnectError(options);
  // undici tells bad framing from a lost connection by names and words, and only at times by a code.
  const isParserError = name === 'HTTPParserError' || String(code).startsWith('HPE_');
  if (
    isParserError ? !message.includes('Invalid EOF state') : /^bad (response|upgrade)/.test(message)
  ) {
    return new BadResponseError(options);
  }
  return new ResetError(options);
}

/** What an answer is refused for that cannot be passed on. */
export function unfit(reason: string, upstream: Upstream): BadResponseError {
  return new BadResponseError({ cause: new Error(reason), upstream });
}

/** What is known of a failed try, as far as it decides whether it may go again. */
export interface FailedTry {
  /** Whether anything of the request may have been sent. */
  readonly sent: boolean;
  /** Whether the connection had carried requests before. */
  readonly reused: boolean;
  /** Whether anything of a response has come. */
  readonly answered: boolean;
  /** Whether the connection is there, and it was not connecting that failed. */
  readonly isOpen: boolean;
  /** Whether the request does no harm when it is sent twice. */
  readonly replayable: boolean;
}

/**
 * The keep-alive race: an upstream may close an idle connection while our request is on its way to it.
 * What does no harm twice is sent once more, on a connection of its own (RFC 9110, 9.2.2).
 */
export function mayGoAgain({ code }: ProxyError, tried: FailedTry): boolean {
  // What waits for an idle connection, undici fails along with it: it has never been sent.
  if (!tried.sent) {
    return tried.isOpen && (code === 'ERR_PROXY_RESET' || code === 'ERR_PROXY_BAD_RESPONSE');
  }
  return code === 'ERR_PROXY_RESET' && tried.reused && !tried.answered && tried.replayable;
}

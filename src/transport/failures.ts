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

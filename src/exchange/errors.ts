import type { Upstream } from '../upstreams/upstream.js';
import { ProxyErrorCode } from './error-codes.js';

export { ProxyErrorCode };

/** What a {@link ProxyError} is made with. */
export interface ProxyErrorOptions {
  /** What went wrong underneath. Never shown to the client. */
  readonly cause?: unknown;
  /** The upstream the try went to, when one was chosen. Never shown to the client. */
  readonly upstream?: Upstream | undefined;
  /** Fields for the answer, such as `Retry-After`. Express' default error handler sends them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/**
 * The base of everything that goes wrong between client and upstream. It reaches `next(err)` exactly
 * once, and only while nothing has been sent. The message is fit for a client: the upstream's address
 * and its words are in `upstream` and `cause` alone.
 */
export class ProxyError extends Error {
  override readonly name: string = 'ProxyError';
  /** The HTTP status the client should get. Express and Connect read it. */
  readonly status: number;
  /** The same as `status`, for frameworks that read this one. */
  readonly statusCode: number;
  /** `http-errors` convention: messages of proxy errors are not for the page. */
  readonly expose = false as const;
  readonly code: ProxyErrorCode;
  readonly headers: Readonly<Record<string, string>> | undefined;
  readonly upstream: Upstream | undefined;

  constructor(
    code: ProxyErrorCode,
    status: number,
    message: string,
    { cause, upstream, headers }: ProxyErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = status;
    this.statusCode = status;
    this.headers = headers;
    this.upstream = upstream;
    // Not enumerable, so that a logger that spreads the error does not print credentials or sockets.
    Object.defineProperty(this, 'upstream', { enumerable: false });
  }
}

/** 502: refused, unreachable, unresolvable, or the TLS handshake failed. */
export class ConnectError extends ProxyError {
  override readonly name = 'ConnectError';
  declare readonly code: 'ERR_PROXY_CONNECT';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_CONNECT', 502, 'The upstream could not be reached', options);
  }
}

/** 502: the upstream closed or reset the connection before the response was whole. */
export class ResetError extends ProxyError {
  override readonly name = 'ResetError';
  declare readonly code: 'ERR_PROXY_RESET';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_RESET', 502, 'The upstream closed the connection', options);
  }
}

/** 502: what came back is not HTTP, is framed wrongly or passes a limit. */
export class BadResponseError extends ProxyError {
  override readonly name = 'BadResponseError';
  declare readonly code: 'ERR_PROXY_BAD_RESPONSE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_BAD_RESPONSE', 502, 'The upstream sent an invalid response', options);
  }
}

/** 502: an edit of the response threw, or passed its body limit. */
export class ModifyResponseError extends ProxyError {
  override readonly name = 'ModifyResponseError';
  declare readonly code: 'ERR_PROXY_MODIFY_RESPONSE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_MODIFY_RESPONSE', 502, 'The response could not be modified', options);
  }
}

/** 502: the upstream switched to another protocol than was asked for. */
export class UpgradeError extends ProxyError {
  override readonly name = 'UpgradeError';
  declare readonly code: 'ERR_PROXY_UPGRADE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_UPGRADE', 502, 'The upstream switched to an unexpected protocol', options);
  }
}

/** 504: no connection within `connectTimeoutMs`. */
export class ConnectTimeoutError extends ProxyError {
  override readonly name = 'ConnectTimeoutError';
  declare readonly code: 'ERR_PROXY_CONNECT_TIMEOUT';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_CONNECT_TIMEOUT', 504, 'Connecting to the upstream took too long', options);
  }
}

/** 504: no response head within `headersTimeoutMs`. */
export class HeadersTimeoutError extends ProxyError {
  override readonly name = 'HeadersTimeoutError';
  declare readonly code: 'ERR_PROXY_HEADERS_TIMEOUT';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_HEADERS_TIMEOUT', 504, 'The upstream took too long to answer', options);
  }
}

/**
 * 504: a body stood still for `bodyTimeoutMs`. It is 408 instead when the body is the client's own
 * upload, because then the upstream is not to blame.
 */
export class BodyTimeoutError extends ProxyError {
  override readonly name = 'BodyTimeoutError';
  declare readonly code: 'ERR_PROXY_BODY_TIMEOUT';
  constructor(options?: ProxyErrorOptions, status: 504 | 408 = 504) {
    const isUpload = status === 408;
    super(
      'ERR_PROXY_BODY_TIMEOUT',
      status,
      `The body of the ${isUpload ? 'request' : 'response'} stood still too long`,
      // RFC 9110, 15.5.9: whatever comes next would be taken for the rest of the upload.
      isUpload ? { ...options, headers: { ...options?.headers, connection: 'close' } } : options,
    );
  }
}

/** 503: no upstream is configured, or none may be used right now. */
export class NoUpstreamError extends ProxyError {
  override readonly name = 'NoUpstreamError';
  declare readonly code: 'ERR_PROXY_NO_UPSTREAM';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_NO_UPSTREAM', 503, 'No upstream is available', options);
  }
}

/** 503: the circuit breaker is open. Carries `Retry-After`. */
export class CircuitOpenError extends ProxyError {
  override readonly name = 'CircuitOpenError';
  declare readonly code: 'ERR_PROXY_CIRCUIT_OPEN';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_CIRCUIT_OPEN', 503, 'The upstream is being left alone for a while', options);
  }
}

/** 503: a limit and its queue are full, or the wait in it was too long. Carries `Retry-After`. */
export class OverloadedError extends ProxyError {
  override readonly name = 'OverloadedError';
  declare readonly code: 'ERR_PROXY_OVERLOADED';
  constructor(options?: ProxyErrorOptions) {
    // Nobody can know when it would be better: soon.
    const headers = { 'Retry-After': '1' };
    super('ERR_PROXY_OVERLOADED', 503, 'Too many requests are under way', { headers, ...options });
  }
}

/** 429, or the status that was asked for: too many requests of one client. Carries `Retry-After`. */
export class RateLimitedError extends ProxyError {
  override readonly name = 'RateLimitedError';
  declare readonly code: 'ERR_PROXY_RATE_LIMITED';
  constructor(options?: ProxyErrorOptions, status = 429) {
    super('ERR_PROXY_RATE_LIMITED', status, 'Too many requests have come from you', options);
  }
}

/** 503: where requests are counted, nobody answers. */
export class RateLimitStoreError extends ProxyError {
  override readonly name = 'RateLimitStoreError';
  declare readonly code: 'ERR_PROXY_RATE_LIMIT_STORE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_RATE_LIMIT_STORE', 503, 'Requests cannot be counted now', options);
  }
}

/** 413: the request body is larger than `maxBodyBytes`. */
export class BodyTooLargeError extends ProxyError {
  override readonly name = 'BodyTooLargeError';
  declare readonly code: 'ERR_PROXY_BODY_TOO_LARGE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_BODY_TOO_LARGE', 413, 'The request body is too large', options);
  }
}

/**
 * 401: credentials are missing or wrong; which of the two, and why, is in `cause` alone. It is 407 for
 * a request to a forward proxy. Carries the challenge.
 */
export class UnauthorizedError extends ProxyError {
  override readonly name = 'UnauthorizedError';
  declare readonly code: 'ERR_PROXY_UNAUTHORIZED';
  constructor(options?: ProxyErrorOptions, status: 401 | 407 = 401) {
    super('ERR_PROXY_UNAUTHORIZED', status, 'Valid credentials are required', options);
  }
}

/** 503: what would have to say whether the client may pass cannot be asked. It is never a pass. */
export class AuthUnavailableError extends ProxyError {
  override readonly name = 'AuthUnavailableError';
  declare readonly code: 'ERR_PROXY_AUTH_UNAVAILABLE';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_AUTH_UNAVAILABLE', 503, 'Credentials cannot be checked right now', options);
  }
}

/** 403: this client may not pass, or not with this request. Why is in `cause` alone. */
export class ForbiddenError extends ProxyError {
  override readonly name = 'ForbiddenError';
  declare readonly code: 'ERR_PROXY_FORBIDDEN';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_FORBIDDEN', 403, 'This request is not allowed', options);
  }
}

/** 403: a forward proxy was asked for a target that is not allowed. */
export class ForbiddenTargetError extends ProxyError {
  override readonly name = 'ForbiddenTargetError';
  declare readonly code: 'ERR_PROXY_FORBIDDEN_TARGET';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_FORBIDDEN_TARGET', 403, 'This target is not allowed', options);
  }
}

/** 508: our own `Via` came in, so the proxy is calling itself. */
export class LoopError extends ProxyError {
  override readonly name = 'LoopError';
  declare readonly code: 'ERR_PROXY_LOOP';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_LOOP', 508, 'The request has passed this proxy before', options);
  }
}

/**
 * 400, or the more exact 405, 417, 431, 501 or 505: a request that must not be forwarded. The
 * connection is closed behind the answer, because what follows on it cannot be trusted.
 */
export class BadRequestError extends ProxyError {
  override readonly name = 'BadRequestError';
  declare readonly code: 'ERR_PROXY_BAD_REQUEST';
  constructor(
    message: string,
    status: 400 | 405 | 417 | 431 | 501 | 505 = 400,
    options?: ProxyErrorOptions,
  ) {
    super('ERR_PROXY_BAD_REQUEST', status, message, {
      ...options,
      headers: { ...options?.headers, connection: 'close' },
    });
  }
}

/** 500: the request body was read before `proxyPass` could, and nothing was left to send instead. */
export class BodyConsumedError extends ProxyError {
  override readonly name = 'BodyConsumedError';
  declare readonly code: 'ERR_PROXY_BODY_CONSUMED';
  constructor(message: string, options?: ProxyErrorOptions) {
    super('ERR_PROXY_BODY_CONSUMED', 500, message, options);
  }
}

/** 500: nothing says where to send the request, or what to send back. The message says what to add. */
export class NoTargetError extends ProxyError {
  override readonly name = 'NoTargetError';
  declare readonly code: 'ERR_PROXY_NO_TARGET';
  constructor(message: string, options?: ProxyErrorOptions) {
    super('ERR_PROXY_NO_TARGET', 500, message, options);
  }
}

/** 499: the client left. For logs and metrics; it never reaches `next(err)`. */
export class ClientClosedError extends ProxyError {
  override readonly name = 'ClientClosedError';
  declare readonly code: 'ERR_PROXY_CLIENT_CLOSED';
  constructor(options?: ProxyErrorOptions) {
    super('ERR_PROXY_CLIENT_CLOSED', 499, 'The client closed the connection', options);
  }
}

/**
 * Whether a value is a {@link ProxyError}. It looks at the shape: the ESM and the CommonJS copy of
 * this package can meet in one process, where `instanceof` would be wrong.
 */
export function isProxyError(error: unknown): error is ProxyError {
  return (
    error instanceof Error && 'code' in error && Object.hasOwn(ProxyErrorCode, String(error.code))
  );
}

/** What the system, TLS or a parser calls that which is behind an error: `ECONNREFUSED`. */
export function causeCode(error: unknown): string | undefined {
  const { cause } = Object(error) as { cause?: unknown };
  const { code } = Object(cause) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

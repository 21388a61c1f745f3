import type { ServerResponse } from 'node:http';
import {
  causeCode,
  isProxyError,
  type ProxyError,
  type ProxyErrorCode,
} from '../exchange/errors.js';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { headHook } from '../exchange/head-hook.js';
import { structuredName } from '../exchange/structured-name.js';
import { known } from '../options.js';

/** Options for {@link proxyStatus}. */
export interface ProxyStatusOptions {
  /**
   * How this proxy calls itself in the field.
   *
   * @default 'headrace'
   */
  readonly name?: string | undefined;
}

/**
 * Tells clients with `Proxy-Status` (RFC 9209) what happened on the way: the status that the upstream
 * sent, and why there is no answer of its own. Which upstream that was is not told. Place it first, so
 * that it sees the failures of all pieces.
 *
 * @example
 * app.use(proxyStatus({ name: 'edge' }), loadBalancer({ upstreams }), proxyPass());
 * // Proxy-Status: edge; error=connection_refused
 */
export function proxyStatus(options: ProxyStatusOptions = {}): Handler {
  const { name = 'headrace' } = known('proxyStatus', options, ['name']);
  const member = structuredName('proxyStatus: name', name);
  const hook = headHook((res) => tellFailure(res, member));

  return function proxyStatusMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.onResponse(({ headers, attempt }) => {
      const { degraded } = exchange;
      const error =
        attempt === undefined && degraded !== undefined ? `; error=${errorType(degraded)}` : '';
      headers.append('Proxy-Status', member + error + received(attempt?.status));
    });
    hook(res);
    next?.();
  };
}

function received(status: number | undefined): string {
  return status === undefined ? '' : `; received-status=${status}`;
}

function tellFailure(res: ServerResponse, member: string): void {
  const { failure, attempts } = exchangeOf(res.req, res);
  if (failure === undefined || res.headersSent) return;
  const status = attempts.at(-1)?.status;
  res.setHeader('Proxy-Status', `${member}; error=${errorType(failure)}${received(status)}`);
}

/** The registered error type for each code (RFC 9209, 2.3). */
const TYPES: Readonly<Record<ProxyErrorCode, string>> = {
  ERR_PROXY_CONNECT: 'destination_unavailable',
  ERR_PROXY_RESET: 'connection_terminated',
  ERR_PROXY_BAD_RESPONSE: 'http_protocol_error',
  ERR_PROXY_MODIFY_RESPONSE: 'proxy_internal_error',
  ERR_PROXY_UPGRADE: 'http_upgrade_failed',
  ERR_PROXY_CONNECT_TIMEOUT: 'connection_timeout',
  ERR_PROXY_HEADERS_TIMEOUT: 'http_response_timeout',
  ERR_PROXY_BODY_TIMEOUT: 'connection_read_timeout',
  ERR_PROXY_NO_UPSTREAM: 'destination_unavailable',
  ERR_PROXY_CIRCUIT_OPEN: 'destination_unavailable',
  ERR_PROXY_OVERLOADED: 'connection_limit_reached',
  ERR_PROXY_RATE_LIMITED: 'http_request_denied',
  ERR_PROXY_RATE_LIMIT_STORE: 'proxy_internal_error',
  ERR_PROXY_BODY_TOO_LARGE: 'http_request_error',
  ERR_PROXY_UNAUTHORIZED: 'http_request_denied',
  ERR_PROXY_AUTH_UNAVAILABLE: 'proxy_internal_error',
  ERR_PROXY_FORBIDDEN: 'http_request_denied',
  ERR_PROXY_FORBIDDEN_TARGET: 'http_request_denied',
  ERR_PROXY_LOOP: 'proxy_loop_detected',
  ERR_PROXY_BAD_REQUEST: 'http_request_error',
  ERR_PROXY_BODY_CONSUMED: 'proxy_configuration_error',
  ERR_PROXY_NO_TARGET: 'proxy_configuration_error',
  ERR_PROXY_CLIENT_CLOSED: 'http_request_error',
};

/** What Node and OpenSSL report when there is no connection, where a type says it more exactly. */
const CONNECT_TYPES: readonly (readonly [RegExp, string])[] = [
  [/^ECONNREFUSED$/, 'connection_refused'],
  [/^(ENOTFOUND|EAI_)/, 'dns_error'],
  [/^E(HOST|NET)UNREACH$/, 'destination_ip_unroutable'],
  [/^ETIMEDOUT$/, 'connection_timeout'],
  [/CERT|^UNABLE_TO_/, 'tls_certificate_error'],
  [/^(EPROTO$|ERR_SSL_|ERR_TLS_)/, 'tls_protocol_error'],
];

function errorType(failure: unknown): string {
  if (!isProxyError(failure)) return 'proxy_internal_error';
  // Below 500 it is the client's request that was at fault, however it showed.
  if (failure.code === 'ERR_PROXY_BODY_TIMEOUT' && failure.status < 500)
    return 'http_request_error';
  return failure.code === 'ERR_PROXY_CONNECT' ? connectType(failure) : TYPES[failure.code];
}

function connectType(failure: ProxyError): string {
  const reported = causeCode(failure) ?? '';
  return CONNECT_TYPES.find(([pattern]) => pattern.test(reported))?.[1] ?? TYPES[failure.code];
}

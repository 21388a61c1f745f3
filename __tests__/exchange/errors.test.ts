import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import {
  AuthUnavailableError,
  BadRequestError,
  BadResponseError,
  BodyConsumedError,
  BodyTimeoutError,
  BodyTooLargeError,
  CircuitOpenError,
  ClientClosedError,
  ConnectError,
  ConnectTimeoutError,
  ForbiddenError,
  ForbiddenTargetError,
  HeadersTimeoutError,
  isProxyError,
  LoopError,
  ModifyResponseError,
  NoTargetError,
  NoUpstreamError,
  OverloadedError,
  ProxyError,
  ProxyErrorCode,
  RateLimitedError,
  RateLimitStoreError,
  ResetError,
  UnauthorizedError,
  UpgradeError,
  Upstream,
} from 'headrace';

/** The table of section 6 of the design: every code, the class it comes with, and its status. */
const TABLE: [ProxyErrorCode, number, new (...args: never[]) => ProxyError][] = [
  ['ERR_PROXY_CONNECT', 502, ConnectError],
  ['ERR_PROXY_RESET', 502, ResetError],
  ['ERR_PROXY_BAD_RESPONSE', 502, BadResponseError],
  ['ERR_PROXY_MODIFY_RESPONSE', 502, ModifyResponseError],
  ['ERR_PROXY_UPGRADE', 502, UpgradeError],
  ['ERR_PROXY_CONNECT_TIMEOUT', 504, ConnectTimeoutError],
  ['ERR_PROXY_HEADERS_TIMEOUT', 504, HeadersTimeoutError],
  ['ERR_PROXY_BODY_TIMEOUT', 504, BodyTimeoutError],
  ['ERR_PROXY_NO_UPSTREAM', 503, NoUpstreamError],
  ['ERR_PROXY_CIRCUIT_OPEN', 503, CircuitOpenError],
  ['ERR_PROXY_OVERLOADED', 503, OverloadedError],
  ['ERR_PROXY_RATE_LIMITED', 429, RateLimitedError],
  ['ERR_PROXY_RATE_LIMIT_STORE', 503, RateLimitStoreError],
  ['ERR_PROXY_BODY_TOO_LARGE', 413, BodyTooLargeError],
  ['ERR_PROXY_UNAUTHORIZED', 401, UnauthorizedError],
  ['ERR_PROXY_AUTH_UNAVAILABLE', 503, AuthUnavailableError],
  ['ERR_PROXY_FORBIDDEN', 403, ForbiddenError],
  ['ERR_PROXY_FORBIDDEN_TARGET', 403, ForbiddenTargetError],
  ['ERR_PROXY_LOOP', 508, LoopError],
  ['ERR_PROXY_BAD_REQUEST', 400, BadRequestError],
  ['ERR_PROXY_BODY_CONSUMED', 500, BodyConsumedError],
  ['ERR_PROXY_NO_TARGET', 500, NoTargetError],
  ['ERR_PROXY_CLIENT_CLOSED', 499, ClientClosedError],
];

describe.each(TABLE)('%s', (code, status, ErrorClass) => {
  const make = (options?: object): ProxyError => {
    const takesMessage =
      code === 'ERR_PROXY_BAD_REQUEST' ||
      code === 'ERR_PROXY_BODY_CONSUMED' ||
      code === 'ERR_PROXY_NO_TARGET';
    if (!takesMessage) return new ErrorClass(...([options] as never[]));
    const rest = code === 'ERR_PROXY_BAD_REQUEST' ? [undefined, options] : [options];
    return new ErrorClass(...(['what is wrong', ...rest] as never[]));
  };

  it('has its code, its status in both spellings, and is not exposed', () => {
    expect(make()).toMatchObject({ code, status, statusCode: status, expose: false });
  });

  it('is an Error, a ProxyError, and named after its class', () => {
    const error = make();
    expect(error).toBeInstanceOf(Error);
    expect(error).toBeInstanceOf(ProxyError);
    expect(error.name).toBe(ErrorClass.name);
    expect(String(error)).toMatch(new RegExp(`^${ErrorClass.name}: .`));
    expect(isProxyError(error)).toBe(true);
  });

  it('carries cause, upstream and headers', () => {
    const cause = new Error('connect ECONNREFUSED 10.0.0.1:80');
    const upstream = new Upstream('http://10.0.0.1');
    const error = make({ cause, upstream, headers: { 'retry-after': '5' } });
    expect(error.cause).toBe(cause);
    expect(error.upstream).toBe(upstream);
    expect(error.headers).toMatchObject({ 'retry-after': '5' });
    expect(error.message).not.toMatch(/10\.0\.0\.1|ECONNREFUSED/);
  });
});

describe('ProxyErrorCode', () => {
  it('lists every code once, each under its own name', () => {
    expect(Object.entries(ProxyErrorCode)).toEqual(TABLE.map(([code]) => [code, code]));
  });
});

describe('ProxyError', () => {
  it('has no cause unless it is given one', () => {
    expect(new ConnectError()).not.toHaveProperty('cause');
  });

  it('does not print its upstream, nor hand it to a logger that spreads errors', () => {
    const error = new ConnectError({ upstream: new Upstream('http://user:secret@10.0.0.1') });
    expect(inspect(error)).not.toContain('10.0.0.1');
    expect(JSON.stringify({ ...error })).not.toContain('10.0.0.1');
  });

  it('is the base for errors of one’s own', () => {
    const error = new ProxyError('ERR_PROXY_OVERLOADED', 503, 'Closed for lunch', {
      headers: { 'retry-after': '3600' },
    });
    expect(error).toMatchObject({
      name: 'ProxyError',
      status: 503,
      message: 'Closed for lunch',
      headers: { 'retry-after': '3600' },
    });
  });
});

describe('BodyTimeoutError', () => {
  it('is 408 when the body is the upload of the client', () => {
    const error = new BodyTimeoutError(undefined, 408);
    expect(error).toMatchObject({ status: 408, statusCode: 408 });
    expect(error.message).toContain('request');
    expect(new BodyTimeoutError().message).toContain('response');
  });
});

describe('BadRequestError', () => {
  it('closes the connection behind the answer', () => {
    expect(new BadRequestError('no').headers).toEqual({ connection: 'close' });
    const { headers } = new BadRequestError('no', 405, { headers: { allow: 'GET' } });
    expect(headers).toEqual({ allow: 'GET', connection: 'close' });
  });

  it('can have a more exact status', () => {
    expect(new BadRequestError('TRACE is not allowed', 405)).toMatchObject({
      status: 405,
      statusCode: 405,
      message: 'TRACE is not allowed',
    });
  });
});

describe('isProxyError', () => {
  it('knows errors of another copy of the package by their code', () => {
    const foreign = Object.assign(new Error('from the other copy'), { code: 'ERR_PROXY_RESET' });
    expect(isProxyError(foreign)).toBe(true);
  });

  it.each([
    [undefined],
    [null],
    ['ERR_PROXY_RESET'],
    [new Error('plain')],
    [Object.assign(new Error(), { code: 'ECONNRESET' })],
    [Object.assign(new Error(), { code: 'toString' })],
    [Object.assign(new Error(), { code: 7 })],
    [{ code: 'ERR_PROXY_RESET' }],
  ])('says no to %p', (value) => {
    expect(isProxyError(value)).toBe(false);
  });
});

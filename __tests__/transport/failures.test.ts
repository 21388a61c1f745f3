import { describe, expect, it } from '@jest/globals';
import { ClientClosedError, type ProxyErrorCode, Upstream } from 'headrace';
import { failure, type Stage } from '../../src/transport/failures.js';

const upstream = new Upstream('http://user:secret@10.0.0.1:8080');

function coded(code: string, message = 'connect to 10.0.0.1:8080'): Error {
  return Object.assign(new Error(message), { code });
}

/** What undici calls a message that its parser refuses. */
function parserError(message: string): Error {
  return Object.assign(new Error(message), { name: 'HTTPParserError' });
}

describe('failure', () => {
  it.each<[unknown, Stage, ProxyErrorCode, number]>([
    [coded('ECONNREFUSED'), 'connecting', 'ERR_PROXY_CONNECT', 502],
    [coded('ENOTFOUND'), 'connecting', 'ERR_PROXY_CONNECT', 502],
    [coded('DEPTH_ZERO_SELF_SIGNED_CERT'), 'connecting', 'ERR_PROXY_CONNECT', 502],
    [coded('ECONNRESET'), 'connecting', 'ERR_PROXY_CONNECT', 502],
    [coded('UND_ERR_CONNECT_TIMEOUT'), 'connecting', 'ERR_PROXY_CONNECT_TIMEOUT', 504],
    [coded('UND_ERR_HEADERS_TIMEOUT'), 'sent', 'ERR_PROXY_HEADERS_TIMEOUT', 504],
    [coded('UND_ERR_BODY_TIMEOUT'), 'sent', 'ERR_PROXY_BODY_TIMEOUT', 504],
    [coded('ECONNRESET'), 'sent', 'ERR_PROXY_RESET', 502],
    [coded('EPIPE'), 'sent', 'ERR_PROXY_RESET', 502],
    [coded('UND_ERR_SOCKET', 'other side closed'), 'sent', 'ERR_PROXY_RESET', 502],
    [coded('UND_ERR_SOCKET', 'bad response'), 'sent', 'ERR_PROXY_BAD_RESPONSE', 502],
    [coded('UND_ERR_SOCKET', 'bad upgrade'), 'sent', 'ERR_PROXY_BAD_RESPONSE', 502],
    [coded('HPE_INVALID_CONSTANT'), 'sent', 'ERR_PROXY_BAD_RESPONSE', 502],
    [
      parserError('Response does not match the HTTP/1.1 protocol'),
      'sent',
      'ERR_PROXY_BAD_RESPONSE',
      502,
    ],
    [parserError('Response does not match (Invalid EOF state)'), 'sent', 'ERR_PROXY_RESET', 502],
    [coded('UND_ERR_HEADERS_OVERFLOW'), 'sent', 'ERR_PROXY_BAD_RESPONSE', 502],
    [coded('UND_ERR_RES_CONTENT_LENGTH_MISMATCH'), 'sent', 'ERR_PROXY_BAD_RESPONSE', 502],
    [coded('UND_ERR_DESTROYED'), 'connecting', 'ERR_PROXY_NO_UPSTREAM', 503],
    [coded('UND_ERR_CLOSED'), 'connecting', 'ERR_PROXY_NO_UPSTREAM', 503],
    [coded('UND_ERR_INVALID_ARG'), 'connecting', 'ERR_PROXY_BAD_REQUEST', 400],
    [coded('UND_ERR_NOT_SUPPORTED'), 'connecting', 'ERR_PROXY_BAD_REQUEST', 400],
    [coded('UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'), 'sent', 'ERR_PROXY_BAD_REQUEST', 400],
    [new DOMException('aborted', 'AbortError'), 'sent', 'ERR_PROXY_RESET', 502],
    [undefined, 'sent', 'ERR_PROXY_RESET', 502],
    [null, 'connecting', 'ERR_PROXY_CONNECT', 502],
    ['just words', 'sent', 'ERR_PROXY_RESET', 502],
  ])('%p while %s is %s', (cause, stage, code, status) => {
    const error = failure(cause, stage, upstream);
    expect(error).toMatchObject({ code, status, upstream });
    expect(error.cause).toBe(cause);
    expect(error.message).not.toMatch(/10\.0\.0\.1|secret/);
  });

  it('leaves a proxy error as it is', () => {
    const error = new ClientClosedError();
    expect(failure(error, 'sent', upstream)).toBe(error);
  });
});

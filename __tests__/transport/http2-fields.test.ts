import { describe, expect, it } from '@jest/globals';
import { Upstream } from 'headrace';
import type { SendOptions } from '../../src/transport/carrier.js';
import { http2Fields } from '../../src/transport/http2-fields.js';
import { ownRequest } from '../../src/transport/own-request.js';

const upstream = new Upstream('http://127.0.0.1:3000');

/** What Node throws. By its message: in the realm of a test, it is an instance of nothing. */
const UNFIT = /invalid character in header content|valid HTTP token/i;

/** The fields of a request of these headers. */
function fieldsOf(headers: string[], options: Partial<SendOptions> = {}) {
  return http2Fields({ ...ownRequest(upstream, '/path', headers, 1_000), ...options }, upstream);
}

describe('the fields of a request over HTTP/2', () => {
  it('have names in lower case, and bytes past ASCII as they came', () => {
    expect(fieldsOf(['Host', 'a.example', 'X-Kept', '\xe9\t ~', 'Connection', 'close'])).toEqual({
      ':method': 'GET',
      ':scheme': 'http',
      ':authority': 'a.example',
      ':path': '/path',
      'x-kept': '\xe9\t ~',
    });
  });

  // Node sends the low byte of each character: U+010D and U+010A would be CR and LF on the wire.
  it.each(['\r\nx: 1', '\n', '\0', '\x7f', '\u010d\u010a', '\u012e'])(
    'have no value with %j, in Host neither',
    (text) => {
      for (const name of ['X-User', 'Host']) {
        expect(() => fieldsOf([name, `a${text}`])).toThrow(UNFIT);
      }
      const headers = ['X-User', ['a', `b${text}`]] as unknown as string[];
      expect(() => fieldsOf(headers)).toThrow(UNFIT);
    },
  );

  // U+212A is a K, but no ASCII one until it is in lower case.
  it.each(['', ':path', 'x user', 'x:', '\xe9', 'x\r\ny', '\u0178-user', '\u212aey'])(
    'have no name like %j',
    (name) => {
      expect(() => fieldsOf([name, 'a'])).toThrow(UNFIT);
    },
  );

  it.each(['', 'GET /', 'GET\r\nx', '\u0147ET', 'G\xcbT'])('have no method like %j', (method) => {
    expect(() => fieldsOf([], { method: method as SendOptions['method'] })).toThrow(UNFIT);
  });
});

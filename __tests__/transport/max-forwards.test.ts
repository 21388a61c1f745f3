import { describe, expect, it } from '@jest/globals';
import { exchangeOf } from 'headrace';
import { countForwards } from '../../src/transport/max-forwards.js';
import { type RawResponse, rawRequest } from '../helpers/client.js';
import { receiver } from '../helpers/inbound.js';
import { serve } from '../helpers/servers.js';

/** The bytes of a request with these lines. */
function bytes(method: string, ...lines: string[]): string {
  return [`${method} /path?query HTTP/1.1`, 'Host: a', ...lines, '', ''].join('\r\n');
}

/** An exchange, and whether its request has been answered here. */
async function counted(method: string, ...lines: string[]) {
  const receive = await receiver();
  const { req, res } = await receive(bytes(method, ...lines));
  const exchange = exchangeOf(req, res);
  return { exchange, answered: countForwards(exchange) };
}

/** What a client gets whose request is answered here. */
async function answerTo(method: string, ...lines: string[]): Promise<RawResponse> {
  const { port } = await serve((req, res) => void countForwards(exchangeOf(req, res)));
  return rawRequest(port, bytes(method, ...lines));
}

describe('Max-Forwards', () => {
  it.each(['OPTIONS', 'TRACE'])('counts down on %s', async (method) => {
    for (const [before, after] of [
      [10, 9],
      [1, 0],
    ]) {
      const { exchange, answered } = await counted(method, `Max-Forwards: ${before}`);
      expect(answered).toBe(false);
      expect([...exchange.headers]).toEqual([['Max-Forwards', `${after}`]]);
    }
  });

  it.each([
    ['GET', 'Max-Forwards: 0'],
    ['POST', 'Max-Forwards: 5'],
    ['OPTIONS', 'Max-Forwards: x'],
    ['OPTIONS', 'Max-Forwards: -1'],
    ['TRACE', 'Max-Forwards: 12345678901'],
    ['TRACE', 'X-Other: 0'],
  ])('leaves %s with %s alone', async (method, line) => {
    const { exchange, answered } = await counted(method, line);
    expect(answered).toBe(false);
    expect(exchange.headers.isEdited('max-forwards')).toBe(false);
  });

  it('at zero answers OPTIONS here, with nothing', async () => {
    const response = await answerTo('OPTIONS', 'Max-Forwards: 0');
    expect(response).toMatchObject({ status: 200, body: '' });
    expect(response.header('content-length')).toBe('0');
  });

  it('at zero answers TRACE here, with the request but for its secrets', async () => {
    const secrets = ['Cookie: a', 'AUTHORIZATION: b', 'Proxy-Authorization: c'];
    const lines = ['Max-Forwards: 0', ...secrets, 'X-A: caf\xe9'];
    const response = await answerTo('TRACE', ...lines);
    expect(response.header('content-type')).toBe('message/http');
    expect(response.body).toBe(
      'TRACE /path?query HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-A: caf\xe9\r\n\r\n',
    );
  });
});

import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { writePlainHead } from '../../src/transport/plain-head.js';
import { type RawResponse, rawClient, rawRequest } from '../helpers/client.js';
import { serve } from '../helpers/servers.js';

type Answer = (res: ServerResponse, req: IncomingMessage) => void;

const ask = (method = 'GET', version = '1.1') =>
  `${method} / HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`;

async function answered(answer: Answer, request = ask()): Promise<RawResponse> {
  const { port } = await serve((req, res) => answer(res, req));
  return rawRequest(port, request);
}

/** The head as Node writes it, line by line. */
function writeNodeHead(res: ServerResponse, status: number, reason: string, lines: string[]): void {
  for (let i = 0; i < lines.length; i += 2) {
    res.appendHeader(lines[i] as string, lines[i + 1] as string);
  }
  res.writeHead(status, reason);
}

const sorted = ({ headers }: RawResponse) => headers.map((line) => line.join(': ')).sort();

describe('a plain head', () => {
  it.each<[what: string, status: number, lines: string[]]>([
    ['a length', 200, ['Server', 'a', 'content-length', '2', 'ETag', '"x"']],
    ['no length', 200, ['Server', 'a', 'Vary', 'accept']],
    ['a Date', 200, ['Date', 'Tue, 15 Nov 1994 08:12:31 GMT', 'Content-Length', '2']],
    ['several lines of a name', 200, ['Set-Cookie', 'a=1', 'X-A', '1', 'Set-Cookie', 'b=2']],
    ['empty and odd values', 206, ['X-Empty', '', 'X-Latin', 'caf\xe9\tau lait']],
    ['nothing', 200, []],
    ['a 204', 204, ['X-A', '1']],
    ['a 304', 304, ['Content-Length', '2', 'ETag', '"x"']],
  ])('of %s says what Node says, framing included', async (_, status, lines) => {
    const ways = [ask(), ask('HEAD'), ask('GET', '1.0')];
    for (const request of ways) {
      const end = (res: ServerResponse) => res.end(status === 200 ? Buffer.from('ok') : undefined);
      const plain = await answered((res) => {
        res.setHeader('X-Powered-By', 'tests');
        expect(writePlainHead(res, status, 'Reason', lines)).toBe(true);
        end(res);
      }, request);
      const usual = await answered((res) => {
        res.setHeader('X-Powered-By', 'tests');
        writeNodeHead(res, status, 'Reason', lines);
        end(res);
      }, request);
      // Node's own Date may be of the next second.
      const said = (response: RawResponse) =>
        sorted(response).filter((line) => lines.includes('Date') || !line.startsWith('Date'));
      expect(said(plain)).toEqual(said(usual));
      expect([plain.status, plain.reason, plain.body]).toEqual([status, 'Reason', usual.body]);
    }
  });

  it('keeps the lines in order, behind what has been set', async () => {
    const lines = ['B', '1', 'Content-Length', '2', 'A', '2', 'B', '3'];
    const { headers, body } = await answered((res) => {
      res.sendDate = false;
      res.setHeader('X-Powered-By', 'Express').setHeader('X-Count', 1).setHeader('X-Empty', '');
      expect(writePlainHead(res, 200, 'OK', lines)).toBe(true);
      res.end('ok');
    });
    expect(headers).toEqual([
      ['X-Powered-By', 'Express'],
      ['X-Count', '1'],
      ['X-Empty', ''],
      ['B', '1'],
      ['Content-Length', '2'],
      ['A', '2'],
      ['B', '3'],
      ['Connection', 'close'],
    ]);
    expect(body).toBe('ok');
  });

  it('leaves the bytes of a file name as they are, which Node takes for UTF-8 behind a length', async () => {
    const name = 'attachment; filename="\xe6\x97\xa5"';
    const { headers } = await answered((res) => {
      writePlainHead(res, 200, 'OK', ['Content-Length', '2', 'Content-Disposition', name]);
      res.end(Buffer.from('ok'));
    });
    expect(headers).toContainEqual(['Content-Disposition', name]);
  });

  it('leaves the connection to the next request', async () => {
    const { port } = await serve((_req, res) => {
      writePlainHead(res, 200, 'OK', ['Content-Length', '2']);
      res.end('ok');
    });
    const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
    const client = await rawClient(port, get + get);
    await client.until((text) => text.split('\r\n\r\nok').length === 3);
    expect(client.hasEnded()).toBe(false);
  });

  it('tells its fields to whoever asks later, as Node does', async () => {
    const lines = ['Server', 'a', 'Set-Cookie', 'a=1', 'set-cookie', 'b=2', 'Content-Length', '0'];
    const told = async (write: typeof writeNodeHead) => {
      let seen: unknown;
      await answered((res) => {
        res.setHeader('X-Powered-By', 'tests');
        write(res, 200, 'OK', lines);
        res.end();
        seen = {
          headers: { ...res.getHeaders() },
          names: res.getHeaderNames().sort(),
          one: [res.getHeader('SERVER'), res.getHeader('x-powered-by'), res.getHeader('none')],
          several: res.getHeader('Set-Cookie'),
          has: ['Server', 'content-length', 'none'].map((name) => res.hasHeader(name)),
          sent: res.headersSent,
        };
        expect(() => res.setHeader('a', 'b')).toThrow(/Cannot set headers/);
      });
      return seen;
    };
    const usual = await told(writeNodeHead);
    expect(await told((...args) => void writePlainHead(...args))).toEqual(usual);
    expect(usual).toMatchObject({ several: ['a=1', 'b=2'], has: [true, true, false] });
  });

  it.each<[what: string, prepare: (res: ServerResponse) => unknown]>([
    ['a field of the same name', (res) => res.setHeader('server', 'b')],
    ['a field of several lines', (res) => res.setHeader('Set-Cookie', ['a=1', 'b=2'])],
    ['framing of its own', (res) => res.setHeader('Content-Length', 2)],
    ['a Connection of its own', (res) => res.setHeader('Connection', 'close')],
    ['a writeHead of its own', (res) => Object.assign(res, { writeHead: () => res })],
    ['a setHeader of its own', (res) => Object.assign(res, { setHeader: () => res })],
  ])('is not for an answer with %s', async (_, prepare) => {
    await answered((res) => {
      prepare(res);
      const before = res.getHeaderNames();
      expect(writePlainHead(res, 200, 'OK', ['Server', 'a'])).toBe(false);
      expect([res.headersSent, res.getHeaderNames()]).toEqual([false, before]);
      res.socket?.end('HTTP/1.1 204 No Content\r\n\r\n');
    });
  });

  it.each<[name: string, value: string]>([
    ['Connection', 'close'],
    ['Keep-Alive', 'timeout=1'],
    ['Transfer-Encoding', 'chunked'],
    ['Trailer', 'X-A'],
    ['Upgrade', 'websocket'],
    ['Expect', '100-continue'],
    ['x_y', '1'],
    ['', '1'],
    ['a b', '1'],
    ['a\r\nb', '1'],
    ['X-A', 'a\r\nSet-Cookie: b=1'],
    ['X-A', '\0'],
    ['X-A', '\u0100'],
    ['Content-Length', '3'],
  ])('is not for a line %j: %j', async (name, value) => {
    await answered((res) => {
      const lines = ['Content-Length', '2', name, value];
      expect(writePlainHead(res, 200, 'OK', lines)).toBe(false);
      expect([res.headersSent, res.getHeaderNames()]).toEqual([false, []]);
      res.end();
    });
  });
});

import { describe, expect, it } from '@jest/globals';
import { fallback, logTokens, proxyPass, requestId } from 'headrace';
import morgan from 'morgan';
import { rawClient, rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { gateway, type Middleware, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** What morgan writes of a request, with all tokens in it. */
async function lineOf(...middleware: Middleware[]): Promise<string> {
  for (const [name, token] of Object.entries(logTokens)) morgan.token(name, token);
  const lines: string[] = [];
  const format = Object.keys(logTokens)
    .map((name) => `:${name}`)
    .join(' ');
  const log = morgan(format, { stream: { write: (line) => void lines.push(line.trim()) } });
  const { port } = await gateway('express 5', log, ...middleware);
  await (await rawClient(port, request('GET /', ['Connection: close']))).closed();
  await eventually('a line', () => lines.length === 1);
  return lines[0] ?? '';
}

const generate = (): string => 'r-1';

describe('tokens for morgan', () => {
  it('tell what is known of an exchange', async () => {
    const { url } = await rawUpstream();
    const line = await lineOf(requestId({ generate }), proxyPass(`${url}/base?key=s3cret`));
    expect(line).toMatch(new RegExp(`^${url}/base 200 1 \\d+\\.\\d{3} completed - r-1 -$`));
  });

  it('tell of failures, and of what was made up for', async () => {
    const refused = 'http://127.0.0.1:1';
    const failed = await lineOf(proxyPass(refused));
    expect(failed).toBe(`${refused} - 1 - failed ERR_PROXY_CONNECT - -`);
    const degraded = await lineOf(
      fallback(() => ({ body: 'x' })),
      proxyPass(refused),
    );
    expect(degraded).toBe(`${refused} - 1 - completed ERR_PROXY_CONNECT - -`);
  });

  it('tell of a client that left', async () => {
    const { url } = await rawUpstream((_request, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
      return undefined;
    });
    const lines: string[] = [];
    morgan.token('outcome', logTokens.outcome);
    const log = morgan(':outcome', { stream: { write: (line) => void lines.push(line.trim()) } });
    const { port } = await gateway('express 5', log, proxyPass(url));
    const client = await rawClient(port, request('GET /'));
    await client.until((text) => text.includes('half'));
    client.socket.destroy();
    await eventually('a line', () => lines.length === 1);
    expect(lines).toEqual(['client-closed']);
  });

  it('say nothing of requests that no piece has seen', async () => {
    expect(await lineOf((_req, res) => res.end())).toBe('- - - - - - - -');
    const own: Middleware = (req, res) => res.end(String(logTokens.attempts(req, res)));
    const { port } = await gateway('node:http', own);
    expect((await rawRequest(port, request('GET /'))).body).toBe('undefined');
  });
});

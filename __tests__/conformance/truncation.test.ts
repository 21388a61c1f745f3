import { describe, expect, it } from '@jest/globals';
import compression from 'compression';
import { proxyPass } from 'headrace';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { frameworks, gateway, type RawUpstream, rawUpstream } from '../helpers/servers.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const HTTP_10 = 'GET / HTTP/1.0\r\n\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Answers `/next` in full, and everything else with the beginning of a response. */
function upstreamThatBegins(beginning: string): Promise<RawUpstream> {
  return rawUpstream((request) =>
    request.startsWith('GET /next')
      ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext'
      : `HTTP/1.1 200 OK\r\n${beginning}`,
  );
}

const SHORT = 'Content-Length: 100\r\n\r\nbroken';
const UNENDED = 'Transfer-Encoding: chunked\r\n\r\n6\r\nbroken\r\n';
const MID_CHUNK = 'Transfer-Encoding: chunked\r\n\r\n64\r\nbroken';
const TO_THE_END = 'Connection: close\r\n\r\nbroken';

/** How a body can break off: what has come of it, and how the connection ends. */
const BREAKS: readonly [what: string, beginning: string, end: 'end' | 'resetAndDestroy'][] = [
  ['a length that is not reached', SHORT, 'end'],
  ['a length that is not reached, and a reset', SHORT, 'resetAndDestroy'],
  ['chunks without the last one', UNENDED, 'end'],
  ['half a chunk', MID_CHUNK, 'end'],
  ['chunks and a reset', UNENDED, 'resetAndDestroy'],
  ['a reset of the connection that was to delimit it', TO_THE_END, 'resetAndDestroy'],
];

describe.each(frameworks)('a body that breaks off, through %s', (framework) => {
  it.each(BREAKS)('destroys the connection of the client: %s', async (_what, beginning, end) => {
    const upstream = await upstreamThatBegins(beginning);
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('broken'));
    upstream.sockets[0]?.[end]();
    await client.closed();

    // It had said how the body would end, and it did not end so.
    expect(parseResponses(client.received(), false, false)).toEqual([]);
    expect((await rawRequest(port, NEXT)).body).toBe('next');
  });

  it.each(BREAKS)('shows an HTTP/1.0 client a reset: %s', async (_what, beginning, end) => {
    const upstream = await upstreamThatBegins(beginning);
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, HTTP_10);
    await client.until((text) => text.includes('broken'));
    upstream.sockets[0]?.[end]();
    await client.closed();

    // Without a length, an orderly end of the connection would be the end of the body.
    const hasLength = /^content-length: 100\r$/im.test(client.received());
    expect(hasLength || client.wasReset()).toBe(true);
    expect((await rawRequest(port, NEXT)).body).toBe('next');
  });

  // libuv shows a reset that comes with the last bytes as an orderly end: nobody could tell.
  it.each(BREAKS.filter(([, beginning]) => beginning !== TO_THE_END))(
    'is never a whole answer, though all come at once: %s',
    async (_what, beginning, end) => {
      const upstream = await rawUpstream((request, socket) => {
        if (request.startsWith('GET /next'))
          return 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext';
        socket.write(`HTTP/1.1 200 OK\r\n${beginning}`, () => socket[end]());
        return undefined;
      });
      const { port } = await gateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, GET);
      const answers = () => parseResponses(client.received(), false, false);
      await client.untilOrClosed(() => answers().length > 0);
      for (const { status } of answers()) expect(status).toBe(502);
      expect((await rawRequest(port, NEXT)).body).toBe('next');
    },
  );
});

describe('a body that breaks off', () => {
  it.each(BREAKS)(
    'destroys the connection behind compression() too: %s',
    async (_what, beginning, end) => {
      const upstream = await upstreamThatBegins(`Content-Type: text/plain\r\n${beginning}`);
      const { port } = await gateway(
        'express 5',
        compression({ threshold: 0 }),
        proxyPass(upstream.url),
      );
      const client = await rawClient(
        port,
        GET.replace('\r\n\r\n', '\r\nAccept-Encoding: gzip\r\n\r\n'),
      );
      await client.until((text) => /^content-encoding: gzip\r$/im.test(text));
      upstream.sockets[0]?.[end]();
      await client.closed();
      expect(parseResponses(client.received(), false, false)).toEqual([]);
      expect((await rawRequest(port, NEXT)).body).toBe('next');
    },
  );

  it('ends cleanly when the connection that delimits it does', async () => {
    const upstream = await upstreamThatBegins(TO_THE_END);
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('broken'));
    upstream.sockets[0]?.end();
    await client.until((text) => text.endsWith('\r\n0\r\n\r\n'));

    const old = await rawClient(port, HTTP_10);
    await old.until((text) => text.includes('broken'));
    upstream.sockets[1]?.end();
    await old.closed();
    expect(old.wasReset()).toBe(false);
  });
});

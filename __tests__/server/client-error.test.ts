import { createServer } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { attach, proxyPass } from 'headrace';
import { parseResponses, rawClient } from '../helpers/client.js';
import { appOf, closeAfter, frameworks, listen, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';
import { tunnelGateway } from '../helpers/tunnels.js';

const GET = 'GET /a HTTP/1.1\r\nHost: gateway\r\n\r\n';
const LAST = 'GET /a HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
const POST = 'POST /a HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\n\r\nold';
const FIRST_HALF = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf';
const SECOND_HALF = 'full';

/** What a client may send behind a request by mistake, with the status that tells it so. */
const BEHIND: [string, string, number][] = [
  ['more of a body than it had announced', '{"a":1}', 400],
  ['a request with a broken length', 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400],
  ['a head that is too large', `GET / HTTP/1.1\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
];

/** An upstream that answers half, and the other half when it is told to. */
async function inHalves() {
  const finish: (() => void)[] = [];
  const upstream = await rawUpstream((_, socket) => {
    finish.push(() => socket.write(SECOND_HALF));
    return FIRST_HALF;
  });
  return { ...upstream, finish };
}

describe.each(frameworks)('with %s, bytes that are no HTTP', (framework) => {
  describe.each(BEHIND)('behind a request: %s', (_, bytes, status) => {
    it('do not take the place of an answer that is to come', async () => {
      const asked: (() => void)[] = [];
      const upstream = await rawUpstream((_, socket) => {
        asked.push(() => socket.write(FIRST_HALF + SECOND_HALF));
        return undefined;
      });
      const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, POST + bytes);
      await eventually('the request', () => asked.length === 1);
      expect(client.received()).toBe('');
      asked[0]?.();
      const answers = parseResponses(await client.closed());
      expect(answers).toMatchObject([{ status: 200, body: 'halffull' }, { status }]);
      expect(answers[1]?.header('connection')).toBe('close');
      expect(client.wasReset()).toBe(false);
    });

    it('do not break off an answer that is under way', async () => {
      const upstream = await inHalves();
      const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, GET);
      await client.until((text) => text.endsWith('half'));
      client.write(bytes);
      client.write(bytes);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(client.hasEnded()).toBe(false);
      upstream.finish[0]?.();
      const answers = parseResponses(await client.closed());
      expect(answers).toMatchObject([{ status: 200, body: 'halffull' }, { status }]);
    });

    it('get their answer behind those to a whole pipeline', async () => {
      const upstream = await inHalves();
      const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, GET + GET + POST + bytes);
      for (let i = 0; i < 3; i++) {
        await eventually(`request ${i + 1}`, () => upstream.finish.length > i);
        upstream.finish[i]?.();
      }
      const answers = parseResponses(await client.closed());
      const whole = { status: 200, body: 'halffull' };
      expect(answers).toMatchObject([whole, whole, whole, { status }]);
      expect(upstream.finish).toHaveLength(3);
    });
  });

  it('behind the last request of a connection leave its answer alone, and get none', async () => {
    const upstream = await inHalves();
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, `${LAST}{}`);
    await eventually('the request', () => upstream.finish.length === 1);
    upstream.finish[0]?.();
    expect(parseResponses(await client.closed())).toMatchObject([
      { status: 200, body: 'halffull' },
    ]);
  });

  it('are no reason to wait for an upstream when their client has left', async () => {
    const upstream = await inHalves();
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.until((text) => text.endsWith('half'));
    client.socket.end('{}');
    await client.closed();
    await eventually('the end of the upstream', () => upstream.sockets[0]?.destroyed === true);
  });

  it('within a request end it, and the upstream hears of it', async () => {
    const upstream = await rawUpstream();
    const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
    const head = 'POST /a HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n';
    const client = await rawClient(port, `${head}3\r\nold\r\n`);
    await eventually('the upload', () => upstream.received().includes('old'));
    client.write('no chunk\r\n');
    expect(parseResponses(await client.closed())).toMatchObject([{ status: 400 }]);
    await eventually('the end of the upstream', () => upstream.sockets[0]?.destroyed === true);
  });

  it('as the first of a connection are told so', async () => {
    const { port } = await tunnelGateway(framework, proxyPass('http://127.0.0.1:1'));
    for (const [, bytes, status] of BEHIND) {
      const client = await rawClient(port, bytes);
      expect(parseResponses(await client.closed())).toMatchObject([{ status }]);
    }
  });
});

describe('half a request that takes too long', () => {
  it('waits for the answer to the one before it', async () => {
    const upstream = await inHalves();
    const app = appOf('express 5', proxyPass(upstream.url));
    const server = createServer({ connectionsCheckingInterval: 50 }, app);
    const attached = attach(server, app, { headersTimeoutMs: 100, drainMs: 0 });
    closeAfter(() => attached.close());
    const client = await rawClient(await listen(server), GET + GET.slice(0, 20));
    await client.until((text) => text.endsWith('half'));
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(client.hasEnded()).toBe(false);
    upstream.finish[0]?.();
    const answers = parseResponses(await client.closed());
    expect(answers).toMatchObject([{ status: 200, body: 'halffull' }, { status: 408 }]);
  });
});

describe('a listener for `clientError` of somebody else', () => {
  it('is alone with it', async () => {
    const codes: unknown[] = [];
    const { port, server } = await tunnelGateway('express 5', proxyPass('http://127.0.0.1:1'));
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      codes.push(error.code);
      socket.end('its own');
    });
    const client = await rawClient(port, 'no request\r\n\r\n');
    expect(await client.closed()).toBe('its own');
    expect(codes).toEqual([expect.stringMatching(/^HPE_/)]);
  });
});

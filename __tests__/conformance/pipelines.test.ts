import { describe, expect, it } from '@jest/globals';
import {
  concurrencyLimit,
  forwardProxy,
  loadBalancer,
  proxyErrors,
  proxyPass,
  ResetError,
  UpstreamPool,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { closeAfter, frameworks, gateway, OK, rawUpstream } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

const NEXT = 'GET /next HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
const SLOW = 'GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n';
const GET = 'GET /a HTTP/1.1\r\nHost: gateway\r\n\r\n';
const PUT = 'PUT /a HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\n\r\nnew';

const answerOf = (body: string) =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** An upstream that answers `/next`; all other answers are given by hand, oldest request first. */
async function byHand() {
  const asked: { request: string; answer: (bytes: string) => void }[] = [];
  const upstream = await rawUpstream((request, socket) => {
    if (request.startsWith('GET /next')) return OK;
    asked.push({ request, answer: (bytes) => socket.write(bytes) });
    return undefined;
  });
  return { ...upstream, asked };
}

// RFC 9112, 9.3.2
describe.each(frameworks)(
  'requests that a client of %s sends without waiting for answers',
  (framework) => {
    it('are sent one after the other, since the earlier may change what the later gets', async () => {
      const upstream = await byHand();
      const { port } = await gateway(framework, proxyPass(upstream.url));
      const client = await rawClient(port, PUT + GET + PUT);
      for (const [i, method] of ['PUT', 'GET', 'PUT'].entries()) {
        await eventually(`request ${i + 1}`, () => upstream.asked.length > i);
        expect(await settled(() => upstream.asked.length)).toBe(i + 1);
        expect(upstream.asked[i]?.request).toMatch(new RegExp(`^${method} `));
        upstream.asked[i]?.answer(answerOf(`answer ${i + 1}`));
        await client.until((text) => text.includes(`answer ${i + 1}`));
      }
      expect(upstream.sockets).toHaveLength(1);
    });

    it('take one connection to the upstream, and one place, however many they are', async () => {
      const upstream = await byHand();
      const pool = new UpstreamPool([{ url: upstream.url, transport: { connections: 2 } }]);
      closeAfter(() => pool.close());
      const limit = concurrencyLimit({ limit: 2 });
      const { port } = await gateway(
        framework,
        loadBalancer({ upstreams: pool }),
        limit,
        proxyPass(),
      );
      const client = await rawClient(port, SLOW.repeat(300));
      await eventually('the first', () => upstream.asked.length === 1);
      expect((await rawRequest(port, NEXT)).body).toBe('ok');
      expect(upstream.asked).toHaveLength(1);
      expect(pool.upstreams[0]?.inFlight).toBe(1);
      expect(limit.inFlight).toBe(1);
      client.socket.destroy();
      await eventually('the end of it', () => pool.upstreams[0]?.inFlight === 0);
      expect((await rawRequest(port, NEXT)).body).toBe('ok');
    });
  },
);

describe('requests that wait for their turn', () => {
  it.each<[string, (pool: UpstreamPool) => void]>([
    ['removed', (pool) => pool.remove(pool.upstreams[0]?.url ?? '')],
    ['put out of use', (pool) => pool.upstreams[0]?.bar('held')],
  ])('go elsewhere when their upstream has been %s by then', async (_what, change) => {
    const [first, second] = [await byHand(), await rawUpstream(answerOf('second'))];
    const pool = new UpstreamPool([first.url, { url: second.url, priority: 1 }]);
    closeAfter(() => pool.close());
    const { port } = await gateway('express 5', loadBalancer({ upstreams: pool }), proxyPass());
    const client = await rawClient(port, SLOW + GET);
    await eventually('the first', () => first.asked.length === 1);
    change(pool);
    first.asked[0]?.answer(answerOf('first'));
    await client.until((text) => text.includes('first') && text.includes('second'));
    expect(first.asked).toHaveLength(1);
  });

  it('do so at a forward proxy as well', async () => {
    const upstream = await byHand();
    const { port } = await gateway(
      'express 5',
      forwardProxy({ allow: [`127.0.0.1:${upstream.port}`] }),
    );
    const request = `GET ${upstream.url}/a HTTP/1.1\r\nHost: 127.0.0.1:${upstream.port}\r\n\r\n`;
    const client = await rawClient(port, request.repeat(2));
    await eventually('the first', () => upstream.asked.length === 1);
    expect(await settled(() => upstream.asked.length)).toBe(1);
    upstream.asked[0]?.answer(answerOf('one'));
    await eventually('the second', () => upstream.asked.length === 2);
    upstream.asked[1]?.answer(answerOf('two'));
    await client.until((text) => text.includes('one') && text.includes('two'));
  });
});

describe('an answer that breaks off before its turn', () => {
  it('takes its connection along, so that nobody waits for the rest', async () => {
    let answer = (): unknown => undefined;
    const { port } = await gateway(
      'express 5',
      (req, res, next) => {
        if (req.url === '/slow') {
          answer = () => res.end('first');
          return;
        }
        res.writeHead(200, { 'content-length': 10 }).write('half');
        next(new ResetError());
      },
      proxyErrors(),
    );
    const client = await rawClient(port, SLOW + GET);
    await settled(() => client.received().length);
    answer();
    expect(await client.closed()).toContain('first');
  });
});

describe('an upgrade that nobody takes, without attach()', () => {
  const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: gateway\r\n\r\n';
  const UPGRADE =
    'GET /a HTTP/1.1\r\nHost: gateway\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const POST = `POST /b HTTP/1.1\r\nHost: gateway\r\nContent-Length: ${HIDDEN.length}\r\n\r\n`;

  it.each(frameworks)('is the last request of its connection, under %s', async (framework) => {
    const upstream = await byHand();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, UPGRADE + POST);
    await eventually('the first', () => upstream.asked.length === 1);
    // Node's parser has lost the head of the POST, and would take its body for a request.
    client.write(HIDDEN);
    await settled(() => upstream.asked.length);
    upstream.asked[0]?.answer(answerOf('ordinary'));
    const received = await client.closed();
    expect(received).toMatch(/^Connection: close\r$/m);
    expect(received).toContain('ordinary');
    expect(upstream.received()).not.toContain('/hidden');
  });
});

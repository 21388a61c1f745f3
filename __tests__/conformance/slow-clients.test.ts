import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { constants, createServer as createHttp2Server } from 'node:http2';
import { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { exchangeOf, type Handler, type Outcome, proxyPass } from 'headrace';
import { rawClient } from '../helpers/client.js';
import { http2Ask, http2Client } from '../helpers/http2.js';
import { appOf, closeAfter, gateway, listen, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';
const failed = { type: 'failed', error: { code: 'ERR_PROXY_BODY_TIMEOUT' } };

type Sizes = readonly (readonly number[])[];

/** An upstream that answers with bodies of the given bytes: of each, so many at once and so many a little later. */
async function answering(...bodies: Sizes) {
  const length = (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + size, 0);
  return rawUpstream((request, socket) => {
    const [first = 0, second = 0] = bodies[Number(/ \/(\d)/.exec(request)?.[1] ?? 0)] ?? [];
    socket.write(
      `HTTP/1.1 200 OK\r\nContent-Length: ${length([first, second])}\r\n\r\n${'x'.repeat(first)}`,
    );
    if (second > 0) setTimeout(() => socket.write('x'.repeat(second)), 20);
    return undefined;
  });
}

/** A gateway's handler, and how its exchanges end. */
function recording(target: string, bodyTimeoutMs: number) {
  const outcomes: (Outcome | undefined)[] = [];
  const pass = proxyPass(target, { bodyTimeoutMs });
  closeAfter(() => pass.close());
  const handler: Handler = (req, res, next) => {
    exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome));
    pass(req, res, next);
  };
  return { outcomes, handler };
}

const bodies: [what: string, sizes: readonly number[]][] = [
  ['10 bytes', [10]],
  ['20,000 bytes', [20_000]],
  ['200,000 bytes', [200_000]],
  ['200,000 bytes that come in two parts', [50_000, 150_000]],
];

describe('a client that takes nothing of an answer that has been sent as a whole', () => {
  it.each(bodies)('is not waited for without end over HTTP/1.1: %s', async (_what, sizes) => {
    const { url } = await answering(sizes);
    const { outcomes, handler } = recording(url, 100);
    const server = createServer(appOf('connect', handler));
    const socket = new Duplex({ read() {}, write() {} });
    server.emit('connection', socket);
    socket.push(GET);
    await eventually('the outcome', () => outcomes.length === 1);
    expect([outcomes[0], socket.destroyed]).toMatchObject([failed, true]);
  });

  it.each(bodies)('is not waited for without end over HTTP/2: %s', async (_what, sizes) => {
    const { url } = await answering(sizes);
    const { outcomes, handler } = recording(url, 100);
    const server = createHttp2Server(handler as never);
    const session = http2Client(`http://127.0.0.1:${await listen(server)}`, {
      settings: { initialWindowSize: 0 },
    });
    await once(session, 'localSettings');
    const { body, code } = await http2Ask(session);
    expect([body, code]).toEqual(['', constants.NGHTTP2_INTERNAL_ERROR]);
    await eventually('the outcome', () => outcomes.length === 1);
    expect(outcomes).toMatchObject([failed]);
    expect(session.destroyed).toBe(false);
  });

  it('is not waited for without end when the answer is to an error', async () => {
    const { outcomes, handler } = recording('http://127.0.0.1:1', 100);
    const server = createServer(handler as RequestListener);
    const socket = new Duplex({ read() {}, write() {} });
    server.emit('connection', socket);
    socket.push(GET);
    await eventually('the outcome', () => outcomes.length === 1);
    expect([outcomes[0]?.type, socket.destroyed]).toEqual(['failed', true]);
  });
});

describe('a client that waits for the answer before in its pipeline', () => {
  it.each([[[400_000, 0]], [[100_000, 300_000]]])('is not a slow one: %j', async (sizes) => {
    let finish = (): void => {};
    const { url } = await rawUpstream((request, socket) => {
      const [first = 0, second = 0] = sizes;
      if (request.startsWith('GET /first')) {
        finish = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        return undefined;
      }
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n${'x'.repeat(first)}`);
      setTimeout(() => socket.write('x'.repeat(second)), 20);
      return undefined;
    });
    const { outcomes, handler } = recording(url, 100);
    const { port } = await gateway('connect', handler);
    const client = await rawClient(port, `${GET.replace('/path', '/first')}${GET}`);
    await delay(500);
    expect(outcomes).toEqual([]);
    finish();
    await eventually('both answers', () => outcomes.length === 2);
    expect(outcomes.map((outcome) => outcome?.type)).toEqual(['completed', 'completed']);
    client.socket.destroy();
  });
});

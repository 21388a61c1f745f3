import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Client, type Dispatcher } from 'undici';
import type { Awaited, Carrier, SendOptions } from '../../src/transport/carrier.js';
import { rawHandler } from '../../src/transport/raw-handler.js';
import { rounds } from '../../src/transport/rounds.js';
import { closeAfter, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** A handler that notes what it is told, and the controller it is given. */
function noting(onHead: (controller: Dispatcher.DispatchController) => void = () => {}) {
  const told: unknown[] = [];
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => void told.push('start'),
    onResponseStart: (controller, status, _fields, reason) => {
      const raw = controller.rawHeaders as Buffer[];
      told.push([status, reason, raw.map(String)]);
      onHead(controller);
    },
    onResponseData: (_controller, chunk) => void told.push(String(chunk)),
    onResponseEnd: (controller) =>
      void told.push(['end', (controller.rawTrailers as unknown as Buffer[]).map(String)]),
    onResponseError: (_controller, error) => void told.push(error),
    onRequestUpgrade: (controller, status, _fields, socket) => {
      told.push([status, (controller.rawHeaders as Buffer[]).map(String)]);
      socket.destroy();
    },
  };
  return { told, handler };
}

async function dispatch(
  answer: string,
  handler: Dispatcher.DispatchHandler,
  upgrade: string | null = null,
) {
  const upstream = await rawUpstream(answer);
  const client = new Client(upstream.url);
  closeAfter(() => client.destroy());
  const options = sendOptions(upgrade);
  client.dispatch(options, rawHandler(options, handler));
  return upstream;
}

function sendOptions(upgrade: string | null = null): SendOptions {
  return {
    method: 'GET',
    path: '/',
    upgrade,
    limits: { headersTimeoutMs: 1_000, bodyTimeoutMs: 1_000 },
    servername: undefined,
    replayable: true,
    connection: undefined,
  };
}

describe('a raw handler', () => {
  it('is told of heads, interim ones included, of chunks, and of trailers', async () => {
    const { told, handler } = noting();
    await dispatch(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' +
        'HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n',
      handler,
    );
    await eventually('the end', () => told.length === 5);
    expect(told).toEqual([
      'start',
      [103, 'Early Hints', ['Link', '</a>']],
      [200, 'Fine', ['Transfer-Encoding', 'chunked']],
      'ok',
      ['end', ['X-Sum', '1']],
    ]);
  });

  it('leaves nothing of a head behind, unless it has been shown to others', async () => {
    const heads: (Buffer[] | null)[] = [];
    const { told, handler } = noting((controller) =>
      heads.push(controller.rawHeaders as Buffer[] | null),
    );
    await dispatch('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', handler);
    await eventually('the end', () => told.length === 4);
    // undici 8 makes no list that is left behind.
    const isWrapped = rawHandler(sendOptions(), handler) !== handler;
    expect(heads).toEqual([isWrapped ? [] : expect.any(Array)]);

    const seen: Buffer[][] = [];
    const look = (message: unknown) =>
      void seen.push((message as { response: { headers: Buffer[] } }).response.headers);
    subscribe('undici:request:headers', look);
    closeAfter(() => unsubscribe('undici:request:headers', look));
    await dispatch('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', handler);
    await eventually('the other end', () => told.length === 8);
    expect(seen.map((fields) => fields.map(String))).toEqual([['Content-Length', '2']]);
  });

  it('gets nothing more while it has paused, and all of it afterwards', async () => {
    let controller: Dispatcher.DispatchController | undefined;
    const { told, handler } = noting((one) => {
      controller = one;
      one.pause();
    });
    const upstream = await dispatch('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', handler);
    await eventually('the head', () => told.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([controller?.paused, told.length]).toEqual([true, 2]);
    controller?.resume();
    controller?.resume();
    await eventually('the end', () => told.length === 4);
    expect(told.slice(2)).toEqual(['ok', ['end', []]]);
    expect(upstream.sockets).toHaveLength(1);
  });

  it('is told of the error that it aborts with, once, and the connection ends', async () => {
    const reason = new Error('enough');
    const { told, handler } = noting((controller) => {
      controller.abort(reason);
      controller.abort(new Error('again'));
      expect([controller.aborted, controller.reason]).toEqual([true, reason]);
    });
    const upstream = await dispatch('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok', handler);
    await eventually('the error', () => told.length === 3);
    expect(told[2]).toBe(reason);
    const [socket] = upstream.sockets;
    if (socket?.destroyed === false) await once(socket, 'close');
    expect(told).toHaveLength(3);
  });

  it('is told of a head that it throws at, as of any other error', async () => {
    const reason = new Error('unfit');
    const { told, handler } = noting(() => {
      throw reason;
    });
    await dispatch('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', handler);
    await eventually('the error', () => told.length === 3);
    expect(told[2]).toBe(reason);
  });

  it('is given the socket of an upgrade', async () => {
    const { told, handler } = noting();
    await dispatch(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
      handler,
      'x',
    );
    await eventually('the switch', () => told.length > 1);
    expect(told[1]).toEqual([101, ['Connection', 'upgrade', 'Upgrade', 'x']]);
  });
});

/** What undici calls of a handler of its older interface. */
interface OlderHandler extends Awaited {
  onConnect(abort: (reason: Error) => void): void;
  onUpgrade(status: number, headers: Buffer[], socket: Duplex): void;
  onComplete(trailers: string[]): void;
  onError(error: Error): void;
}

/** undici 8 keeps limits itself. */
const describeRaw = process.env.HEADRACE_UNDICI === '8' ? describe.skip : describe;

describeRaw('the limit of a head', () => {
  /** A raw handler of an upload, and what its connection was cut with. */
  function uploading(handler = noting().handler) {
    const cuts: unknown[] = [];
    const destroy = (reason: Error) => void cuts.push(reason);
    const connection = {} as Carrier;
    const options = { ...sendOptions(), body: new Readable({ read() {} }), connection };
    const raw = rawHandler(options, handler) as unknown as OlderHandler;
    raw.onConnect((reason) => raw.onError(reason));
    const look = (bytesWritten: number, writableNeedDrain: boolean) => {
      rounds.now += 10;
      raw.look({ bytesWritten, writableNeedDrain, destroy } as unknown as Socket);
      return cuts.length > 0;
    };
    return { connection, raw, look, cuts };
  }

  it('waits for an upload that moves, or of which nothing comes', () => {
    const { look, cuts } = uploading();
    for (let i = 1; i <= 10; i++) expect(look(i, true)).toBe(false);
    for (let i = 1; i <= 10; i++) expect(look(10, false)).toBe(false);
    expect([look(10, true), look(10, true), look(10, true)]).toEqual([false, false, true]);
    expect(cuts).toMatchObject([{ code: 'UND_ERR_HEADERS_TIMEOUT' }]);
  });

  it('leaves nothing of an exchange with its connection, however that ends', () => {
    const ends: ((raw: OlderHandler) => unknown)[] = [
      (raw) => raw.onComplete([]),
      (raw) => raw.onError(new Error('lost')),
      (raw) => raw.onUpgrade(101, [], { destroy() {} } as Duplex),
    ];
    for (const end of ends) {
      const { connection, raw } = uploading();
      expect(connection.answer).toBe(raw);
      end(raw);
      expect(connection.answer).toBeUndefined();
    }
    const { handler } = noting();
    handler.onRequestStart = (controller) => controller.abort(new Error('nobody wants it'));
    expect(uploading(handler).connection.answer).toBeUndefined();
    const [first, next] = [uploading(), uploading()];
    first.connection.answer = next.raw;
    first.raw.onError(new Error('late'));
    expect(first.connection.answer).toBe(next.raw);
  });
});

import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { exchangeOf, proxyPass } from 'headrace';
import { rawClient } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, gateway, listen } from '../helpers/servers.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';
const OK_HEAD = 'HTTP/1.1 200 OK\r\n';

describe('an error event of a socket reaches nobody as an uncaught exception', () => {
  const UPLOAD =
    'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000000\r\n\r\nthe beginning of the body';

  /** What the upstream does with a connection, and the moment the client waits for. */
  const upstreams: [when: string, upstream: (socket: Socket) => void, seen: RegExp | undefined][] =
    [
      ['says nothing', () => {}, undefined],
      ['begins a head', (socket) => socket.write(OK_HEAD), undefined],
      ['sends a hint', (socket) => socket.write('HTTP/1.1 103 Hint\r\n\r\n'), /103/],
      [
        'sends a head',
        (socket) => socket.write(`${OK_HEAD}Content-Length: 9\r\n\r\n`),
        /\r\n\r\n$/,
      ],
      [
        'sends half a body',
        (socket) => socket.write(`${OK_HEAD}Content-Length: 9\r\n\r\nhalf`),
        /half/,
      ],
    ];
  const requests: [name: string, bytes: string][] = [
    ['a GET', GET],
    ['an upload', UPLOAD],
  ];
  const ways: [who: string, break_: (client: Socket, upstream: Socket) => void][] = [
    ['the client resets', (client) => client.resetAndDestroy()],
    ['the client ends', (client) => client.destroy()],
    ['the upstream resets', (_client, upstream) => upstream.resetAndDestroy()],
    ['the upstream ends', (_client, upstream) => upstream.destroy()],
    [
      'both reset',
      (client, upstream) => {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      },
    ],
  ];
  const cases = upstreams.flatMap(([when, upstream, seen]) =>
    requests.flatMap(([name, bytes]) =>
      ways.map(([who, break_]) => [who, name, when, bytes, upstream, seen, break_] as const),
    ),
  );

  it.each(cases)(
    '%s, during %s, when the upstream %s',
    async (_who, _name, _when, bytes, behave, seen, break_) => {
      const connected: Socket[] = [];
      const server = createServer((socket) => {
        connected.push(socket);
        socket.on('error', () => {});
        socket.once('data', () => {
          behave(socket);
          server.emit('asked');
        });
        socket.resume();
      });
      const port = await listen(server);
      closeAfter(() => connected.forEach((socket) => void socket.destroy()));
      const { errors, record } = recordErrors();
      let settled: (() => void) | undefined;
      const outcome = new Promise<void>((resolve) => {
        settled = resolve;
      });
      const pass = proxyPass(`http://127.0.0.1:${port}`);
      const { port: gatewayPort } = await gateway(
        'express 5',
        (req, res, next) => {
          exchangeOf(req, res).onOutcome(() => settled?.());
          next();
        },
        pass,
        record,
      );
      const asked = once(server, 'asked');
      const client = await rawClient(gatewayPort, bytes);
      await asked;
      if (seen !== undefined) await client.until((text) => seen.test(text));
      break_(client.socket, connected[0] as Socket);
      await outcome;
      expect(errors.length).toBeLessThanOrEqual(1);
    },
  );
});

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { Watchers } from '../../src/status/watchers.js';
import { closeAfter, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** Watchers behind a server, and a client that reads only when it is told to. */
async function watched(snapshot: string) {
  const watchers = new Watchers();
  const streams: ServerResponse[] = [];
  const { server, port } = await serve((req, res) => {
    streams.push(res);
    res.shouldKeepAlive = false;
    watchers.add(req, res, snapshot);
  });
  const socket = connect(port, '127.0.0.1');
  closeAfter(() => socket.destroy());
  socket.pause();
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually('the stream', () => streams.length === 1);
  // Its latest part: that is where the difference is.
  let text = '';
  const read = () => {
    socket.setEncoding('latin1').on('data', (chunk) => {
      text = (text + chunk).slice(-500);
    });
    socket.resume();
  };
  return { watchers, server, socket, stream: streams[0] as ServerResponse, read, text: () => text };
}

/** More than the buffers of two sockets hold. */
const LARGE = 'x'.repeat(8 * 1024 * 1024);

describe('a page that is open', () => {
  it('gets a snapshot, and then frames', async () => {
    const { watchers, read, text } = await watched('{"all":1}');
    watchers.tell(
      () => '{"some":2}',
      () => '',
    );
    read();
    await eventually('the frame', () => text().includes('some'));
    expect(text()).toContain('event: snapshot\ndata: {"all":1}\n\n');
    expect(text()).toContain('event: frame\ndata: {"some":2}\n\n');
  });

  it('is written nothing more while it does not read, and gets a snapshot when it does again', async () => {
    const { watchers, stream, read, text } = await watched(LARGE);
    const tell = () =>
      watchers.tell(
        () => '"frame"',
        () => '"whole"',
      );
    for (let i = 0; i < 5; i++) tell();
    expect(stream.writableLength).toBeLessThan(LARGE.length + 1_000);
    read();
    await once(stream, 'drain');
    tell();
    tell();
    await eventually('the frame', () => text().includes('"frame"'));
    expect(text()).toMatch(/event: snapshot\ndata: "whole"\n\n[\s\w]*event: frame\ndata: "frame"/);
    expect(text().match(/"frame"/g)).toHaveLength(1);
  });

  it('is dropped when it does not read for half a minute', async () => {
    const { watchers, stream } = await watched(LARGE);
    const tell = () =>
      watchers.tell(
        () => '"frame"',
        () => '"whole"',
      );
    for (let i = 0; i < 29; i++) tell();
    expect(stream.destroyed).toBe(false);
    tell();
    expect(stream.destroyed).toBe(true);
    await once(stream, 'close');
    tell();
  });

  it('is ended when its server takes no more connections', async () => {
    const { watchers, server, socket } = await watched('"all"');
    const closed = new Promise((resolve) => server.close(resolve));
    socket.resume();
    watchers.tell(
      () => '"frame"',
      () => '"whole"',
    );
    await once(socket, 'end');
    socket.destroy();
    await closed;
  });

  it('is one of a hundred at most, and none is new once all are ended', async () => {
    const { watchers, socket } = await watched('"all"');
    expect(watchers.hasRoom).toBe(true);
    const stub = { on: () => stub, write: () => true, end: () => {} };
    for (let i = 0; i < 99; i++) watchers.add({} as never, stub as never, '');
    expect(watchers.hasRoom).toBe(false);
    socket.resume();
    watchers.close();
    await once(socket, 'end');
    const none = new Watchers();
    none.close();
    expect(none.hasRoom).toBe(false);
  });

  it('that goes away costs nothing more', async () => {
    const { watchers, socket, stream } = await watched('"all"');
    socket.destroy();
    await once(stream, 'close');
    let frames = 0;
    watchers.tell(
      () => String(++frames),
      () => '"whole"',
    );
    expect(frames).toBe(0);
  });
});

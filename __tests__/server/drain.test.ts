import { describe, expect, it } from '@jest/globals';
import { attach } from 'headrace';
import { rawClient } from '../helpers/client.js';
import { serve } from '../helpers/servers.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

describe('closing an attached server', () => {
  it.each([
    ['has sent nothing', ''],
    ['has sent half a head', 'GET / HTTP/1.1\r\nHo'],
  ])('ends a connection whose client %s', async (_what, bytes) => {
    const { server, port } = await serve((_req, res) => res.end());
    const attached = attach(server, (_req, res) => res.end());
    const client = await rawClient(port, bytes);
    // The connection is known to the server once another one, made later, has been answered.
    const other = await rawClient(port, GET);
    await other.until((text) => text.includes('200'));
    await attached.close();
    await client.closed();
    await other.closed();
  });

  it('lets an answer in flight finish, which says that the connection closes', async () => {
    const waiting: (() => void)[] = [];
    const { server, port } = await serve((_req, res) => {
      waiting.push(() => res.end('done'));
      server.emit('waiting');
    });
    const attached = attach(server, () => {});
    const arrived = new Promise((resolve) => server.once('waiting', resolve));
    const client = await rawClient(port, GET);
    await arrived;
    const closed = attached.close();
    for (const finish of waiting) finish();
    const text = await client.closed();
    expect(text).toContain('Connection: close\r\n');
    expect(text).toContain('done');
    await closed;
  });

  it('leaves no listener behind', async () => {
    const { server } = await serve((_req, res) => res.end());
    const before = server.eventNames().map((name) => [name, server.listenerCount(name)]);
    const attached = attach(server, () => {});
    await attached.close();
    expect(server.eventNames().map((name) => [name, server.listenerCount(name)])).toEqual(before);
  });
});

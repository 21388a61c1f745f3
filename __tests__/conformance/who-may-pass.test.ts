import { describe, expect, it } from '@jest/globals';
import {
  addressList,
  authorize,
  forwardAuth,
  forwardProxy,
  type Handler,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { rawClient } from '../helpers/client.js';
import { closeAfter, rawUpstream, serve } from '../helpers/servers.js';
import { switching, tunnelGateway, upgradeRequest } from '../helpers/tunnels.js';

/** The first line of what comes back for these bytes. */
async function answerTo(port: number, bytes: string): Promise<string | undefined> {
  const client = await rawClient(port, bytes);
  const text = await client.until((received) => received.includes('\r\n\r\n'));
  client.socket.destroy();
  return text.split('\r\n')[0];
}

/** Guards that let pass what is asked of `inside`, and nothing of what is asked of `outside`. */
const guards: [string, () => Promise<{ inside: Handler; outside: Handler }>][] = [
  [
    'addressList',
    async () => ({
      inside: addressList({ allow: 'loopback' }),
      outside: addressList({ deny: 'loopback' }),
    }),
  ],
  [
    'authorize',
    async () => ({
      inside: authorize({ allow: [{ host: ['gateway', '127.0.0.1'] }] }),
      outside: authorize({ allow: [{ path: '/**' }], deny: [{ host: ['gateway', '127.0.0.1'] }] }),
    }),
  ],
  [
    'forwardAuth',
    async () => {
      const { url } = await serve(
        (req, res) => void res.writeHead(req.url === '/yes' ? 200 : 403).end(),
      );
      const inside = forwardAuth({ url: `${url}/yes` });
      const outside = forwardAuth({ url: `${url}/no` });
      closeAfter(() => Promise.all([inside.close(), outside.close()]));
      return { inside, outside };
    },
  ],
];

describe.each(guards)('%s stands, with no extra word,', (_, made) => {
  it('before upgrades', async () => {
    const { inside, outside } = await made();
    const upstream = await rawUpstream(switching('chat'));
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const open = await tunnelGateway('express 5', inside, pass, proxyErrors());
    const closed = await tunnelGateway('express 5', outside, pass, proxyErrors());

    expect(await answerTo(closed.port, upgradeRequest())).toBe('HTTP/1.1 403 Forbidden');
    expect(upstream.received()).toBe('');
    expect(await answerTo(open.port, upgradeRequest())).toBe('HTTP/1.1 101 Switching Protocols');
  });

  it('before CONNECT and absolute-form requests', async () => {
    const { inside, outside } = await made();
    const upstream = await rawUpstream();
    const target = `127.0.0.1:${upstream.port}`;
    const proxy = forwardProxy({ allow: [target] });
    closeAfter(() => proxy.close());
    const open = await tunnelGateway('express 5', inside, proxy, proxyErrors());
    const closed = await tunnelGateway('express 5', outside, proxy, proxyErrors());
    const connect = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
    const absolute = `GET http://${target}/x HTTP/1.1\r\nHost: ${target}\r\n\r\n`;

    expect(await answerTo(closed.port, connect)).toBe('HTTP/1.1 403 Forbidden');
    expect(await answerTo(closed.port, absolute)).toBe('HTTP/1.1 403 Forbidden');
    expect(upstream.received()).toBe('');
    expect(await answerTo(open.port, connect)).toBe('HTTP/1.1 200 Connection established');
    expect(await answerTo(open.port, absolute)).toBe('HTTP/1.1 200 OK');
  });
});

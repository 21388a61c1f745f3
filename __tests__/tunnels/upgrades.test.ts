import { describe, expect, it } from '@jest/globals';
import { proxyPass } from 'headrace';
import { frameworks } from '../helpers/servers.js';
import { chatUpstream, tunnelClient, tunnelGateway } from '../helpers/tunnels.js';

describe('an upgrade', () => {
  it.each(frameworks)(
    'goes through the pipeline of %s, as do the bytes behind it, both ways',
    async (framework) => {
      const upstream = await chatUpstream('early');
      const { port } = await tunnelGateway(framework, proxyPass(upstream.url));
      const client = await tunnelClient(port, 'first');
      await client.until((text) => text.endsWith('\r\n\r\nearly'));
      expect(client.received()).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
      client.write('second');
      upstream.sockets[0]?.write('answer');
      await client.until((text) => text.endsWith('earlyanswer'));
      client.socket.end();
      upstream.sockets[0]?.end();
      await client.closed();
      expect(upstream.received()).toMatch(/\r\n\r\nfirstsecond$/);
    },
  );
});

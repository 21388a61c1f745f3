import { describe, expect, it } from '@jest/globals';
import { exchangeOf, type Handler, proxyPass } from 'headrace';
import { rawClient } from '../helpers/client.js';
import { onlyRequest, upload } from '../helpers/requests.js';
import { frameworks, gateway, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const HEAD = 'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\n';

describe.each(frameworks)('a short upload, in %s,', (framework) => {
  it('that comes with its head leaves with it, and nothing of it is missing', async () => {
    const chunks: string[] = [];
    const upstream = await rawUpstream((text) => {
      chunks.push(text);
      return `HTTP/1.1 204 No Content\r\nX-First: ${text.at(-10)}\r\n\r\n`;
    });
    const ends: string[] = [];
    let sent = 0;
    const look: Handler = (req, res, next) => {
      req.once('end', () => ends.push('end')).once('close', () => ends.push('close'));
      exchangeOf(req, res).onOutcome(({ bytesSent }) => {
        sent = bytesSent;
      });
      next?.();
    };
    const { port } = await gateway(framework, look, proxyPass(upstream.url));
    const client = await rawClient(port);
    for (const body of ['0123456789', 'abcdefghij']) {
      client.write(upload('POST /', [], body));
      await client.until((text) => text.includes(`X-First: ${body[0]}`));
    }
    expect(chunks.map((text) => text.split('\r\n\r\n')[1])).toEqual(['0123456789', 'abcdefghij']);
    // Whoever waits for the end of the upload hears of it.
    await eventually('both ends', () => ends.length === 4);
    expect([ends.slice(0, 2), sent]).toEqual([['end', 'close'], 10]);
  });

  it('that comes piece by piece is not waited for', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port);
    client.write(HEAD);
    client.write('01234');
    await eventually('what has come', () => upstream.received().endsWith('01234'));
    client.write('56789');
    await client.until((text) => text.includes('200 OK'));
    expect(onlyRequest(upstream).body).toBe('0123456789');
  });

  it('that has waited behind slow middleware leaves as a whole, too', async () => {
    const upstream = await rawUpstream();
    const slow: Handler = (_req, _res, next) => void setTimeout(() => next?.(), 20);
    const { port } = await gateway(framework, slow, proxyPass(upstream.url));
    const client = await rawClient(port);
    client.write(HEAD);
    client.write('0123456789');
    await client.until((text) => text.includes('200 OK'));
    expect(onlyRequest(upstream).body).toBe('0123456789');
  });
});

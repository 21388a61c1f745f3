import { describe, expect, it } from '@jest/globals';
import { proxyPass } from 'headrace';
import { rawRequest } from './helpers/client.js';
import { frameworks, gateway, rawUpstream } from './helpers/servers.js';

describe.each(frameworks)('%s', (framework) => {
  it('forwards', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, 'GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(res.status).toBe(200);
    expect(res.body).toBe('ok');
    expect(upstream.received()).toMatch(/^GET \/a\?b HTTP\/1.1\r\n/);
    const post = await rawRequest(
      port,
      'POST /a?b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    );
    expect(post.status).toBe(200);
  });
  it('502', async () => {
    const { port } = await gateway(framework, proxyPass('http://127.0.0.1:1'));
    const res = await rawRequest(port, 'GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(res.status).toBe(502);
  });
});

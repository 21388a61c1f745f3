import { describe, expect, it } from '@jest/globals';
import { proxyPass, UpstreamPool } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { closeAfter, gateway, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

describe('proxyPass', () => {
  it('has the upstreams of a pool asked how they are', async () => {
    const asked: (string | undefined)[] = [];
    const { url } = await serve((req, res) => {
      asked.push(req.url);
      res.end('up');
    });
    const active = { path: '/health', intervalMs: 5, initial: 'unhealthy' } as const;
    const pool = new UpstreamPool([url], { health: { active } });
    closeAfter(() => pool.close());
    const { port } = await gateway('express 5', proxyPass(pool));
    await eventually('a good answer', () => pool.eligible.length === 1);
    expect(asked[0]).toBe('/health');
    expect((await rawRequest(port, request('GET /'))).body).toBe('up');
  });
});

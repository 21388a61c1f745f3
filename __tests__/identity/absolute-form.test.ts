import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  apiKey,
  authenticate,
  basicAuth,
  forwardProxy,
  type Handler,
  proxyErrors,
  proxyPass,
  reverseProxy,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { basic } from '../helpers/identity.js';
import { onlyRequest, request } from '../helpers/requests.js';
import { closeAfter, frameworks, gateway, rawUpstream } from '../helpers/servers.js';

const users = basicAuth({ users: { ada: 'lovelace' } });
const GOOD = basic('ada', 'lovelace');
const WRONG = basic('root', 'guess');
const key = createHash('sha256').update('k-123').digest('hex');

/** A reverse proxy behind this gate, and what its upstream got. */
async function behind(gate: Handler, framework: (typeof frameworks)[number] = 'express 5') {
  const upstream = await rawUpstream();
  const pass = proxyPass(upstream.url);
  closeAfter(() => pass.close());
  const { port } = await gateway(framework, gate, pass, proxyErrors());
  const ask = async (target: string, ...lines: string[]) =>
    (await rawRequest(port, request(`GET ${target}`, lines))).status;
  return { upstream, ask };
}

// The order counts: from the first forwardProxy() on, this process is one.
describe.each(frameworks)('without a forward proxy, an absolute target in %s', (framework) => {
  it('is one more way to name a path, and is judged like it', async () => {
    const { ask, upstream } = await behind(authenticate(users), framework);
    expect(await ask('http://gw.example/a')).toBe(401);
    expect(await ask('http://gw.example/a', WRONG)).toBe(401);
    expect(await ask('http://gw.example/a', `Proxy-${GOOD}`, WRONG)).toBe(401);
    expect(upstream.connections()).toEqual([]);
    expect(await ask('http://gw.example/a', GOOD)).toBe(200);
    expect(upstream.received()).toMatch(/^GET \/a HTTP/);
    expect(onlyRequest(upstream).lines('authorization')).toEqual([]);
  });

  it('has wrong credentials refused where they are optional', async () => {
    const { ask, upstream } = await behind(authenticate(users, { optional: true }), framework);
    expect(await ask('http://gw.example/a', WRONG)).toBe(401);
    expect(upstream.connections()).toEqual([]);
    expect(await ask('http://gw.example/a')).toBe(200);
  });

  it('has the key in its query read, and kept from the upstream', async () => {
    const gate = authenticate(apiKey({ lookup: { [key]: 'billing' }, query: 'key' }));
    const { ask, upstream } = await behind(gate, framework);
    expect(await ask('http://gw.example/a?key=k-123&b=c')).toBe(200);
    expect(upstream.received()).toMatch(/^GET \/a\?b=c HTTP/);
  });
});

describe('beside a forward proxy, a request that was let in as one to it', () => {
  it('reaches no upstream of a reverse proxy', async () => {
    const proxy = forwardProxy();
    closeAfter(() => proxy.close());
    const { ask, upstream } = await behind(authenticate(users, { optional: true }));
    expect(await ask('http://gw.example/a', `Proxy-${WRONG}`)).toBe(407);
    expect(await ask('http://gw.example/a', `Proxy-${GOOD}`, WRONG)).toBe(400);
    expect(await ask('http://gw.example/a', WRONG)).toBe(400);
    const whole = reverseProxy({ target: upstream.url, authenticate: users });
    closeAfter(() => whole.close());
    const { port } = await gateway('express 5', whole, proxyErrors());
    const lines = [`Proxy-${GOOD}`, WRONG];
    expect((await rawRequest(port, request('GET http://gw.example/a', lines))).status).toBe(400);
    expect(upstream.connections()).toEqual([]);
    expect(await ask('/a', GOOD)).toBe(200);
  });
});

import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import { attach, type HealthEndpointOptions, healthEndpoint, UpstreamPool } from 'headrace';
import { type RawResponse, rawClient, rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { closeAfter, gateway, type Middleware, serve } from '../helpers/servers.js';

function poolOf(...urls: string[]): UpstreamPool {
  const pool = new UpstreamPool(urls);
  closeAfter(() => pool.close());
  return pool;
}

const elsewhere: Middleware = (_req, res) => res.end('elsewhere');

/** What an endpoint that is mounted at `/health` answers. */
async function ask(options: HealthEndpointOptions, line = 'GET /health'): Promise<RawResponse> {
  const { port } = await serve(express().use('/health', healthEndpoint(options)).use(elsewhere));
  return rawRequest(port, request(line));
}

const A = 'http://a.example';
const B = 'http://b.example';

describe('readiness', () => {
  it('is there while each pool has an upstream that may be chosen', async () => {
    const pools = { api: poolOf(A, B), files: poolOf(A) };
    const ready = await ask({ pools });
    expect(ready.status).toBe(200);
    expect(ready.header('cache-control')).toBe('no-store');
    expect(ready.header('content-type')).toBe('application/json');
    expect(JSON.parse(ready.body)).toEqual({
      status: 'ready',
      pools: { api: { eligible: 2, of: 2 }, files: { eligible: 1, of: 1 } },
    });
    pools.files.upstreams[0]?.bar('unhealthy');
    const not = await ask({ pools });
    expect(not.status).toBe(503);
    expect(not.header('cache-control')).toBe('no-store');
    expect(JSON.parse(not.body)).toEqual({
      status: 'not ready',
      pools: { api: { eligible: 2, of: 2 }, files: { eligible: 0, of: 1 } },
    });
    pools.files.upstreams[0]?.lift('unhealthy');
    expect((await ask({ pools })).status).toBe(200);
  });

  it('asks for as many as it is told to, of all pools or of each', async () => {
    const pools = { api: poolOf(A, B), files: poolOf(A) };
    const statusWith = async (atLeast: HealthEndpointOptions['atLeast']) =>
      (await ask({ pools, atLeast })).status;
    expect(await statusWith(2)).toBe(503);
    expect(await statusWith({ api: 2 })).toBe(200);
    expect(await statusWith({ api: 2, files: 2 })).toBe(503);
    expect(await statusWith({ api: 0, files: 0 })).toBe(200);
    await pools.files.close();
    expect(await statusWith({ api: 2 })).toBe(503);
    expect(await statusWith({ files: 0 })).toBe(200);
  });

  it('says nothing of where the upstreams are', async () => {
    expect((await ask({ pools: { api: poolOf(A) } })).body).not.toContain('example');
  });

  it('ends when the app says that it drains, and liveness does not', async () => {
    let draining = false;
    const options = { pools: { api: poolOf(A) }, draining: () => draining };
    expect((await ask(options, 'GET /health/ready')).status).toBe(200);
    draining = true;
    const { status, body } = await ask(options, 'GET /health/ready');
    expect([status, body]).toEqual([503, '{"status":"draining"}']);
    expect((await ask(options, 'GET /health/live')).status).toBe(200);
  });

  it.each([async () => false, async () => Promise.reject(new Error('no answer'))])(
    'cannot be told by a promise',
    async (draining) => {
      const options = { draining: draining as never };
      expect((await ask(options, 'GET /health/ready')).status).toBe(500);
    },
  );

  it('ends when the server closes, for those who ask on a connection from before', async () => {
    let held = (): void => {};
    const app = express().use('/health', healthEndpoint());
    app.use('/slow', (_req, res) => {
      held = () => res.end('done');
    });
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    const client = await rawClient(port, request('GET /slow') + request('GET /health/ready'));
    expect((await rawRequest(port, request('GET /health/ready'))).status).toBe(200);
    const closed = attached.close();
    held();
    expect(await client.closed()).toContain('done');
    await closed;
    const ready = healthEndpoint().ready;
    const { port: other, server: plain } = await gateway('node:http', (req, res) => {
      plain.close();
      ready(req, res);
    });
    expect((await rawRequest(other, request('GET /'))).body).toBe('{"status":"draining"}');
  });

  it('is an error where the app cannot say whether it drains', async () => {
    const draining = (): boolean => {
      throw new Error('no');
    };
    expect((await ask({ draining })).status).toBe(500);
  });
});

describe('paths', () => {
  it.each(['express 5', 'express 4', 'connect'] as const)(
    'below a mount point of %s',
    async (name) => {
      const app = name === 'connect' ? connect() : name === 'express 4' ? express4() : express();
      (app as express.Express).use('/health', healthEndpoint() as never);
      app.use(elsewhere as never);
      const { port } = await serve(app as never);
      const bodyOf = async (path: string) => (await rawRequest(port, request(`GET ${path}`))).body;
      const ready = '{"status":"ready","pools":{}}';
      for (const path of ['', '/', '?a=1', '/ready', '/readyz', '/healthz', '/ready?a=1'])
        expect([path, await bodyOf(`/health${path}`)]).toEqual([path, ready]);
      for (const path of ['/live', '/livez'])
        expect([path, await bodyOf(`/health${path}`)]).toEqual([path, '{"status":"live"}']);
      for (const path of ['/', '/healthy', '/health/else', '/health/live/x', '/api/ready'])
        expect([path, await bodyOf(path)]).toEqual([path, 'elsewhere']);
    },
  );

  it('of its own where it is mounted at none', async () => {
    const { port } = await serve(express().use(healthEndpoint()).use(elsewhere));
    const bodyOf = async (path: string) => (await rawRequest(port, request(`GET ${path}`))).body;
    expect(await bodyOf('/')).toBe('elsewhere');
    expect(await bodyOf('/livez')).toBe('{"status":"live"}');
    expect(await bodyOf('/readyz')).toContain('ready');
  });

  it('do not matter to its parts', async () => {
    const health = healthEndpoint();
    const { port } = await serve(
      express().get('/alive', health.live).get('/in/service', health.ready),
    );
    expect((await rawRequest(port, request('GET /alive'))).body).toBe('{"status":"live"}');
    expect((await rawRequest(port, request('GET /in/service'))).body).toContain('"ready"');
  });

  it('are all its own on a bare server', async () => {
    const { port } = await serve(healthEndpoint());
    const statusOf = async (path: string) =>
      (await rawRequest(port, request(`GET ${path}`))).status;
    expect(await Promise.all(['/', '/live', '/ready', '/x'].map(statusOf))).toEqual([
      200, 200, 200, 404,
    ]);
  });
});

describe('methods', () => {
  it('may be HEAD, which gets no body', async () => {
    const { status, header, body } = await ask({}, 'HEAD /health/ready');
    expect([status, header('content-length'), body]).toEqual([200, '29', '']);
  });

  it('may be no others', async () => {
    const { status, header } = await ask({}, 'DELETE /health/live');
    expect([status, header('allow')]).toEqual([405, 'GET, HEAD']);
  });
});

describe('healthEndpoint options', () => {
  it.each([
    [
      { pools: [] },
      'healthEndpoint: pools must be an object of pools by name, received an array of 0',
    ],
    [
      { pools: new Map() },
      'healthEndpoint: pools must be an object of pools by name, received an instance of Map',
    ],
    [{ atLeast: Number.NaN }, 'healthEndpoint: atLeast must be a whole number of at least 0'],
    [{ pools: { api: 'x' } }, 'healthEndpoint: pools.api must be an UpstreamPool, received "x"'],
    [{ draining: true }, 'healthEndpoint: draining must be a function, received true'],
    [{ atLeast: { api: 1 } }, 'healthEndpoint: atLeast: unknown option "api"'],
    [{ pool: 1 }, 'healthEndpoint: unknown option "pool", did you mean "pools"?'],
  ])('%j are refused', (options, message) => {
    expect(() => healthEndpoint(options as never)).toThrow(message);
  });

  it('say how many upstreams are a number', () => {
    const pools = { api: poolOf() };
    expect(() => healthEndpoint({ pools, atLeast: -1 })).toThrow(
      'healthEndpoint: atLeast must be a whole number of at least 0, received -1',
    );
    expect(() => healthEndpoint({ pools, atLeast: { api: 0.5 } })).toThrow(
      'healthEndpoint: atLeast.api must be a whole number of at least 0, received 0.5',
    );
  });
});

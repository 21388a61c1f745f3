import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import { forwardProxy, proxyPass, rateLimiter } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import {
  appOf,
  type Framework,
  listen,
  type Middleware,
  OK,
  rawUpstream,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Whether V8 makes a hidden class for each object that gets a field after its prototype was changed. */
const GROWS_SLOWLY = Number.parseInt(process.versions.node, 10) < 24;

/** What Express puts on a request before it changes the prototype. */
const EARLY: readonly PropertyKey[] = ['res', 'query'];

interface Seen {
  readonly server: Server;
  readonly port: number;
  /** What each request, and each answer, had got since its server handed it out. */
  readonly added: [ofRequest: PropertyKey[], ofAnswer: PropertyKey[]][];
}

/** A gateway that notes which fields are put on requests and answers. */
async function watched(framework: Framework, ...middleware: Middleware[]): Promise<Seen> {
  const added: Seen['added'] = [];
  const upstream = await rawUpstream(OK);
  const app = appOf(framework, ...middleware, proxyPass(upstream.url));
  const server = createServer((req, res) => {
    const before = [req, res].map(Reflect.ownKeys);
    res.once('close', () => {
      const since = (message: object, i: number) =>
        Reflect.ownKeys(message).filter((key) => !before[i]?.includes(key) && !EARLY.includes(key));
      added.push([since(req, 0), since(res, 1)]);
    });
    app(req, res);
  });
  return { server, port: await listen(server), added };
}

async function ask(port: number, times: number): Promise<void> {
  for (let i = 0; i < times; i++) expect((await rawRequest(port, GET)).body).toBe('ok');
}

describe.each(['express 5', 'express 4'] as const)('requests and answers of %s', (framework) => {
  it('get no field behind their prototype from the second on, where that makes them slow', async () => {
    const { server, port, added } = await watched(framework, rateLimiter());
    await ask(port, 3);
    await eventually('the last close', () => added.length === 3);
    const usual = [expect.arrayContaining(['next', 'params']), expect.arrayContaining(['locals'])];
    expect(added).toEqual([usual, ...Array(2).fill(GROWS_SLOWLY ? [[], []] : usual)]);
    expect(server.listenerCount('request')).toBe(GROWS_SLOWLY ? 2 : 1);
  });
});

describe.each(['connect', 'node:http'] as const)('the server of %s', (framework) => {
  it('is left alone, since nobody changes prototypes there', async () => {
    const { server, port } = await watched(framework);
    await ask(port, 2);
    expect(server.listenerCount('request')).toBe(1);
  });
});

describe('room for fields', () => {
  it('is made for forwardProxy() as well', async () => {
    const app = appOf('express 5', forwardProxy());
    const server = createServer(app);
    const port = await listen(server);
    const refused = await rawRequest(port, GET.replace(' / ', ' http://127.0.0.1:1/ '));
    expect(refused.status).toBe(403);
    expect(server.listenerCount('request')).toBe(GROWS_SLOWLY ? 2 : 1);
  });

  it('takes nothing away that a listener has put there before', async () => {
    const seen: unknown[] = [];
    const note: Middleware = (req, res, next) => {
      seen.push([req.originalUrl, res.locals.mark, res.statusMessage]);
      next?.();
    };
    const { server, port } = await watched('express 5', note);
    await ask(port, 1);
    server.prependListener('request', (req: IncomingMessage, res: ServerResponse) => {
      Object.assign(req, { originalUrl: '/before' });
      Object.assign(res, { locals: { mark: 1 }, statusMessage: 'Fine' });
    });
    await ask(port, 2);
    expect(seen.slice(1)).toEqual(Array(2).fill(['/before', 1, 'Fine']));
  });

  it('changes nothing of what Express tells of a request', async () => {
    const seen: unknown[] = [];
    const upstream = await rawUpstream(OK);
    const app = express();
    app.get('/of/:id', (req, res, next) => {
      const { originalUrl, baseUrl, params, query, path, route } = req;
      seen.push({
        originalUrl,
        baseUrl,
        params,
        query,
        path,
        route: route.path,
        code: res.statusCode,
      });
      next();
    });
    app.use(proxyPass(upstream.url));
    const port = await listen(createServer(app));
    for (let i = 0; i < 3; i++) {
      await rawRequest(port, GET.replace(' / ', ` /of/${i}?q=${i} `));
      expect(seen[i]).toEqual({
        originalUrl: `/of/${i}?q=${i}`,
        baseUrl: '',
        params: { id: `${i}` },
        query: { q: `${i}` },
        path: `/of/${i}`,
        route: '/of/:id',
        code: 200,
      });
    }
  });
});

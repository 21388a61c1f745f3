import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { beforeAll, describe, expect, it } from '@jest/globals';
import express from 'express';
import { proxyPass } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import {
  appOf,
  type Framework,
  frameworks,
  listen,
  type Middleware,
  OK,
  rawUpstream,
} from '../helpers/servers.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Whether V8 has one hidden class for both. */
let shareShape: (a: object, b: object) => boolean;

beforeAll(() => {
  setFlagsFromString('--allow-natives-syntax');
  shareShape = new Function('a', 'b', 'return %HaveSameMap(a, b)') as typeof shareShape;
});

interface Seen {
  readonly server: Server;
  readonly port: number;
  readonly requests: IncomingMessage[];
  readonly answers: ServerResponse[];
}

/** A gateway that keeps what it has seen. */
async function watched(framework: Framework, ...middleware: Middleware[]): Promise<Seen> {
  const requests: IncomingMessage[] = [];
  const answers: ServerResponse[] = [];
  const look: Middleware = (req, res, next) => {
    requests.push(req);
    answers.push(res);
    next?.();
  };
  const upstream = await rawUpstream(OK);
  const server = createServer(appOf(framework, look, ...middleware, proxyPass(upstream.url)));
  return { server, port: await listen(server), requests, answers };
}

async function ask(port: number, times: number): Promise<void> {
  for (let i = 0; i < times; i++) expect((await rawRequest(port, GET)).body).toBe('ok');
}

describe.each(frameworks)('requests and answers of %s', (framework) => {
  it('have one shape from the second on, so that reading them stays quick', async () => {
    const { port, requests, answers } = await watched(framework);
    await ask(port, 5);
    const [, , , request, lastRequest] = requests as [object, object, object, object, object];
    const [, , , answer, lastAnswer] = answers as [object, object, object, object, object];
    expect([shareShape(request, lastRequest), shareShape(answer, lastAnswer)]).toEqual([
      true,
      true,
    ]);
  });

  it('cost their server one listener at most', async () => {
    const { server, port } = await watched(framework);
    await ask(port, 4);
    expect(server.listenerCount('request')).toBeLessThanOrEqual(2);
  });
});

describe('room for fields', () => {
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

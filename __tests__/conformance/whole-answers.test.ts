import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it, jest } from '@jest/globals';
import { exchangeOf, modifyResponse, proxyPass } from 'headrace';
import { fetchWhole } from '../helpers/http.js';
import { appOf, closeAfter, type Middleware, serve } from '../helpers/servers.js';
import { eventually, settled } from '../helpers/settled.js';

/** Bodies of every kind that is sent whole: none, held until it was there, rewritten, and large. */
const kinds: Record<string, Middleware[]> = {
  'as it came': [],
  'that was rewritten': [
    modifyResponse(async (response) => {
      response.body = `${await response.text()}!`;
    }),
  ],
};

/** An upstream that answers all at once what has been asked of it meanwhile. */
async function answeringTogether(count: number): Promise<string> {
  let waiting: (() => void)[] = [];
  const { url } = await serve((req, res) => {
    waiting.push(() => {
      res.statusCode = req.url === '/none' ? 204 : 200;
      res.end(req.url === '/none' ? undefined : `body of ${req.url}`);
    });
    if (waiting.length < count) return;
    for (const answer of waiting) answer();
    waiting = [];
  });
  return url;
}

describe('answers that become ready together', () => {
  for (const [kind, pieces] of Object.entries(kinds)) {
    it(`reach each its own client, ${kind}`, async () => {
      const count = 200;
      const upstream = await answeringTogether(count);
      const { url } = await serve(appOf('express 5', ...pieces, proxyPass(upstream)));
      const paths = Array.from({ length: count }, (_, i) => (i % 10 === 0 ? '/none' : `/${i}`));
      const answers = await Promise.all(paths.map((path) => fetchWhole(url + path)));
      const end = kind === 'as it came' ? '' : '!';
      expect(answers.map(({ body }) => body.toString())).toEqual(
        paths.map((path) => (path === '/none' ? '' : `body of ${path}${end}`)),
      );
    });
  }

  it('let their listeners see the asynchronous context of their own request', async () => {
    const count = 40;
    const upstream = await answeringTogether(count);
    const request = new AsyncLocalStorage<string>();
    const seen: [string | undefined, string | undefined][] = [];
    const remember: Middleware = (req, res, next) => {
      const path: string = req.url;
      res.on('finish', () => seen.push([path, request.getStore()]));
      request.run(path, next);
    };
    const { url } = await serve(appOf('express 5', remember, proxyPass(upstream)));
    await Promise.all(Array.from({ length: count }, (_, i) => fetchWhole(`${url}/${i}`)));
    await eventually('the end of all answers', () => seen.length === count);
    expect(seen).toEqual(seen.map(([path]) => [path, path]));
  });
});

describe('an answer on its way out', () => {
  it('is left alone when somebody has ended it meanwhile', async () => {
    const { url: upstream } = await serve((_req, res) => res.end('body'));
    const errors: unknown[] = [];
    const endAtOnce: Middleware = (_req, res, next) => {
      const { writeHead } = res;
      res.on('error', (error: unknown) => errors.push(error));
      res.writeHead = (...args: unknown[]) => {
        writeHead.apply(res, args);
        queueMicrotask(() => res.end('four'));
        return res;
      };
      next();
    };
    const { url } = await serve(appOf('express 5', endAtOnce, proxyPass(upstream)));
    const { body } = await fetchWhole(url);
    expect(body.toString()).toBe('four');
    expect(errors).toEqual([]);
  });

  it('breaks its connection, and nothing else, when ending it throws', async () => {
    const { url: upstream } = await serve((_req, res) => res.end('body'));
    const failures: unknown[] = [];
    const throwing: Middleware = (req, res, next) => {
      const exchange = exchangeOf(req, res);
      exchange.onOutcome(({ outcome, failure }) => failures.push([outcome?.type, failure]));
      if (req.url === '/bad') {
        res.end = () => {
          throw new Error('no end');
        };
      }
      next();
    };
    const { url } = await serve(appOf('express 5', throwing, proxyPass(upstream)));
    const [bad, good] = await Promise.allSettled([
      fetchWhole(`${url}/bad`),
      fetchWhole(`${url}/good`),
    ]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'ECONNRESET' } });
    expect(good).toMatchObject({ status: 'fulfilled', value: { status: 200 } });
    await eventually('both ends', () => failures.length === 2);
    expect(failures).toContainEqual(['failed', new Error('no end')]);
    expect(failures).toContainEqual(['completed', undefined]);
  });

  it('is dropped without a word when its client leaves first', async () => {
    const { url: upstream } = await serve((_req, res) => res.end('body'));
    const outcomes: unknown[] = [];
    const leaving: Middleware = (req, res, next) => {
      const { writeHead } = res;
      const exchange = exchangeOf(req, res);
      exchange.onOutcome(({ outcome }) => outcomes.push(outcome?.type));
      res.writeHead = (...args: unknown[]) => {
        writeHead.apply(res, args);
        req.socket.destroy();
        return res;
      };
      next();
    };
    const { url } = await serve(appOf('express 5', leaving, proxyPass(upstream)));
    await expect(fetchWhole(url)).rejects.toMatchObject({ code: 'ECONNRESET' });
    await eventually('the end of the exchange', () => outcomes.length === 1);
    expect(outcomes).toEqual(['client-closed']);
  });

  it('keeps its place among those of one connection', async () => {
    const { url: upstream } = await serve((req, res) => {
      setTimeout(() => res.end(req.url), req.url === '/slow' ? 50 : 0);
    });
    const { port } = await serve(appOf('express 5', proxyPass(upstream)));
    const socket = connect(port, '127.0.0.1');
    closeAfter(() => socket.destroy());
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    await once(socket, 'connect');
    for (const path of ['/slow', '/b', '/c', '/d']) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`);
    }
    await eventually('the last answer', () => text.includes('/d'));
    await settled(() => text.length);
    expect([...text.matchAll(/\r\n\r\n(\/[a-z]+)/g)].map(([, path]) => path?.slice(0, 2))).toEqual([
      '/s',
      '/b',
      '/c',
      '/d',
    ]);
  });

  it('does not wait for the clock of a test', async () => {
    const { url: upstream } = await serve((_req, res) => res.end('body'));
    const { url } = await serve(appOf('express 5', proxyPass(upstream)));
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'performance'] });
    try {
      expect((await fetchWhole(url)).body.toString()).toBe('body');
    } finally {
      jest.useRealTimers();
    }
  });
});

import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import { attach } from 'headrace';
import { parseResponses, rawClient } from '../helpers/client.js';
import { serve } from '../helpers/servers.js';

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** A server with an attached app. */
async function attached(app: RequestListener) {
  const { server, port } = await serve(app);
  return { server, port, ...attach(server, app) };
}

/** A request that waits for its 100, with these lines about what it expects. */
function expecting(...lines: string[]): string {
  return ['POST / HTTP/1.1', 'Host: a', ...lines, 'Content-Length: 5', '', ''].join('\r\n');
}

describe('attach', () => {
  it('sends the 100 when something begins to read the body, and once', async () => {
    const reads: string[] = [];
    const { port } = await attached((req, res) => {
      reads.push('handler');
      req.on('data', (chunk) => reads.push(String(chunk)));
      req.on('end', () => res.end('whole'));
    });
    const client = await rawClient(port, expecting('Expect: 100-Continue'));
    await client.until((text) => text === CONTINUE);
    expect(reads).toEqual(['handler']);
    client.write('hello');
    const text = await client.until((text) => text.endsWith('whole'));
    expect(text.match(/100 Continue/g)).toHaveLength(1);
    expect(reads).toEqual(['handler', 'hello']);
  });

  it('sends none when the request is refused', async () => {
    const app = express();
    app.use((_req, res) => void res.sendStatus(403));
    const { port } = await attached(app);
    const client = await rawClient(port, expecting('Expect: 100-continue'));
    const text = await client.until((text) => text.endsWith('Forbidden'));
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
  });

  it.each([
    ['an unknown expectation', ['Expect: 200-ok']],
    ['one that only has the word in it', ['Expect: y 100-continue']],
    ['two of them', ['Expect: 100-continue', 'Expect: 100-continue']],
  ])('answers 417 to %s, and closes', async (_, lines) => {
    let calls = 0;
    const { port } = await attached((_req, res) => {
      calls++;
      res.end();
    });
    const client = await rawClient(port, expecting(...lines));
    const [response] = parseResponses(await client.closed());
    expect(response).toMatchObject({ status: 417, body: '' });
    expect(calls).toBe(0);
  });

  it.each([
    [undefined, 'received undefined'],
    [null, 'received null'],
    ['server', 'received "server"'],
    [{}, 'received an object []'],
    [express(), 'received function app'],
  ])('refuses %p for a server', (server, received) => {
    expect(() => attach(server as never, () => {})).toThrow(
      new TypeError(`attach: server must be an http or https server, ${received}`),
    );
  });

  it('refuses what is no app', () => {
    expect(() => attach(createServer(), {} as never)).toThrow(
      new TypeError('attach: app must be a function, received an object []'),
    );
  });
});

describe('close', () => {
  it('takes no new connections, and leaves the events to others', async () => {
    const { server, port, close } = await attached((_req, res) => res.end());
    await close();
    expect(server.listening).toBe(false);
    expect(server.listenerCount('checkContinue')).toBe(0);
    expect(server.listenerCount('checkExpectation')).toBe(0);
    await expect(rawClient(port)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('called twice, resolves both times when all has ended', async () => {
    const ended: string[] = [];
    let arrive: (res: ServerResponse) => void = () => {};
    const arrival = new Promise<ServerResponse>((resolve) => {
      arrive = resolve;
    });
    const { port, close } = await attached((_req, res) => arrive(res));
    await rawClient(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const res = await arrival;
    res.once('finish', () => ended.push('answer'));
    const first = close().then(() => ended.push('first'));
    const second = close().then(() => ended.push('second'));
    res.end('done');
    await Promise.all([first, second]);
    expect(ended[0]).toBe('answer');
    expect(ended).toHaveLength(3);
  });

  it('of a server that never listened, or is closed, resolves', async () => {
    const server = createServer();
    const { close } = attach(server, () => {});
    await close();
    await close();
    const { server: other, close: closeOther } = await attached((_req, res) => res.end());
    await new Promise((resolve) => other.close(resolve));
    await closeOther();
  });
});

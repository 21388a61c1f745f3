import { createServer } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { exchangeOf, modifyResponse, type ProxyPassOptions, proxyPass } from 'headrace';
import { blackHole } from '../helpers/black-hole.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { checkDefaultAnswers, checkErrors, SECRET, saying } from '../helpers/failing.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, frameworks, gateway, listen, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';
const OK_HEAD = 'HTTP/1.1 200 OK\r\n';
const UPLOAD_OF_5 = 'POST /path HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n\r\n';

type Timeout = readonly [
  what: string,
  target: () => Promise<string>,
  code: string,
  options: ProxyPassOptions,
];

const timeouts: readonly Timeout[] = [
  [
    'no connection in time',
    async () => (await blackHole()).url,
    'ERR_PROXY_CONNECT_TIMEOUT',
    { connectTimeoutMs: 50 },
  ],
  [
    'no TLS in time',
    async () => `https://127.0.0.1:${(await rawUpstream(() => undefined)).port}`,
    'ERR_PROXY_CONNECT_TIMEOUT',
    { connectTimeoutMs: 50 },
  ],
  ['no head in time', saying(''), 'ERR_PROXY_HEADERS_TIMEOUT', { headersTimeoutMs: 50 }],
  [
    'half a head in time',
    saying(`${OK_HEAD}X-${SECRET}: 1`),
    'ERR_PROXY_HEADERS_TIMEOUT',
    { headersTimeoutMs: 50 },
  ],
];

describe.each(timeouts)('an upstream with %s', (_what, target, code, options) => {
  it(`is ${code}, 504, to next(err), exactly once, and 504 by default answers that say nothing`, async () => {
    await Promise.all([
      checkErrors(await target(), code, 504, options),
      checkDefaultAnswers(await target(), 504, options),
    ]);
  });
});

/** undici 8 keeps the limits itself, to within two seconds. */
const isPrompt = process.env.HEADRACE_UNDICI !== '8';

/** How long each of several requests takes to fail, in order. */
async function timesToFail(target: string, options: ProxyPassOptions): Promise<number[]> {
  const { port } = await gateway('express 5', proxyPass(target, options));
  const one = async () => {
    const begin = performance.now();
    expect((await rawRequest(port, GET)).status).toBe(504);
    return performance.now() - begin;
  };
  const took = await Promise.all(Array.from({ length: 8 }, one));
  return took.sort((a, b) => a - b);
}

describe('the limit of a connection', () => {
  it('is kept: never early, and not much later', async () => {
    const { url } = await blackHole();
    const [first = 0] = await timesToFail(url, { connectTimeoutMs: 200 });
    expect(first).toBeGreaterThanOrEqual(199);
    expect(first).toBeLessThan(800);
  });
});

describe('the limit of a head', () => {
  it('is kept: never early, and not much later', async () => {
    const [first = 0] = await timesToFail(await saying('')(), { headersTimeoutMs: 200 });
    expect(first).toBeGreaterThanOrEqual(200);
    if (isPrompt) expect(first).toBeLessThan(800);
  });

  it('begins anew with each interim response', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      const words = ['', '', '', '', `${OK_HEAD}Content-Length: 2\r\n\r\nok`];
      const timer = setInterval(() => {
        socket.write(words.shift() || 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
        if (words.length === 0) clearInterval(timer);
      }, 200);
      closeAfter(() => clearInterval(timer));
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url, { headersTimeoutMs: 600 }));
    const client = await rawClient(port, GET);
    await client.until((text) => text.endsWith('ok'));
    expect(client.received()).toContain('HTTP/1.1 200 OK');
  });

  it('leaves a slow upload alone, and begins behind it', async () => {
    const upstream = await rawUpstream((request) =>
      request.includes('12345') ? `${OK_HEAD}Content-Length: 2\r\n\r\nok` : undefined,
    );
    const { port } = await gateway('express 5', proxyPass(upstream.url, { headersTimeoutMs: 300 }));
    const client = await rawClient(port, UPLOAD_OF_5);
    for (const digit of '12345') {
      await new Promise((resolve) => setTimeout(resolve, 450));
      client.write(digit);
    }
    await client.until((text) => text.endsWith('ok'));
    expect(client.received()).toContain('HTTP/1.1 200 OK');

    const silent = await rawUpstream(() => undefined);
    const other = await gateway('express 5', proxyPass(silent.url, { headersTimeoutMs: 300 }));
    const begin = performance.now();
    expect((await rawRequest(other.port, `${UPLOAD_OF_5}12345`)).status).toBe(504);
    expect(performance.now() - begin).toBeGreaterThanOrEqual(300);
  });

  it('counts against an upstream that does not take the upload', async () => {
    const server = createServer({ pauseOnConnect: true }, (socket) =>
      closeAfter(() => socket.destroy()),
    );
    const url = `http://127.0.0.1:${await listen(server)}`;
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', proxyPass(url, { headersTimeoutMs: 300 }), record);
    const client = await rawClient(
      port,
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99000000\r\n\r\n',
    );
    client.write(Buffer.alloc(20_000_000));
    await eventually('the error', () => errors.length > 0);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_HEADERS_TIMEOUT']);
  });
});

describe('a body that stands still', () => {
  it('breaks the connection when the head has gone out', async () => {
    const upstream = await rawUpstream(`${OK_HEAD}Content-Length: 100\r\n\r\nbegin`);
    const { errors, record } = recordErrors();
    const outcomes: unknown[] = [];
    const checks = frameworks.map(async (framework) => {
      const { port } = await gateway(
        framework,
        (req, res, next) => {
          exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome));
          next();
        },
        proxyPass(upstream.url, { bodyTimeoutMs: 50 }),
        record,
      );
      const client = await rawClient(port, GET);
      const received = await client.closed();
      expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(received).toMatch(/\r\n\r\nbegin$/);
    });
    await Promise.all(checks);
    expect(errors).toEqual([]);
    const failed = { type: 'failed', error: { code: 'ERR_PROXY_BODY_TIMEOUT', status: 504 } };
    expect(outcomes).toMatchObject(frameworks.map(() => failed));
  });

  it('is 504 while an edit still reads it', async () => {
    const upstream = await rawUpstream(`${OK_HEAD}Content-Length: 100\r\n\r\nbegin`);
    const { errors, record } = recordErrors();
    const { port } = await gateway(
      'express 5',
      modifyResponse(async (response) => void (await response.text())),
      proxyPass(upstream.url, { bodyTimeoutMs: 50 }),
      record,
    );
    expect((await rawRequest(port, GET)).status).toBe(504);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_BODY_TIMEOUT']);
  });

  it('may take longer as a whole, as long as it moves', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      socket.write(`${OK_HEAD}Content-Length: 10\r\n\r\n`);
      let left = 10;
      const timer = setInterval(() => {
        socket.write('x');
        if (--left === 0) clearInterval(timer);
      }, 250);
      closeAfter(() => clearInterval(timer));
      return undefined;
    });
    const { port } = await gateway('express 5', proxyPass(upstream.url, { bodyTimeoutMs: 1_000 }));
    expect((await rawRequest(port, GET)).body).toBe('x'.repeat(10));
  });

  it('of which a chunk is garbage breaks the connection', async () => {
    const upstream = await rawUpstream(
      `${OK_HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\nno size\r\n`,
    );
    const { port } = await gateway('express 5', proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.closed();
    expect(client.received()).not.toMatch(/\r\n0\r\n\r\n$/);
  });
});

import { describe, expect, it } from '@jest/globals';
import { exchangeOf, modifyResponse, type ProxyPassOptions, proxyPass } from 'headrace';
import { blackHole } from '../helpers/black-hole.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { checkDefaultAnswers, checkErrors, SECRET, saying } from '../helpers/failing.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, frameworks, gateway, rawUpstream } from '../helpers/servers.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';
const OK_HEAD = 'HTTP/1.1 200 OK\r\n';

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

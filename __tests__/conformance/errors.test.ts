import { createServer, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import {
  CircuitOpenError,
  exchangeOf,
  loadBalancer,
  type ProxyErrorsOptions,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { checkDefaultAnswers, checkErrors, SECRET, saying } from '../helpers/failing.js';
import { recordErrors } from '../helpers/record-errors.js';
import {
  closedPort,
  frameworks,
  gateway,
  listen,
  type Middleware,
  rawUpstream,
  refusing,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';

const ends = (socket: Socket): unknown => socket.end();
const OK_HEAD = 'HTTP/1.1 200 OK\r\n';

/** The port of a server that speaks first. */
function greeting(words: string): Promise<number> {
  return listen(
    createServer(
      (socket) =>
        void socket
          .on('error', () => {})
          .resume()
          .end(words),
    ),
  );
}

type Failure = readonly [what: string, target: () => Promise<string>, code: string, status: number];

const failures: readonly Failure[] = [
  ['refused', refusing, 'ERR_PROXY_CONNECT', 502],
  // A label of 64 characters is no name, so nobody has to be asked for it.
  ['unresolvable', async () => `http://${'s'.repeat(64)}.invalid`, 'ERR_PROXY_CONNECT', 502],
  // No TCP connection goes there: the kernel says so without asking the network.
  ['unreachable', async () => 'http://255.255.255.255', 'ERR_PROXY_CONNECT', 502],
  ['no such socket', async () => 'unix:/tmp/s3cret/none.sock', 'ERR_PROXY_CONNECT', 502],
  [
    'TLS refused',
    async () => `https://127.0.0.1:${await greeting(`${SECRET} is no TLS`)}`,
    'ERR_PROXY_CONNECT',
    502,
  ],
  ['closed without a word', saying('', ends), 'ERR_PROXY_RESET', 502],
  ['reset', saying('', (socket) => socket.resetAndDestroy()), 'ERR_PROXY_RESET', 502],
  ['closed within the head', saying(`${OK_HEAD}X-${SECRET}: 1`, ends), 'ERR_PROXY_RESET', 502],
  [
    'reset within the head',
    saying(`${OK_HEAD}X-${SECRET}: 1`, (socket) => socket.resetAndDestroy()),
    'ERR_PROXY_RESET',
    502,
  ],
  ['garbage', saying(`${SECRET} is no HTTP\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['garbage and an end', saying(`${SECRET} is no HTTP`, ends), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['bytes that are no text', saying('\x00\xff\x15\x03'), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['another protocol', saying(`ICY 200 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['no status', saying(`HTTP/1.1 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['status 000', saying(`HTTP/1.1 000 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['status 99', saying(`HTTP/1.1 99 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['status 999', saying(`HTTP/1.1 999 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['status 1000', saying(`HTTP/1.1 1000 ${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['a bad field', saying(`${OK_HEAD}${SECRET} no colon\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['a bad length', saying(`${OK_HEAD}Content-Length: -1\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  ['NUL in a field', saying(`${OK_HEAD}X: \x00${SECRET}\r\n\r\n`), 'ERR_PROXY_BAD_RESPONSE', 502],
  [
    'a flood of header bytes',
    saying(`${OK_HEAD}X: ${SECRET.repeat(20_000)}\r\n\r\n`),
    'ERR_PROXY_BAD_RESPONSE',
    502,
  ],
  [
    'a flood of header fields',
    saying(`${OK_HEAD}${`X: ${SECRET}\r\n`.repeat(300)}\r\n`),
    'ERR_PROXY_BAD_RESPONSE',
    502,
  ],
  [
    'a header that never ends',
    saying(OK_HEAD, function pour(socket): void {
      if (socket.writable) socket.write(`X: ${SECRET.repeat(2_000)}\r\n`, () => pour(socket));
    }),
    'ERR_PROXY_BAD_RESPONSE',
    502,
  ],
];

describe.each(failures)('an upstream with %s', (_what, target, code, status) => {
  it(`is ${code}, ${status}, to next(err), exactly once`, async () => {
    await checkErrors(await target(), code, status);
  });

  it(`is ${status} by the default answers, and these say nothing of it`, async () => {
    await checkDefaultAnswers(await target(), status);
  });
});

describe('an error', () => {
  it('is shown as the own error middleware of the app decides', async () => {
    const show: Middleware = (error, _req, res, _next) => {
      res.statusCode = 418;
      res.end(`sorry, ${error.code}`);
    };
    for (const framework of frameworks) {
      const url = await refusing();
      const { port } = await gateway(framework, proxyPass(url), show);
      const res = await rawRequest(port, GET);
      expect([res.status, res.body]).toEqual([418, 'sorry, ERR_PROXY_CONNECT']);
    }
  });

  it('can be made up for by another pipeline', async () => {
    const spare = await rawUpstream();
    const outcomes: unknown[] = [];
    const useSpare = proxyPass(spare.url);
    const { port } = await gateway(
      'express 5',
      (req, res, next) => {
        exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
        next();
      },
      proxyPass(await refusing()),
      (_error, req, res, next) => useSpare(req, res, next),
    );
    expect((await rawRequest(port, GET)).body).toBe('ok');
    expect(outcomes).toEqual(['completed']);
  });

  it('brings Retry-After along, in the default answer of Express too', async () => {
    const { port } = await gateway('express 5', (_req, _res, next) =>
      next(new CircuitOpenError({ headers: { 'retry-after': '7' } })),
    );
    const res = await rawRequest(port, GET);
    expect([res.status, res.header('retry-after')]).toEqual([503, '7']);
  });

  it('for want of an upstream is 503', async () => {
    for (const framework of frameworks) {
      const { errors, record } = recordErrors();
      const { port } = await gateway(
        framework,
        loadBalancer({ upstreams: [] }),
        proxyPass(),
        record,
      );
      expect((await rawRequest(port, GET)).status).toBe(503);
      expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_NO_UPSTREAM']);
    }
  });

  it('shows no secret of the upstream to whoever prints or spreads it', async () => {
    const port = await closedPort();
    const { errors, record } = recordErrors();
    const url = `http://user:${SECRET}@127.0.0.1:${port}`;
    const { port: gatewayPort } = await gateway('express 5', proxyPass(url), record);
    await rawRequest(gatewayPort, GET);
    const [error] = errors;
    expect(JSON.stringify({ ...error, upstream: error?.upstream })).not.toContain(SECRET);
    expect(`${error?.stack} ${error?.upstream}`).not.toContain(SECRET);
  });
});

describe.each(frameworks)('proxyErrors() in %s', (framework) => {
  it.each([
    ['application/json', /^application\/problem\+json/],
    ['text/html,application/xhtml+xml,*/*;q=0.8', /^text\/html/],
    ['text/plain', /^text\/plain/],
    ['image/png', /^text\/plain/],
    ['text/html;q=0.1, application/problem+json', /^application\/problem\+json/],
  ])('answers a client that accepts %s in its language', async (accept, type) => {
    const upstream = await saying(`HTTP/1.1 ${SECRET}\r\n\r\n`)();
    const logged: unknown[] = [];
    const log: ProxyErrorsOptions['log'] = ({ code }, { url }, attempts) => {
      logged.push(code, url, attempts.length, attempts[0]?.upstream.url);
    };
    const { port } = await gateway(framework, proxyPass(upstream), proxyErrors({ log }));
    const res = await rawRequest(port, GET.replace('\r\n\r\n', `\r\nAccept: ${accept}\r\n\r\n`));
    expect(res.status).toBe(502);
    expect(res.header('content-type')).toMatch(type);
    expect(res.body).toMatch(/invalid response/);
    expect(res.body).not.toMatch(/s3cret|127\.0\.0\.1/);
    expect(logged).toEqual(['ERR_PROXY_BAD_RESPONSE', '/path', 1, upstream]);
  });

  it('says when to come again, where that is known', async () => {
    const open: Middleware = (_req, _res, next) =>
      next(new CircuitOpenError({ headers: { 'retry-after': '7' } }));
    const { port } = await gateway(framework, open, proxyErrors());
    const res = await rawRequest(port, GET);
    expect([res.status, res.header('retry-after')]).toEqual([503, '7']);
  });
});

describe('a request that is refused, and its connection closed', () => {
  it.each([
    ['POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: identity\r\n\r\n', 501],
    ['POST / HTTP/1.0\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
  ])('has failed, and its client has not left: %j', async (request, status) => {
    const outcomes: string[] = [];
    const watch: Middleware = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      next();
    };
    const target = (await rawUpstream()).url;
    const { port } = await gateway('express 5', watch, proxyPass(target), proxyErrors());
    expect((await rawRequest(port, request)).status).toBe(status);
    await eventually('the outcome', () => outcomes.length === 1);
    expect(outcomes).toEqual(['failed']);
  });
});

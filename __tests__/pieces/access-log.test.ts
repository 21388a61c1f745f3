import { describe, expect, it, jest } from '@jest/globals';
import {
  type AccessLogOptions,
  type AccessRecord,
  accessLog,
  exchangeOf,
  fallback,
  type Handler,
  loadBalancer,
  proxyErrors,
  proxyPass,
  requestId,
  retry,
} from 'headrace';
import pino from 'pino';
import { rawClient, rawRequest } from '../helpers/client.js';
import { testClock } from '../helpers/exchanges.js';
import { request, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** What a log has got. */
interface Written {
  readonly records: AccessRecord[];
  readonly messages: (string | undefined)[];
  readonly log: Handler;
  /** The first record. */
  first(): Promise<AccessRecord>;
}

function logging(options: Partial<AccessLogOptions> = {}): Written {
  const records: AccessRecord[] = [];
  const messages: (string | undefined)[] = [];
  const logger = {
    info(record: AccessRecord, message: string) {
      records.push(record);
      messages.push(message);
    },
  };
  const first = async (): Promise<AccessRecord> => {
    await eventually('a record', () => records.length > 0);
    return records[0] as AccessRecord;
  };
  return { records, messages, log: accessLog({ logger, ...options }), first };
}

/** The record of one request, sent through middleware. */
async function recordOf(bytes: string, ...middleware: Middleware[]): Promise<AccessRecord> {
  const { log, first } = logging();
  const { port } = await gateway('express 5', log, ...middleware, proxyErrors());
  await rawRequest(port, bytes);
  return first();
}

const GET = request('GET /page');
const REFUSED = 'http://127.0.0.1:1';
const DOWN = 'HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\ndown';

describe('accessLog', () => {
  it.each(frameworks)('has a record of what came and went in %s', async (framework) => {
    const upstream = await rawUpstream();
    const { log, first, messages } = logging();
    const { port } = await gateway(framework, log, proxyPass(`${upstream.url}/base`));
    const began = Date.now();
    const bytes = upload(
      'PUT /page?a=1&token=s3cret',
      ['User-Agent: me', 'Referer: http://b/?code=s3cret'],
      'hello',
    );
    await rawRequest(port, bytes);
    const record = await first();
    const times = { connectMs: expect.any(Number), headMs: expect.any(Number) };
    expect(record).toEqual({
      outcome: 'completed',
      status: 200,
      method: 'PUT',
      url: '/page?a=1&token=***',
      httpVersion: '1.1',
      path: '/base/page?a=1&token=***',
      upstream: `${upstream.url}/base`,
      error: undefined,
      cause: undefined,
      degraded: false,
      attempts: [{ upstream: `${upstream.url}/base`, status: 200, ...times }],
      retries: 0,
      bytesSent: 5,
      bytesReceived: 2,
      startedAt: expect.any(Number),
      durationMs: expect.any(Number),
      queueMs: expect.any(Number),
      ...times,
      client: '127.0.0.1',
      user: undefined,
      userAgent: 'me',
      referer: 'http://b/?code=***',
      requestId: undefined,
      traceId: undefined,
    });
    expect(messages).toEqual(['PUT /page?a=1&token=*** 200']);
    const { startedAt, durationMs, queueMs = NaN, connectMs = NaN, headMs = NaN } = record;
    expect(startedAt).toBeGreaterThanOrEqual(began - 1);
    expect(startedAt).toBeLessThanOrEqual(Date.now());
    expect(queueMs + connectMs).toBeLessThanOrEqual(headMs + 0.001);
    expect(headMs).toBeLessThanOrEqual(durationMs + 0.001);
  });

  it('has the whole URL where the pipeline is mounted, and the path that was sent', async () => {
    const { url } = await rawUpstream();
    const { log, first } = logging();
    const express = await import('express');
    const app = express.default().use('/api', log, proxyPass(url));
    const { port } = await serve(app);
    await rawRequest(port, request('GET /api/page?a=1'));
    expect(await first()).toMatchObject({ url: '/api/page?a=1', path: '/page?a=1' });
  });

  it('tells of each try', async () => {
    const [down, up] = [await rawUpstream(DOWN), await rawUpstream()];
    const balancer = loadBalancer({
      upstreams: [REFUSED, down.url, up.url],
      strategy: { pick: ([first]) => first },
    });
    const record = await recordOf(GET, balancer, retry({ backoff: { baseMs: 0 } }), proxyPass());
    expect(record).toMatchObject({ status: 200, upstream: up.url, error: undefined, retries: 2 });
    expect(record.attempts).toMatchObject([
      { upstream: REFUSED, error: 'ERR_PROXY_CONNECT', status: undefined, connectMs: undefined },
      { upstream: down.url, status: 503, error: undefined },
      { upstream: up.url, status: 200, error: undefined },
    ]);
  });

  it('tells of failures, of what a fallback made up for, and of what never left', async () => {
    const failed = await recordOf(GET, proxyPass(REFUSED));
    const error = 'ERR_PROXY_CONNECT';
    const cause = 'ECONNREFUSED';
    expect(failed).toMatchObject({
      outcome: 'failed',
      status: 502,
      error,
      upstream: REFUSED,
      cause,
    });
    expect(failed.attempts).toMatchObject([{ error, cause }]);
    const degraded = await recordOf(
      GET,
      fallback(() => ({ body: 'stale' })),
      proxyPass(REFUSED),
    );
    expect(degraded).toMatchObject({ outcome: 'completed', status: 200, error, degraded: true });
    const unsent = await recordOf(GET, loadBalancer({ upstreams: [] }), proxyPass());
    expect(unsent).toMatchObject({ outcome: 'failed', status: 503, attempts: [], retries: 0 });
    expect(unsent).toMatchObject({ path: undefined, upstream: undefined, headMs: undefined });
    const local = await recordOf(GET, (_req, res) => res.status(404).end());
    expect(local).toMatchObject({ outcome: 'completed', status: 404, error: undefined });
  });

  it('tells of an answer that broke off', async () => {
    const { url } = await rawUpstream((_request, socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
      return undefined;
    });
    const { log, first } = logging();
    const { port } = await gateway('express 5', log, proxyPass(url));
    await (await rawClient(port, GET)).closed();
    const record = await first();
    expect(record).toMatchObject({ outcome: 'failed', status: 200, error: 'ERR_PROXY_RESET' });
    expect(record.attempts).toMatchObject([{ status: 200, error: 'ERR_PROXY_RESET' }]);
  });

  it('tells of clients that leave, who they were, and how far it had come', async () => {
    let arrived = (): void => {};
    const asked = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { url } = await rawUpstream(() => void arrived());
    const { log, first } = logging();
    const { port } = await gateway('express 5', log, proxyPass(url));
    const client = await rawClient(port, GET);
    await asked;
    client.socket.destroy();
    expect(await first()).toMatchObject({
      outcome: 'client-closed',
      status: 499,
      error: 'ERR_PROXY_CLIENT_CLOSED',
      client: '127.0.0.1',
      upstream: url,
      headMs: undefined,
    });
  });

  it('answers when the function for it throws, and has a record all the same', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const { log, first } = logging({
      trust: () => {
        throw new Error('trust is broken');
      },
    });
    const { port } = await gateway('node:http', log, proxyPass((await rawUpstream()).url));
    const xff = 'GET / HTTP/1.1\r\nHost: gateway\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n';
    expect((await rawRequest(port, xff)).status).toBe(200);
    expect(await first()).toMatchObject({ status: 200 });
    expect(warned).toHaveBeenCalled();
    warned.mockRestore();
  });

  it('believes trusted proxies alone about the client, and only addresses', async () => {
    const clientOf = async (trust: AccessLogOptions['trust'], xff: string) => {
      const { log, first } = logging({ trust });
      const { port } = await gateway('node:http', log, (_req, res) => res.end());
      await rawRequest(port, request('GET /', [`X-Forwarded-For: ${xff}`]));
      return (await first()).client;
    };
    expect(await clientOf('loopback', '203.0.113.7')).toBe('203.0.113.7');
    expect(await clientOf('loopback', 'evil" - -')).toBe('127.0.0.1');
    expect(await clientOf(undefined, '203.0.113.7')).toBe('127.0.0.1');
  });

  it('never has credentials in it', async () => {
    const { origin } = new URL((await rawUpstream()).url);
    const { host } = new URL(origin);
    const lines: string[] = [];
    const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
    const { port } = await gateway(
      'express 5',
      accessLog({ logger }),
      accessLog({ logger, format: 'combined' }),
      proxyPass(`http://user:s3cret@${host}/?api_key=s3cret`),
    );
    const secrets = ['Authorization: Bearer s3cret', 'Cookie: id=s3cret', 'X-Api-Key: s3cret'];
    await rawRequest(port, request('GET /?password=s3cret', secrets));
    await eventually('two lines', () => lines.length === 2);
    await rawRequest(port, request('GET http://ada:s3cret@app.example/?password=s3cret', secrets));
    await eventually('four lines', () => lines.length === 4);
    expect(lines.join('')).not.toContain('s3cret');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      url: '/?password=***',
      path: '/?api_key=***&password=***',
      upstream: `${origin}/?api_key=***`.replace('/?', '?'),
      msg: 'GET /?password=*** 200',
      level: 30,
    });
    expect(JSON.parse(lines[2] ?? '')).toMatchObject({
      url: 'http://app.example/?password=***',
      error: 'ERR_PROXY_BAD_REQUEST',
    });
  });

  it('writes one line in the formats that analysers know, with the bytes of the answer', async () => {
    const { url } = await rawUpstream();
    const written: string[] = [];
    const logger = { info: (line: unknown) => void written.push(String(line)) };
    const own: Middleware = (req, res, next) => (req.url === '/own' ? res.send('my own') : next());
    const { port } = await gateway(
      'express 5',
      accessLog({ logger, format: 'combined' }),
      accessLog({ logger, format: 'common' }),
      accessLog({ logger, format: ({ status }) => `it was ${status}` }),
      own,
      proxyPass(url),
    );
    await rawRequest(port, request('GET /page', ['User-Agent: "x"']));
    await rawRequest(port, request('GET /own'));
    await eventually('all lines', () => written.length === 6);
    const head = /^127\.0\.0\.1 - - \[\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d \+0000\] /;
    expect(written.map((line) => line.replace(head, ''))).toEqual([
      '"GET /page HTTP/1.1" 200 2 "-" "\\x22x\\x22"',
      '"GET /page HTTP/1.1" 200 2',
      'it was 200',
      '"GET /own HTTP/1.1" 200 6 "-" "-"',
      '"GET /own HTTP/1.1" 200 6',
      'it was 200',
    ]);
  });

  it('leaves out what the filter does not want, and asks for the level of the rest', async () => {
    const seen: string[] = [];
    const logger = {
      info: ({ url }: AccessRecord) => void seen.push(`info ${url}`),
      warn: ({ url }: AccessRecord) => void seen.push(`warn ${url}`),
    };
    const log = accessLog({
      logger,
      level: ({ status }) => (status < 400 ? 'info' : 'warn'),
      filter: ({ req }) => req.url !== '/health',
    });
    const end: Middleware = (req, res) => res.status(req.url === '/bad' ? 400 : 200).end();
    const { port } = await gateway('express 5', log, end);
    for (const path of ['/good', '/health', '/bad']) await rawRequest(port, request(`GET ${path}`));
    await eventually('two records', () => seen.length === 2);
    expect(seen).toEqual(['info /good', 'warn /bad']);
  });

  it('has the id of the request and of its user, where pieces know them', async () => {
    const identify: Handler = (req, res, next) => {
      exchangeOf(req, res).identity = { subject: 'ada', claims: {}, scheme: 'basic' };
      next?.();
    };
    const record = await recordOf(GET, requestId({ generate: () => 'r-1' }), identify);
    expect(record).toMatchObject({ requestId: 'r-1', user: 'ada' });
  });
});

describe('a logger that fails', () => {
  it.each([
    ['throws', (): never => raise()],
    ['rejects', async (): Promise<never> => raise()],
  ])('touches no request when it %s, and is told of once a window', async (_, info) => {
    const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      const now = testClock();
      let calls = 0;
      const logger = {
        info: () => {
          calls += 1;
          return info();
        },
      };
      const end: Middleware = (_req, res) => res.end('fine');
      const { port } = await gateway('express 5', accessLog({ logger, now }), end);
      const ask = async (): Promise<void> => {
        const before = calls;
        expect((await rawRequest(port, GET)).body).toBe('fine');
        await eventually('the record', () => calls > before);
      };
      await ask();
      await ask();
      now.advance(10_000);
      await ask();
      await eventually('two warnings', () => emitted.mock.calls.length >= 2);
      const warning = { type: 'HeadraceWarning', code: 'HEADRACE_ACCESS_LOG' };
      expect(emitted.mock.calls).toEqual([
        ['The logger of accessLog() threw', expect.objectContaining(warning)],
        ['The logger of accessLog() threw', expect.objectContaining(warning)],
      ]);
    } finally {
      emitted.mockRestore();
    }
  });

  it('is one, too, that has no method for a level', async () => {
    const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      const log = accessLog({ logger: { info() {} }, level: () => 'loud' });
      const { port } = await gateway('express 5', log, (_req, res) => res.end('fine'));
      expect((await rawRequest(port, GET)).body).toBe('fine');
      await eventually('a warning', () => emitted.mock.calls.length === 1);
    } finally {
      emitted.mockRestore();
    }
  });
});

describe('a function that is async', () => {
  it.each(['filter', 'level', 'format'])('as %s, is warned of', async (name) => {
    const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => emitted.mockRestore());
    let calls = 0;
    const logger = { info: () => (calls += 1) };
    const given = async (): Promise<never> => Promise.reject(new Error('of the user'));
    const log = accessLog({ logger, [name]: given });
    const { port } = await gateway('express 5', log, (_req, res) => res.end('fine'));
    expect((await rawRequest(port, GET)).body).toBe('fine');
    await eventually('a warning', () => emitted.mock.calls.length > 0);
    const detail = expect.stringContaining(
      `accessLog: ${name}() must not be async, it returned a promise`,
    );
    expect(emitted.mock.calls[0]?.[1]).toMatchObject({ detail });
    expect(calls).toBe(0);
  });
});

describe('accessLog options', () => {
  const logger = { info() {} };

  it.each([
    [undefined, 'accessLog: options must be an object, received undefined'],
    [{}, 'accessLog: logger must be an object with methods, received undefined'],
    [console, 'accessLog: the logger is an option: accessLog({ logger: console })'],
    [{ logger: 'pino' }, 'accessLog: logger must be an object with methods, received "pino"'],
    [{ logger: {} }, 'accessLog: logger.info must be a function, received undefined'],
    [{ logger, level: 'trace' }, 'accessLog: logger.trace must be a function, received undefined'],
    [{ logger, level: 30 }, 'accessLog: level must be a name or a function, received 30'],
    [
      { logger, format: 'json' },
      'accessLog: format must be one of "record", "combined", "common", received "json"',
    ],
    [{ logger, filter: true }, 'accessLog: filter must be a function, received true'],
    [{ logger, redact: 'token' }, 'accessLog: redact must be an array of names, received "token"'],
    [{ logger, trust: ['x'] }, 'accessLog: trust[0] must be an address or a range, received "x"'],
    [{ logger, now: 1 }, 'accessLog: now must be a function, received 1'],
    [{ logger, formt: 'common' }, 'accessLog: unknown option "formt", did you mean "format"?'],
  ])('%j are refused', (options, message) => {
    expect(() => accessLog(options as never)).toThrow(message);
  });
});

function raise(): never {
  throw new Error('the disk is full');
}

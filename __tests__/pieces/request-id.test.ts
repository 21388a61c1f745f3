import { describe, expect, it } from '@jest/globals';
import express from 'express';
import { exchangeOf, proxyErrors, proxyPass, type RequestIdOptions, requestId } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { onlyRequest, request } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';

const UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;
const REFUSED = 'http://127.0.0.1:1';

/** The id that a request with these fields gets. */
async function idFor(options: RequestIdOptions, ...fields: string[]): Promise<string | undefined> {
  const show: Middleware = (req, res) => res.end(exchangeOf(req, res).requestId);
  const { port } = await gateway('express 5', requestId(options), show);
  const { body, header } = await rawRequest(port, request('GET /', fields));
  expect(header(options.header ?? 'x-request-id')).toBe(body);
  return body;
}

describe('requestId', () => {
  it.each(frameworks)('goes to the upstream and back, in %s', async (framework) => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 2\r\n\r\nok',
    );
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await gateway(framework, requestId(), pass);
    const answer = await rawRequest(
      port,
      request('GET /', ['X-Request-Id: mine', 'X_Request_Id: b']),
    );
    const ids = answer.headers.filter(([name]) => name.toLowerCase() === 'x-request-id');
    expect(ids).toEqual([['X-Request-Id', expect.stringMatching(UUID)]]);
    const sent = onlyRequest(upstream);
    expect(sent.lines('x-request-id')).toEqual([ids[0]?.[1]]);
    expect(sent.lines('x_request_id')).toEqual([]);
  });

  it.each(frameworks)('is on the answers to errors, in %s', async (framework) => {
    for (const last of [[], [proxyErrors()]]) {
      const middleware = [requestId(), proxyPass(REFUSED), ...last];
      const { port } = await gateway(framework, ...middleware);
      const { status, header } = await rawRequest(port, request('GET /'));
      expect([status, header('x-request-id')]).toEqual([502, expect.stringMatching(UUID)]);
    }
  });

  it('is on the answers to errors of the app, and on its own answers', async () => {
    const broken: Middleware = (req, res, next) => {
      if (req.url === '/broken') next(Object.assign(new Error('no'), { status: 403 }));
      else res.writeHead(201, { 'X-Own': '1' }).end();
    };
    const { port } = await gateway('express 5', requestId(), broken);
    for (const [path, status] of [
      ['/broken', 403],
      ['/', 201],
    ] as const) {
      const answer = await rawRequest(port, request(`GET ${path}`));
      expect([answer.status, answer.header('x-request-id')]).toEqual([
        status,
        expect.stringMatching(UUID),
      ]);
    }
  });

  it('is taken over from trusted peers alone', async () => {
    const given = 'X-Request-Id: edge-1';
    expect(await idFor({ trust: 'loopback' }, given)).toBe('edge-1');
    expect(await idFor({ trust: true }, given)).toBe('edge-1');
    expect(await idFor({ trust: ['10.0.0.0/8'] }, given)).toMatch(UUID);
    expect(await idFor({}, given)).toMatch(UUID);
    const show: Middleware = (_req, res) => res.end();
    const app = express().set('trust proxy', 'loopback').use(requestId(), show);
    const { port } = await serve(app);
    const { header } = await rawRequest(port, request('GET /', [given]));
    expect(header('x-request-id')).toBe('edge-1');
  });

  it.each(['a b', 'a"b', 'a,b', '<script>', 'a;b', 'é', '', 'a'.repeat(129)])(
    'is made anew where a trusted peer sends %p',
    async (id) => {
      expect(await idFor({ trust: true }, `X-Request-Id: ${id}`)).toMatch(UUID);
    },
  );

  it('takes what UUIDs, ULIDs and trace headers consist of, up to 128 characters', async () => {
    for (const id of ['a'.repeat(128), 'Root=1-67891233-abcdef', '01HZX:a/b+c=@~._-'])
      expect(await idFor({ trust: true }, `X-Request-Id: ${id}`)).toBe(id);
  });

  it('is made anew where a trusted peer sends two', async () => {
    const two = ['X-Request-Id: a', 'X-Request-Id: b'];
    expect(await idFor({ trust: true }, ...two)).toMatch(UUID);
  });

  it('is another one each time, in a field and by a function of one’s own', async () => {
    expect(await idFor({})).not.toBe(await idFor({}));
    const header = 'X-Correlation-Id';
    expect(await idFor({ header, generate: (req) => `${req.method}-1` })).toBe('GET-1');
  });

  it('that cannot be sent is an error, and says so', async () => {
    const { port } = await gateway('express 5', requestId({ generate: () => 'a\r\nb' }));
    const { status, body } = await rawRequest(port, request('GET /'));
    expect(status).toBe(500);
    expect(body).toContain('requestId: generate() must return 1 to 128 of the characters');
  });
});

describe('requestId options', () => {
  it.each([
    [
      { header: 'Content-Length' },
      'requestId: header cannot have "content-length": it must be a field of letters, digits and dashes',
    ],
    [{ header: 'a b' }, 'requestId: header[0] must be a field name, received "a b"'],
    [{ trust: ['x'] }, 'requestId: trust[0] must be an address or a range, received "x"'],
    [{ generate: 'uuid' }, 'requestId: generate must be a function, received "uuid"'],
    [{ headr: 'x' }, 'requestId: unknown option "headr", did you mean "header"?'],
  ])('%j are refused', (options, message) => {
    expect(() => requestId(options as never)).toThrow(message);
  });
});

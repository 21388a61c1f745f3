import { createRequire } from 'node:module';
import { describe, expect, it } from '@jest/globals';
import { exchangeOf, type ProxyPassOptions, proxyPass } from 'headrace';
import * as undici from 'undici';
import type * as Undici8 from 'undici8';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { closeAfter, frameworks, gateway, OK, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 4\r\n\r\nbody';
const CHUNKED = 'PUT / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n';

/** undici 8 needs Node 22.19. */
function undici8(): typeof Undici8 | undefined {
  try {
    return createRequire(__filename)('undici8');
  } catch {
    return undefined;
  }
}

/** As far as undici 7 and 8 agree. */
type AnyDispatcher = NonNullable<ProxyPassOptions['dispatcher']> & { destroy(): Promise<void> };
type Make = (url: string) => AnyDispatcher;

const dispatchers: [what: string, make: Make][] = [
  ['an Agent of undici', () => new undici.Agent()],
  ['a Pool of undici', (url) => new undici.Pool(url, { connections: 2 })],
  ['a Client of undici', (url) => new undici.Client(url)],
  [
    'a Pool of undici with an interceptor',
    (url) =>
      new undici.Pool(url).compose((dispatch) => (options, handler) => dispatch(options, handler)),
  ],
];
const next = undici8();
if (next !== undefined) {
  dispatchers.push(
    ['an Agent of undici 8', () => new next.Agent()],
    ['a Pool of undici 8', (url) => new next.Pool(url, { connections: 2 })],
    ['a Client of undici 8', (url) => new next.Client(url)],
  );
}

describe.each(dispatchers)('%s, given as dispatcher', (_what, make) => {
  const through = async (url: string, framework: (typeof frameworks)[number] = 'express 5') => {
    const dispatcher = make(url);
    closeAfter(() => dispatcher.destroy());
    const { errors, record } = recordErrors();
    const outcomes: string[] = [];
    const { port } = await gateway(
      framework,
      (req, res, next) => {
        exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
        next();
      },
      proxyPass(url, { dispatcher, headersTimeoutMs: 50 }),
      record,
    );
    return { port, errors, outcomes };
  };

  it.each(frameworks)('sends requests with and without a body, through %s', async (framework) => {
    const upstream = await rawUpstream();
    const { port } = await through(upstream.url, framework);
    for (const request of [GET, POST, `${CHUNKED}4\r\nbody\r\n0\r\n\r\n`]) {
      const res = await rawRequest(port, request);
      expect([res.status, res.body]).toEqual([200, 'ok']);
    }
    expect(upstream.received()).toMatch(/\r\ncontent-length: 4\r\n\r\nbody/i);
    expect(upstream.received()).toMatch(/\r\n4\r\nbody\r\n0\r\n\r\n$/);
  });

  it('passes interim responses, fields and trailers on', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n' +
        'HTTP/1.1 203 Mine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n',
    );
    const { port } = await through(upstream.url);
    const client = await rawClient(port, GET);
    await client.until((text) => parseResponses(text, false, false).length === 1);
    const [res] = parseResponses(client.received());
    expect(client.received()).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>\r\n\r\n/);
    expect([res?.status, res?.reason, res?.body]).toEqual([203, 'Mine', 'body']);
    expect(
      res?.headers.filter(([name]) => name === 'Set-Cookie').map(([, value]) => value),
    ).toEqual(['a=1', 'b=2']);
    expect(res?.trailers).toEqual([['X-Sum', '42']]);
  });

  it('has its failures told apart', async () => {
    const answers: [answer: string, end: boolean, code: string][] = [
      ['', true, 'ERR_PROXY_RESET'],
      ['no HTTP at all\r\n\r\n', false, 'ERR_PROXY_BAD_RESPONSE'],
      ['', false, 'ERR_PROXY_HEADERS_TIMEOUT'],
    ];
    for (const [answer, end, code] of answers) {
      const upstream = await rawUpstream((_request, socket) => {
        if (end) socket.end();
        return answer;
      });
      const { port, errors } = await through(upstream.url);
      await rawRequest(port, POST);
      expect(errors.map((error) => error.code)).toEqual([code]);
    }
  });

  it('shows a body that breaks off, and a client that leaves', async () => {
    const upstream = await rawUpstream((request) =>
      request.startsWith('GET /next') ? OK : 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf',
    );
    const { port, errors, outcomes } = await through(upstream.url);
    const broken = await rawClient(port, GET);
    await broken.until((text) => text.endsWith('half'));
    upstream.sockets[0]?.end();
    await broken.closed();

    const leaving = await rawClient(port, GET);
    await leaving.until((text) => text.endsWith('half'));
    leaving.socket.destroy();
    await eventually('the outcomes', () => outcomes.length === 2);
    expect(outcomes).toEqual(['failed', 'client-closed']);
    expect(errors).toEqual([]);
    await eventually('the end of the call', () =>
      upstream.sockets.every(({ bytesRead, destroyed }) => bytesRead === 0 || destroyed),
    );
    expect((await rawRequest(port, GET.replace('/', '/next'))).body).toBe('ok');
  });
});

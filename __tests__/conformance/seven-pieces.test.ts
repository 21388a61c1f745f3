import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  circuitBreaker,
  exchangeOf,
  forwardedFor,
  type Handler,
  loadBalancer,
  modifyResponse,
  proxyErrors,
  proxyPass,
  rewriteUrl,
  stripHopHeaders,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type RawUpstream,
  rawUpstream,
} from '../helpers/servers.js';

const ANSWER = [
  'HTTP/1.1 200 OK',
  'Date: Sat, 21 Nov 2026 12:00:00 GMT',
  'Content-Type: text/plain',
  'Connection: X-Hop',
  'X-Hop: hop',
  'Content-Length: 2',
  '',
  'ok',
].join('\r\n');

const REQUEST = upload(
  'POST /api/things?id=1',
  ['Connection: X-Secret', 'X-Secret: s', 'X-Forwarded-For: 6.6.6.6', 'X-Own: client'],
  'a body',
);

/** What the seven say to each other must not depend on who comes first. */
const ORDERS = {
  'the order of the card': 'balance rewrite strip forward break modify',
  'the order of the picture': 'strip forward rewrite balance break modify',
  'the reverse': 'modify break forward strip rewrite balance',
  'the after piece first': 'modify strip balance rewrite break forward',
  'the breaker first': 'break balance forward modify strip rewrite',
  'the balancer last': 'forward modify rewrite break strip balance',
} as const;

describe('the seven pieces, each in a line of its own', () => {
  let upstream: RawUpstream;

  beforeEach(async () => {
    upstream = await rawUpstream(ANSWER);
  });

  function pieces(): Record<string, Handler> {
    const balance = loadBalancer({ upstreams: [upstream.url] });
    closeAfter(() => balance.close());
    return {
      balance,
      rewrite: rewriteUrl({ '^/api': '' }),
      strip: stripHopHeaders(),
      forward: forwardedFor(),
      break: circuitBreaker(),
      modify: modifyResponse((response) => {
        response.headers.set('x-proxy', 'magical');
      }),
    };
  }

  /** What somebody's own middleware does between the pieces, in each phase. */
  const own: Handler = (req, res, next) => {
    const exchange = exchangeOf(req, res);
    exchange.headers.set('X-Own', 'app');
    req.headers['x-live'] = 'edited';
    res.setHeader('X-Served-By', 'app');
    next?.();
  };

  async function bytesOf(order: string, framework: (typeof frameworks)[number], between: boolean) {
    const before = upstream.received().length;
    const all = pieces();
    const chain = order.split(' ').flatMap((name) => {
      const piece = all[name] as Handler;
      return between ? [own, piece] : [piece];
    });
    const { port } = await gateway(framework, ...chain, proxyPass(), proxyErrors());
    const { status, headers, body } = await rawRequest(port, REQUEST);
    const isOurs = (name: string) => !/^(x-powered-by|date|keep-alive)$/i.test(name);
    const sent = upstream.received().slice(before).replaceAll(`:${port}`, ':port');
    return { sent, status, headers: headers.filter(([name]) => isOurs(name)), body };
  }

  it.each(frameworks.filter((one) => one !== 'node:http'))(
    'send the same bytes in whatever order they stand, in %s',
    async (framework) => {
      const [first = '', ...others] = Object.values<string>(ORDERS);
      const wanted = await bytesOf(first, framework, false);
      expect(wanted).toMatchObject({ status: 200, body: 'ok' });
      expect(wanted.sent.split('\r\n')).toEqual([
        'POST /things?id=1 HTTP/1.1',
        expect.stringMatching(/^host: 127\.0\.0\.1:\d+$/i),
        'connection: keep-alive',
        'X-Own: client',
        'Via: 1.1 headrace',
        'X-Forwarded-For: 127.0.0.1',
        'X-Forwarded-Host: app.example',
        'X-Forwarded-Proto: http',
        'content-length: 6',
        '',
        'a body',
      ]);
      for (const order of others) expect(await bytesOf(order, framework, false)).toEqual(wanted);
    },
  );

  it('send the same bytes with middleware of one’s own between them', async () => {
    const [first = '', ...others] = Object.values<string>(ORDERS);
    const wanted = await bytesOf(first, 'express 5', true);
    expect(wanted.sent).toContain('\r\nX-Own: app\r\n');
    expect(wanted.sent).toContain('\r\nx-live: edited\r\n');
    expect(wanted.headers).toContainEqual(['X-Served-By', 'app']);
    for (const order of others) expect(await bytesOf(order, 'express 5', true)).toEqual(wanted);
  });
});

import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import express4 from 'express4';
import {
  exchangeOf,
  type ForwardedForOptions,
  forwardedFor,
  type Handler,
  loadBalancer,
  modifyResponse,
  proxyPass,
  rewriteUrl,
  stripHopHeaders,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { onlyRequest, request, requestsOf, type SeenRequest } from '../helpers/requests.js';
import {
  appOf,
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';

const everyField = {
  headers: [
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-forwarded-port',
    'x-real-ip',
    'forwarded',
  ],
} satisfies ForwardedForOptions;

const claims = [
  'X-Forwarded-For: 6.6.6.6',
  'X-Forwarded-For: 7.7.7.7',
  'X-Forwarded-Host: shop.example',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Port: 8443',
  'X-Real-IP: 6.6.6.6',
  'Forwarded: for=6.6.6.6;proto=https',
  'Forwarded: for=7.7.7.7',
];

/** The pairs of each element of the one `Forwarded` line. */
function forwardedElements({ lines }: SeenRequest): Record<string, string>[] {
  const [line = '', ...more] = lines('forwarded');
  expect(more).toEqual([]);
  return line
    .split(', ')
    .map((element) => Object.fromEntries(element.split(';').map((pair) => pair.split('='))));
}

describe.each(frameworks)('forwardedFor() under %s', (framework) => {
  /** What the upstream gets of a request with these lines, through these middleware. */
  async function seen(bytes: string, ...middleware: Middleware[]): Promise<SeenRequest> {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, ...middleware, proxyPass(upstream.url));
    expect((await rawRequest(port, bytes)).status).toBe(200);
    return onlyRequest(upstream);
  }

  it('tells the upstream who the client is, and where it believes to be', async () => {
    const { lines } = await seen(request('GET /'), forwardedFor());

    expect(lines('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
    expect(lines('x-forwarded-proto')).toEqual(['http']);
  });

  it('replaces what an untrusted peer claims', async () => {
    const { lines } = await seen(request('GET /', claims), forwardedFor(everyField));

    expect(lines('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
    expect(lines('x-forwarded-proto')).toEqual(['http']);
    expect(lines('x-forwarded-port')).toEqual(['80']);
    expect(lines('x-real-ip')).toEqual(['127.0.0.1']);
    expect(lines('forwarded')).toHaveLength(1);
    expect(lines('forwarded').join()).not.toMatch(/6\.6\.6\.6|7\.7\.7\.7|https/);
  });

  it('drops the claims of an untrusted peer that it does not replace', async () => {
    const more = ['X-Forwarded-Prefix: /a', 'x-forwarded-server: b', 'X-Client-IP: 6.6.6.6'];

    const { headers } = await seen(
      request('GET /', [...claims, ...more, 'True-Client-IP: 6.6.6.6']),
      forwardedFor({ headers: 'x-forwarded-for' }),
    );

    const names = headers.map(([name]) => name.toLowerCase());
    expect(names.filter((name) => /forwarded|-ip$/.test(name))).toEqual(['x-forwarded-for']);
  });

  it('has no X-Forwarded-Host when there is no host to tell', async () => {
    const bytes = 'GET / HTTP/1.0\r\nX-Forwarded-Host: evil.example\r\n\r\n';

    expect((await seen(bytes, forwardedFor())).lines('x-forwarded-host')).toEqual([]);
  });

  it('has the authority of an absolute target in X-Forwarded-Host', async () => {
    const bytes = request('GET http://shop.example:81/x');

    const { lines } = await seen(bytes, forwardedFor());

    expect(lines('x-forwarded-host')).toEqual(['shop.example:81']);
  });

  const trusting: ForwardedForOptions['trust'][] = [
    true,
    1,
    'loopback',
    '127.0.0.1',
    '10.0.0.0/8, 127.0.0.0/8',
    ['::1', '127.0.0.1'],
    (address, hop) => address === '127.0.0.1' && hop === 0,
  ];
  it.each(trusting)('appends to what a trusted peer says, with trust: %p', async (trust) => {
    const got = await seen(request('GET /', claims), forwardedFor({ ...everyField, trust }));

    const { lines } = got;
    expect(lines('x-forwarded-for')).toEqual(['6.6.6.6, 7.7.7.7, 127.0.0.1']);
    expect(lines('x-forwarded-host')).toEqual(['shop.example']);
    expect(lines('x-forwarded-proto')).toEqual(['https']);
    expect(lines('x-forwarded-port')).toEqual(['8443']);
    const [first, second, own, ...more] = forwardedElements(got);
    expect([first, second, more]).toEqual([
      { for: '6.6.6.6', proto: 'https' },
      { for: '7.7.7.7' },
      [],
    ]);
    expect(own).toMatchObject({ for: '127.0.0.1' });
  });

  const distrusting: ForwardedForOptions['trust'][] = [false, 0, 'uniquelocal', [], () => false];
  it.each(distrusting)('replaces what is not trusted, with trust: %p', async (trust) => {
    const { lines } = await seen(request('GET /', claims), forwardedFor({ trust }));

    expect(lines('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(lines('x-forwarded-proto')).toEqual(['http']);
  });

  it('does not take from a trusted peer what cannot be true', async () => {
    const lies = ['X-Forwarded-Proto: javascript', 'X-Forwarded-Host: a"b', 'X-Forwarded-Port: no'];

    const { lines } = await seen(
      request('GET /', lies),
      forwardedFor({ ...everyField, trust: true }),
    );

    expect(lines('x-forwarded-proto')).toEqual(['http']);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
    expect(lines('x-forwarded-port')).toEqual(['80']);
  });

  it('writes Forwarded on request (RFC 7239)', async () => {
    const options: ForwardedForOptions = { headers: 'forwarded' };
    const bytes = 'GET / HTTP/1.1\r\nHost: app.example:8080\r\n\r\n';

    const got = await seen(bytes, forwardedFor(options));

    expect(forwardedElements(got)).toEqual([
      { for: '127.0.0.1', host: '"app.example:8080"', proto: 'http' },
    ]);
    expect(got.lines('x-forwarded-for')).toEqual([]);
  });

  it('writes Via on every request, with the version that came in', async () => {
    const via = async (bytes: string, options?: ForwardedForOptions) =>
      (await seen(bytes, forwardedFor(options))).lines('via');

    expect(await via(request('GET /'))).toEqual(['1.1 headrace']);
    expect(await via('GET / HTTP/1.0\r\n\r\n')).toEqual(['1.0 headrace']);
    expect(await via(request('GET /', ['Via: 1.0 a', 'Via: HTTP/2 b:80 (c)']))).toEqual([
      '1.0 a, HTTP/2 b:80 (c), 1.1 headrace',
    ]);
    expect(await via(request('GET /', ['Via: 1.1 a']), { trust: true })).toEqual([
      '1.1 a, 1.1 headrace',
    ]);
    expect(await via(request('GET /'), { via: 'edge-1' })).toEqual(['1.1 edge-1']);
    expect(await via(request('GET /'), { via: false })).toEqual([]);
  });

  it.each([
    ['Via: 1.1 headrace'],
    ['Via: 1.0 fred, 1.1 headrace'],
    ['Via: 1.1 headrace, 1.0 fred'],
    ['Via: 1.0 fred', 'Via: HTTP/1.1 headrace (a comment)', 'Via: 2 b'],
    ['Via:1.0 fred ,\t1.1\theadrace\t,2 b'],
  ])('answers 508 to a request with our own %j', async (...lines) => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, forwardedFor(), proxyPass(upstream.url));

    const { status } = await rawRequest(port, request('GET /', lines));

    expect([status, upstream.sockets]).toEqual([508, []]);
  });

  it.each([
    'Via: 1.1 headrace2',
    'Via: 1.1 my-headrace',
    'Via: 1.1 headrace.example',
    'Via: 1.1 headrace:8080',
    'Via: 1.1 a (headrace)',
    'Via: headrace 1.1',
  ])('takes nobody else for itself: %s', async (line) => {
    const { lines } = await seen(request('GET /', [line]), forwardedFor());

    expect(lines('via')).toEqual([`${line.slice(5)}, 1.1 headrace`]);
  });

  it('answers 508 when it calls itself', async () => {
    let app: RequestListener = () => {};
    const { port, url } = await serve((req, res) => app(req, res));
    const pass = proxyPass(url);
    closeAfter(() => pass.close());
    app = appOf(framework, forwardedFor(), pass);

    expect((await rawRequest(port, request('GET /'))).status).toBe(508);
  });

  it('lets requests through gateways in a row that have names of their own', async () => {
    const upstream = await rawUpstream();
    const inner = await gateway(
      framework,
      forwardedFor({ via: 'inner', trust: 'loopback' }),
      proxyPass(upstream.url),
    );
    const pass = proxyPass(inner.url);
    closeAfter(() => pass.close());
    const outer = await gateway(framework, forwardedFor({ via: 'outer' }), pass);

    await rawRequest(outer.port, request('GET /'));

    const { lines } = onlyRequest(upstream);
    expect(lines('via')).toEqual(['1.1 outer, 1.1 inner']);
    expect(lines('x-forwarded-for')).toEqual(['127.0.0.1, 127.0.0.1']);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
  });

  it('comes to the same wherever it stands in the chain', async () => {
    const upstream = await rawUpstream();
    const overlay: Handler = (req, res, next) => {
      exchangeOf(req, res).headers.set('X-User', 'alice').delete('X-Secret');
      next?.();
    };
    const others: Middleware[] = [
      stripHopHeaders(),
      overlay,
      rewriteUrl({ '^/a': '/b' }),
      loadBalancer({ upstreams: [upstream.url] }),
      modifyResponse(() => {}),
    ];
    const attack = ['Connection: X-Forwarded-For, Via, Forwarded', 'X-Secret: 1', 'TE: gzip'];

    for (const trust of [false, true]) {
      for (let at = 0; at <= others.length; at++) {
        const pieces = others.toSpliced(at, 0, forwardedFor({ ...everyField, trust }));
        const { port } = await gateway(framework, ...pieces, proxyPass());
        const { status } = await rawRequest(port, request('GET /a', [...claims, ...attack]));
        expect(status).toBe(200);
      }
    }

    const seen = requestsOf(upstream).map(({ headers }) => headers.map(String).sort());
    const [untrusted, trusted] = [seen.slice(0, 6), seen.slice(6)];
    expect(new Set(untrusted.map(String)).size).toBe(1);
    expect(new Set(trusted.map(String)).size).toBe(1);
    expect(untrusted[0]).toContain('X-Forwarded-For,127.0.0.1');
    expect(trusted[0]).toContain('X-Forwarded-For,6.6.6.6, 7.7.7.7, 127.0.0.1');
  });
});

describe.each([
  ['express 5', express],
  ['express 4', express4],
])("forwardedFor() and the 'trust proxy' of %s", (_, createApp) => {
  async function chain(setting: unknown, options?: ForwardedForOptions): Promise<string> {
    const upstream = await rawUpstream();
    const app = createApp();
    if (setting !== undefined) app.set('trust proxy', setting);
    const { port } = await serve(app.use(forwardedFor(options), proxyPass(upstream.url)));
    await rawRequest(port, request('GET /', claims));
    return onlyRequest(upstream).lines('x-forwarded-for').join(' | ');
  }

  it.each([true, 1, 'loopback', '127.0.0.1', ['10.0.0.0/8', 'loopback'], () => true])(
    'appends with %p',
    async (setting) => {
      expect(await chain(setting)).toBe('6.6.6.6, 7.7.7.7, 127.0.0.1');
    },
  );

  it.each([undefined, false, 0, '10.0.0.0/8', 'uniquelocal', () => false])(
    'replaces with %p',
    async (setting) => {
      expect(await chain(setting)).toBe('127.0.0.1');
    },
  );

  it('is overruled by a trust option', async () => {
    expect(await chain(true, { trust: false })).toBe('127.0.0.1');
    expect(await chain(false, { trust: true })).toBe('6.6.6.6, 7.7.7.7, 127.0.0.1');
  });

  it('follows the setting of a parent app', async () => {
    const upstream = await rawUpstream();
    const child = createApp().use(forwardedFor(), proxyPass(upstream.url));
    const parent = createApp().set('trust proxy', 'loopback').use('/child', child);
    const { port } = await serve(parent);

    await rawRequest(port, request('GET /child/x', claims));

    const { lines } = onlyRequest(upstream);
    expect(lines('x-forwarded-for')).toEqual(['6.6.6.6, 7.7.7.7, 127.0.0.1']);
  });

  it('names the client that Express names, in X-Real-IP', async () => {
    const upstream = await rawUpstream();
    const app = createApp().set('trust proxy', ['loopback', '7.7.7.7']);
    const ips: (string | undefined)[] = [];
    const note: express.RequestHandler = (req, _res, next) => {
      ips.push(req.ip);
      next();
    };
    const pieces = [note, forwardedFor({ headers: 'x-real-ip' }), proxyPass(upstream.url)];
    const { port } = await serve(app.use(...pieces));

    await rawRequest(port, request('GET /', claims));

    expect(ips).toEqual(['6.6.6.6']);
    expect(onlyRequest(upstream).lines('x-real-ip')).toEqual(['6.6.6.6']);
  });
});

describe('the address of a peer', () => {
  /** What the upstream gets of a request from `from`, through a server on `address`. */
  async function seenFrom(address: string, from: string): Promise<SeenRequest> {
    const upstream = await rawUpstream();
    const server = createServer(
      appOf('express 5', forwardedFor(everyField), proxyPass(upstream.url)),
    );
    server.listen(0, address);
    await once(server, 'listening');
    closeAfter(() => void server.close());
    closeAfter(() => server.closeAllConnections());
    const socket = connect({ port: (server.address() as AddressInfo).port, host: from });
    closeAfter(() => socket.destroy());
    socket.write(request('GET /'));
    await once(socket, 'data');
    return onlyRequest(upstream);
  }

  it('is written as IPv4 where it is IPv4 mapped into IPv6', async () => {
    const got = await seenFrom('::', '127.0.0.1');

    expect(got.lines('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(got.lines('x-real-ip')).toEqual(['127.0.0.1']);
    expect(forwardedElements(got)).toMatchObject([{ for: '127.0.0.1' }]);
  });

  it('is quoted and bracketed in Forwarded where it is IPv6', async () => {
    const got = await seenFrom('::1', '::1');

    expect(got.lines('x-forwarded-for')).toEqual(['::1']);
    expect(got.lines('x-real-ip')).toEqual(['::1']);
    expect(forwardedElements(got)).toMatchObject([{ for: '"[::1]"' }]);
  });
});

import { describe, expect, it } from '@jest/globals';
import { exchangeOf, forwardedFor, type Handler, proxyPass, stripHopHeaders } from 'headrace';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { chunkedUpload, onlyRequest, request, requestsOf } from '../helpers/requests.js';
import { frameworks, gateway, type Middleware, rawUpstream } from '../helpers/servers.js';

/** A response with these header lines and two bytes of body. */
function response(...lines: string[]): string {
  return ['HTTP/1.1 200 OK', ...lines, 'Content-Length: 2', '', 'ok'].join('\r\n');
}

/** The fixed list, with values that nobody else would write. */
const fixed = [
  'Keep-Alive: timeout=777',
  'Proxy-Connection: keep-alive',
  'Proxy-Authenticate: Basic realm="x"',
  'Proxy-Authorization: Basic eDp5',
  'Trailer: X-Later',
  'Upgrade: h2c',
  'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
];
const fixedNames = fixed.map((line) => line.slice(0, line.indexOf(':')).toLowerCase());

const connections: Record<string, string[]> = {
  'in one line': ['Connection: X-One, X-Two, X-Three'],
  'in several lines': ['Connection: X-One', 'Connection: X-Two', 'Connection: X-Three'],
  'behind an empty line': ['Connection:', 'Connection: X-One, X-Two,X-Three'],
  'behind a plain one': ['Connection: keep-alive', 'Connection: X-One,X-Two , X-Three'],
  'among empty elements': [
    'Connection: , ,X-One,,',
    'Connection: ,',
    'Connection: X-Two, X-Three,',
  ],
  'in odd cases': ['connection: x-ONE', 'CONNECTION: X-tWo', 'cOnNeCtIoN: x-three'],
  'more than once': ['Connection: X-One, X-One', 'Connection: X-One, X-Two, X-Three, X-Two'],
  'among tabs': ['Connection:\tX-One\t,\tX-Two ,X-Three\t'],
};
const nominated = ['X-One: 1', 'x-two: 2', 'X-THREE: 3', 'X-Three: 4'];

/** With and without the piece: the fields never cross. */
const pipelines: [string, () => Middleware[]][] = [
  ['with stripHopHeaders()', () => [stripHopHeaders()]],
  ['without it', () => []],
];

describe.each(frameworks)('hop-by-hop fields under %s', (framework) => {
  describe.each(pipelines)('%s', (_, pieces) => {
    it.each(Object.entries(connections))(
      'takes what Connection names %s out of the request',
      async (_, lines) => {
        const upstream = await rawUpstream();
        const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

        await rawRequest(port, request('GET /', [...nominated, ...lines, 'X-Stays: 1']));

        const seen = onlyRequest(upstream);
        for (const name of ['x-one', 'x-two', 'x-three']) expect(seen.lines(name)).toEqual([]);
        expect(seen.lines('connection').join()).not.toMatch(/x-/i);
        expect(seen.lines('x-stays')).toEqual(['1']);
      },
    );

    it.each(Object.entries(connections))(
      'takes what Connection names %s out of the response',
      async (_, lines) => {
        const upstream = await rawUpstream(response(...nominated, ...lines, 'X-Stays: 1'));
        const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

        const { body, headers } = await rawRequest(port, request('GET /'));

        const names = headers.map(([name]) => name.toLowerCase());
        expect(names.filter((name) => /^x-(?:one|two|three)$/.test(name))).toEqual([]);
        expect(headers.filter(([name]) => /^connection$/i.test(name)).join()).not.toMatch(/x-/i);
        expect(headers).toContainEqual(['X-Stays', '1']);
        expect(body).toBe('ok');
      },
    );

    it('takes the fixed list out of the request, whether Connection names it or not', async () => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

      await rawRequest(port, request('GET /', fixed));
      await rawRequest(port, request('GET /', [...fixed, `Connection: ${fixedNames.join()}`]));
      await rawRequest(port, chunkedUpload('POST /', [...fixed, 'tE: gzip'], 'abc'));

      for (const { headers } of requestsOf(upstream)) {
        const names = headers.map(([name]) => name.toLowerCase());
        expect(names.filter((name) => fixedNames.includes(name) || name === 'te')).toEqual([]);
      }
      expect(requestsOf(upstream).map(({ body }) => body)).toEqual(['', '', 'abc']);
    });

    it('takes the fixed list out of the response', async () => {
      const upstream = await rawUpstream(response(...fixed, 'TE: gzip'));
      const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

      const { headers } = await rawRequest(port, request('GET /'));

      const names = headers.map(([name]) => name.toLowerCase());
      // The server's own Keep-Alive is about the client's connection.
      const own = fixedNames.filter((name) => name !== 'keep-alive');
      expect(names.filter((name) => own.includes(name) || name === 'te')).toEqual([]);
      expect(headers.join()).not.toContain('777');
    });

    it('lets a field called Trailers pass, in both directions', async () => {
      const upstream = await rawUpstream(response('Trailers: x'));
      const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

      const { headers } = await rawRequest(port, request('GET /', ['Trailers: x']));

      expect(onlyRequest(upstream).headers).toContainEqual(['Trailers', 'x']);
      expect(headers).toContainEqual(['Trailers', 'x']);
    });

    it.each([
      [['TE: trailers']],
      [['te: Trailers']],
      [['TE: trailers, deflate;q=0.5']],
      [['TE: gzip;q=0.3, trailers']],
      [['TE: gzip,trailers ,deflate']],
      [['TE: gzip', 'TE: trailers']],
      [['TE: trailers', 'TE: gzip', 'te: trailers']],
      [['TE: trailers', 'Connection: TE']],
      [['Connection: te, close', 'TE:\ttrailers']],
    ])('keeps %j as exactly "trailers"', async (lines) => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

      await rawRequest(port, request('GET /', lines));

      expect(onlyRequest(upstream).lines('te')).toEqual(['trailers']);
    });

    it.each(['gzip', 'chunked', 'deflate;q=0.5, gzip', 'trailersx', 'x-trailers, no trailers', ''])(
      'drops TE: %s',
      async (value) => {
        const upstream = await rawUpstream();
        const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

        await rawRequest(port, request('GET /', [`TE: ${value}`]));

        expect(onlyRequest(upstream).lines('te')).toEqual([]);
      },
    );

    it('strips interim responses too', async () => {
      const hints = [
        'HTTP/1.1 103 Early Hints',
        'Link: </a.css>; rel=preload',
        ...fixed,
        'Connection:',
        'Connection: X-One, x-two',
        'Connection: X-Three',
        'TE: gzip',
        ...nominated,
        'X-Stays: 1',
        '\r\n',
      ].join('\r\n');
      const upstream = await rawUpstream(`${hints}HTTP/1.1 102 Processing\r\n\r\n${response()}`);
      const { port } = await gateway(framework, ...pieces(), proxyPass(upstream.url));

      const client = await rawClient(port, request('GET /'));
      const text = await client.until((text) => parseResponses(text).length === 1);

      const [, early = ''] = /^HTTP\/1\.1 103 [^\r]*\r\n(.*?)\r\n\r\n/s.exec(text) ?? [];
      expect(early.split('\r\n')).toEqual(['Link: </a.css>; rel=preload', 'X-Stays: 1']);
    });
  });

  it("keeps the upstream connection when the client's closes", async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    for (const line of ['Connection: close', 'Connection: X-A, Close', 'Proxy-Connection: close']) {
      expect((await rawRequest(port, request('GET /', [line]))).status).toBe(200);
    }
    await rawRequest(port, 'GET / HTTP/1.0\r\n\r\n');

    expect(upstream.connections()).toHaveLength(1);
    const seen = requestsOf(upstream);
    expect(seen).toHaveLength(4);
    expect(seen.flatMap(({ lines }) => lines('connection')).join()).not.toMatch(/close/i);
  });

  it.each([
    ['says that it closes', response('Connection: close')],
    ['says so oddly', response('Connection: X-A', 'connection: ClOsE')],
    ['speaks HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['ends its body by closing', 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok'],
    ['ends its body by closing in HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nok'],
  ])("keeps the client's connection when the upstream %s", async (_, answer) => {
    const upstream = await rawUpstream((_, socket) => void socket.end(answer, 'latin1'));
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port);

    for (const count of [1, 2]) {
      client.write(request('GET /'));
      await client.until((text) => parseResponses(text, false, false).length === count);
    }

    for (const { status, body, header } of parseResponses(client.received(), false, false)) {
      expect([status, body, header('connection')]).toEqual([200, 'ok', 'keep-alive']);
    }
    expect(upstream.connections()).toHaveLength(2);
  });

  describe('a client that nominates what is not its own (CVE-2026-33805)', () => {
    const attack = [
      'Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP, Forwarded, Via',
      'Connection: X-User, X-Role, X-List, Authorization, Cookie',
      'X-Forwarded-For: 6.6.6.6',
      'X-User: admin',
      'X-List: evil',
      'Authorization: evil',
      'Cookie: evil=1',
    ];
    const forwarded = forwardedFor({
      headers: [
        'x-forwarded-for',
        'x-forwarded-host',
        'x-forwarded-proto',
        'x-real-ip',
        'forwarded',
      ],
    });
    const overlay: Handler = (req, res, next) => {
      exchangeOf(req, res).headers.set('X-User', 'alice').set('Authorization', 'Bearer ours');
      next?.();
    };
    const live: Handler = (req, _res, next) => {
      req.headers['x-role'] = 'reader';
      req.headers['x-list'] = ['a', 'b'];
      next?.();
    };
    const strip = stripHopHeaders();
    const orders: Record<string, Middleware[]> = {
      'in the usual order': [strip, forwarded, overlay, live],
      'the other way round': [live, overlay, forwarded, strip],
      'without stripHopHeaders()': [overlay, forwarded, live],
    };

    it.each(Object.entries(orders))('takes out its own fields alone, %s', async (_, pieces) => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, ...pieces, proxyPass(upstream.url));

      await rawRequest(port, request('GET /', attack));

      const { lines } = onlyRequest(upstream);
      expect(lines('x-forwarded-for')).toEqual(['127.0.0.1']);
      expect(lines('x-forwarded-host')).toEqual(['app.example']);
      expect(lines('x-forwarded-proto')).toEqual(['http']);
      expect(lines('x-real-ip')).toEqual(['127.0.0.1']);
      expect(lines('forwarded')).toHaveLength(1);
      expect(lines('via')).toEqual(['1.1 headrace']);
      expect(lines('x-user')).toEqual(['alice']);
      expect(lines('x-role')).toEqual(['reader']);
      expect(lines('x-list').join(', ')).toBe('a, b');
      expect(lines('authorization')).toEqual(['Bearer ours']);
      expect(lines('cookie')).toEqual([]);
    });

    it('cannot take out a field by sending the value that the app sets', async () => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, overlay, proxyPass(upstream.url));

      await rawRequest(port, request('GET /', ['Connection: X-User', 'X-User: alice']));

      expect(onlyRequest(upstream).lines('x-user')).toEqual(['alice']);
    });
  });
});

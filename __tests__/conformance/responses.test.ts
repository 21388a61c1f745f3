import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { modifyResponse, proxyPass } from 'headrace';
import { parseResponses, type RawResponse, rawClient, rawRequest } from '../helpers/client.js';
import { frameworks, gateway, type Middleware, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const HEAD = 'HEAD / HTTP/1.1\r\nHost: gateway\r\n\r\n';
const HTTP_10 = 'GET / HTTP/1.0\r\n\r\n';

/** The bytes of a response of these lines, with a body where one is given. */
function response(lines: string[], body = ''): Buffer {
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1');
}

/** Has the body go through a stream. */
const through = modifyResponse((response) => void response.pipeThrough(new PassThrough()));

/** The values of all lines of one name. */
function all({ headers }: RawResponse, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

describe.each(frameworks)('a response through %s', (framework) => {
  it('keeps the bytes of a file name, whatever is in front of it', async () => {
    const name = 'attachment; filename="\xe6\x97\xa5"';
    const upstream = await rawUpstream(
      response(['HTTP/1.1 200 OK', 'Content-Length: 2', `Content-Disposition: ${name}`], 'ok'),
    );
    const wrapped: Middleware = (_req, res, next) => {
      const { writeHead } = res;
      res.writeHead = (...args: unknown[]) => Reflect.apply(writeHead, res, args);
      next?.();
    };
    for (const before of [[], [wrapped]]) {
      const { port } = await gateway(framework, ...before, proxyPass(upstream.url));
      expect(all(await rawRequest(port, GET), 'content-disposition')).toEqual([name]);
    }
  });

  it.each([
    ['that comes later', GET, []],
    ['that comes later, in HTTP/1.0', HTTP_10, []],
    ['that goes through a stream', GET, [through]],
  ])('keeps the bytes of its fields before a body %s', async (_, request, pieces) => {
    const head = response(['HTTP/1.1 200 OK', 'Content-Length: 2', 'X-Name: \xe6\x97\xa5 \xe9']);
    const upstream = await rawUpstream((_request, socket) => {
      socket.write(head);
      setTimeout(() => socket.write('ok'), 20);
      return undefined;
    });
    const ours: Middleware = (_req, res, next) => {
      res.setHeader('X-Ours', 'caf\xe9');
      next?.();
    };
    const { port } = await gateway(framework, ours, ...pieces, proxyPass(upstream.url));
    const answer = await rawRequest(port, request);
    expect(all(answer, 'x-name')).toEqual(['\xe6\x97\xa5 \xe9']);
    expect(all(answer, 'x-ours')).toEqual(['caf\xe9']);
    expect(answer.body).toBe('ok');
  });

  it('gives a small body as bytes to what has its own end()', async () => {
    const upstream = await rawUpstream(
      response(['HTTP/1.1 200 OK', 'Content-Length: 5'], 'caf\xc3\xa9'),
    );
    // It passes on the first argument only, as hooks do that were written for res.send().
    const hook: Middleware = (_req, res, next) => {
      const { end } = res;
      res.end = (chunk: unknown) => Reflect.apply(end, res, [chunk]);
      next?.();
    };
    const { port } = await gateway(framework, hook, proxyPass(upstream.url));
    expect((await rawRequest(port, GET)).body).toBe('caf\xc3\xa9');
  });

  it('may have blanks behind the values of its fields', async () => {
    const bodies = [
      response(['HTTP/1.1 200 OK', 'Content-Length: 5 ', 'X-A: a b\t '], 'hello'),
      response(
        ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked ', 'X-A: a b  '],
        '5\r\nhello\r\n0\r\n\r\n',
      ),
    ];
    for (const bytes of bodies) {
      const { port } = await gateway(framework, proxyPass((await rawUpstream(bytes)).url));
      const answer = await rawRequest(port, GET);
      expect(answer.body).toBe('hello');
      expect(all(answer, 'x-a')).toEqual(['a b']);
    }
  });

  it('tells its fields to whoever looks when it is sent', async () => {
    const upstream = await rawUpstream(
      response([
        'HTTP/1.1 200 OK',
        'ETag: "1"',
        'Set-Cookie: a',
        'Set-Cookie: b',
        'Content-Length: 0',
      ]),
    );
    const seen: unknown[] = [];
    const look: Middleware = (_req, res, next) => {
      res.once('finish', () => {
        seen.push({ ...res.getHeaders() }, res.getHeader('etag'), res.hasHeader('Set-Cookie'));
        seen.push(res.getRawHeaderNames());
      });
      next?.();
    };
    const { port } = await gateway(framework, look, proxyPass(upstream.url));
    await rawRequest(port, GET);
    await eventually('the look', () => seen.length > 0);
    expect(seen).toEqual([
      expect.objectContaining({ etag: '"1"', 'set-cookie': ['a', 'b'], 'content-length': '0' }),
      '"1"',
      true,
      expect.arrayContaining(['ETag', 'Set-Cookie', 'Content-Length']),
    ]);
  });

  it('arrives with its status, its reason phrase and every value of a field in order', async () => {
    const upstream = await rawUpstream(
      response(
        [
          'HTTP/1.1 203 Taken From Memory',
          'X-Many: first',
          'X-Other: between',
          'X-Many: second',
          'x-many: third',
          'X-Empty:',
          'X-Latin: caf\xe9',
          'X-List: a, b,c',
          'Content-Length: 2',
        ],
        'ok',
      ),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(res.status).toBe(203);
    expect(res.reason).toBe('Taken From Memory');
    expect(all(res, 'x-many')).toEqual(['first', 'second', 'third']);
    expect(all(res, 'x-other')).toEqual(['between']);
    expect(all(res, 'x-empty')).toEqual(['']);
    expect(all(res, 'x-latin')).toEqual(['caf\xe9']);
    expect(all(res, 'x-list')).toEqual(['a, b,c']);
    expect(all(res, 'content-length')).toEqual(['2']);
    expect(res.body).toBe('ok');
  });

  it('keeps several Set-Cookie lines apart, byte for byte', async () => {
    const cookies = [
      'a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT',
      'b="two, three"; HttpOnly',
      '__Host-c=; Secure; Path=/',
      'a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT',
    ];
    const lines = cookies.map((cookie) => `Set-Cookie: ${cookie}`);
    const upstream = await rawUpstream(
      response(['HTTP/1.1 200 OK', ...lines, 'Content-Length: 0']),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    expect(all(await rawRequest(port, GET), 'set-cookie')).toEqual(cookies);
  });

  it.each([
    [200, 'OK'],
    [226, 'IM Used'],
    [299, 'Miscellaneous Persistent Warning'],
    [345, 'Nobody Knows'],
    [418, "I'm a Teapot"],
    [451, 'Unavailable For Legal Reasons'],
    [599, 'Network Connect Timeout Error'],
  ])('passes status %i on with its reason', async (status, reason) => {
    const upstream = await rawUpstream(
      response([`HTTP/1.1 ${status} ${reason}`, 'Content-Length: 2'], 'ok'),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect([res.status, res.reason, res.body]).toEqual([status, reason, 'ok']);
  });

  it('refuses status 999 as 502', async () => {
    const upstream = await rawUpstream(
      response(['HTTP/1.1 999 Request Denied', 'Content-Length: 2'], 'ok'),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(res.status).toBe(502);
    expect(res.reason).not.toContain('Denied');
  });

  it('keeps what earlier middleware set on res, and replaces single fields without doubling', async () => {
    const app: Middleware = (_req, res, next) => {
      res.setHeader('X-App', 'stays');
      res.setHeader('Set-Cookie', ['app=1', 'app=2']);
      res.setHeader('Vary', 'Accept');
      res.setHeader('Link', '</app.css>; rel=preload');
      res.setHeader('Server', 'app');
      res.setHeader('Date', 'Thu, 01 Jan 1970 00:00:00 GMT');
      res.setHeader('Content-Type', 'text/plain');
      res.setHeader('Cache-Control', 'no-store');
      next();
    };
    const upstream = await rawUpstream(
      response(
        [
          'HTTP/1.1 200 OK',
          'Server: upstream',
          'Date: Wed, 21 Oct 2026 07:28:00 GMT',
          'Content-Type: application/json',
          'Cache-Control: max-age=1',
          'Set-Cookie: upstream=1',
          'Set-Cookie: upstream=2',
          'Vary: Origin',
          'Link: </upstream.css>; rel=preload',
          'Content-Length: 2',
        ],
        '{}',
      ),
    );
    const { port } = await gateway(framework, app, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(all(res, 'x-app')).toEqual(['stays']);
    expect(all(res, 'set-cookie')).toEqual(['app=1', 'app=2', 'upstream=1', 'upstream=2']);
    expect(all(res, 'vary').join(', ')).toBe('Accept, Origin');
    expect(all(res, 'link').join(', ')).toBe(
      '</app.css>; rel=preload, </upstream.css>; rel=preload',
    );
    expect(all(res, 'server')).toEqual(['upstream']);
    expect(all(res, 'date')).toEqual(['Wed, 21 Oct 2026 07:28:00 GMT']);
    expect(all(res, 'content-type')).toEqual(['application/json']);
    expect(all(res, 'cache-control')).toEqual(['max-age=1']);
  });

  it.each([
    ['Content-Length', '1'],
    ['Transfer-Encoding', 'chunked'],
  ])('is framed by what it is, not by a %s that earlier middleware set', async (name, value) => {
    const app: Middleware = (_req, res, next) => {
      res.setHeader(name, value);
      next();
    };
    const upstream = await rawUpstream((request, socket) => {
      if (request.startsWith('HEAD')) return response(['HTTP/1.1 200 OK', 'Content-Length: 5']);
      if (request.includes('/none')) return response(['HTTP/1.1 204 No Content']);
      if (request.includes('/length'))
        return response(['HTTP/1.1 200 OK', 'Content-Length: 5'], 'whole');
      finish = () => socket.write('2\r\nle\r\n0\r\n\r\n');
      return response(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'], '3\r\nwho\r\n');
    });
    let finish = (): unknown => undefined;
    const { port } = await gateway(framework, app, proxyPass(upstream.url));

    const sized = await rawRequest(port, GET.replace('/', '/length'));
    expect(sized.body).toBe('whole');
    expect(sized.header('content-length')).toBe('5');
    expect(sized.header('transfer-encoding')).toBeUndefined();

    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('who'));
    finish();
    await client.until((text) => text.endsWith('0\r\n\r\n'));
    const [chunked] = parseResponses(client.received());
    expect(chunked?.body).toBe('whole');
    expect(chunked?.header('content-length')).toBeUndefined();
    expect(chunked?.header('transfer-encoding')).toBe('chunked');

    const none = await rawRequest(port, GET.replace('/', '/none'));
    expect(none.header('content-length')).toBeUndefined();
    expect(none.header('transfer-encoding')).toBeUndefined();

    const head = await rawRequest(port, HEAD);
    expect(head.header('content-length')).toBe('5');
    expect(head.header('transfer-encoding')).toBeUndefined();

    const old = await rawClient(port, HTTP_10);
    await old.until((text) => text.includes('who'));
    finish();
    expect(await old.closed()).toMatch(/\r\n\r\nwhole$/);
    expect(old.received()).not.toMatch(/^(content-length|transfer-encoding):/im);
  });

  it('is preceded by its 103 and 102, once each and in order, and keeps their fields out', async () => {
    const upstream = await rawUpstream(
      [
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n',
        'HTTP/1.1 102 Processing\r\n\r\n',
        'HTTP/1.1 103 Early Hints\r\nX-Second: hint\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Final: yes\r\n\r\nok',
      ].join(''),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    const received = await client.until((text) => text.endsWith('ok'));
    const heads = received.split('\r\n\r\n');
    expect(heads.map((head) => head.split('\r\n')[0])).toEqual([
      'HTTP/1.1 103 Early Hints',
      'HTTP/1.1 102 Processing',
      'HTTP/1.1 103 Early Hints',
      'HTTP/1.1 200 OK',
      'ok',
    ]);
    expect(heads[0]).toBe(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>',
    );
    expect(heads[1]).toBe('HTTP/1.1 102 Processing');
    expect(heads[2]).toBe('HTTP/1.1 103 Early Hints\r\nX-Second: hint');
    expect(heads[3]).toMatch(/^X-Final: yes$/m);
    expect(heads[3]).not.toMatch(/^(link|x-second):/im);
  });

  it('sends an interim response on before the final one has come', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      upstreamAnswers = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      return 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n';
    });
    let upstreamAnswers = (): unknown => undefined;
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('Link: </a.css>\r\n\r\n'));
    upstreamAnswers();
    await client.until((text) => text.endsWith('\r\n\r\nok'));
  });

  it('has no interim responses for an HTTP/1.0 client', async () => {
    const upstream = await rawUpstream(
      [
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n',
        'HTTP/1.1 102 Processing\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      ].join(''),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, HTTP_10);
    const received = await client.closed();
    expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(received).not.toContain('Link');
  });

  it.each([
    ['announced', 'Trailer: X-Sum, Server-Timing\r\n'],
    ['not announced', ''],
  ])('passes trailers that were %s on after the body', async (_how, announcement) => {
    const upstream = await rawUpstream(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${announcement}\r\n` +
        '4\r\nbody\r\n0\r\nX-Sum: 42\r\nServer-Timing: db;dur=1\r\n\r\n',
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    expect(res.body).toBe('body');
    expect(res.trailers).toEqual([
      ['X-Sum', '42'],
      ['Server-Timing', 'db;dur=1'],
    ]);
    expect(res.header('x-sum')).toBeUndefined();
  });

  it('passes trailers on that come long after the head', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      finish = () => socket.write('4\r\nmore\r\n0\r\nX-Sum: 42\r\n\r\n');
      return 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n';
    });
    let finish = (): unknown => undefined;
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, GET);
    await client.until((text) => text.includes('body'));
    finish();
    const received = await client.until((text) => text.endsWith('\r\n\r\n') && /sum/i.test(text));
    expect(received).toMatch(/\r\n0\r\nX-Sum: 42\r\n\r\n$/);
  });

  it('drops trailers for an HTTP/1.0 client and still sends the body', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n',
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, HTTP_10);
    const received = await client.closed();
    expect(received).toMatch(/\r\n\r\nbody$/);
    expect(received).not.toMatch(/transfer-encoding|x-sum/i);
  });

  it.each([
    ['204', GET, 'HTTP/1.1 204 No Content', []],
    ['304', GET, 'HTTP/1.1 304 Not Modified', []],
    // RFC 9110, 8.6: here the length is that of the body a 200 to a GET would have.
    ['304 with a length', GET, 'HTTP/1.1 304 Not Modified', ['Content-Length: 1234']],
    ['200 to a HEAD with a length', HEAD, 'HTTP/1.1 200 OK', ['Content-Length: 1234']],
    ['200 to a HEAD without one', HEAD, 'HTTP/1.1 200 OK', []],
    ['404 to a HEAD', HEAD, 'HTTP/1.1 404 Not Found', ['Content-Length: 9']],
  ])('has no body and keeps its fields: %s', async (_what, request, statusLine, length) => {
    const fields = ['ETag: "abc"', 'Content-Type: text/plain', 'X-Kept: yes', ...length];
    const upstream = await rawUpstream((seen) =>
      seen.includes('/next')
        ? response(['HTTP/1.1 200 OK', 'Content-Length: 4'], 'next')
        : response([statusLine, ...fields]),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const client = await rawClient(port, request);
    const head = await client.until((text) => text.includes('\r\n\r\n'));
    expect(head.startsWith(`${statusLine}\r\n`)).toBe(true);
    for (const field of fields) expect(head).toContain(`\r\n${field}\r\n`);
    expect(head).not.toMatch(/transfer-encoding/i);
    expect(head).toMatch(/\r\n\r\n$/);

    // Whatever is taken for the head's body would be missing from the next response.
    client.write(GET.replace('/', '/next'));
    const both = await client.until((text) => text.endsWith('next'));
    expect(both.slice(head.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it('has no length when it is a 204, whatever the upstream says', async () => {
    const upstream = await rawUpstream(
      response(['HTTP/1.1 204 No Content', 'Content-Length: 0', 'X-Kept: yes']),
    );
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const res = await rawRequest(port, GET);
    // RFC 9110, 8.6: a server must not send Content-Length with 204.
    expect(res.header('content-length')).toBeUndefined();
    expect(res.header('x-kept')).toBe('yes');
  });
});

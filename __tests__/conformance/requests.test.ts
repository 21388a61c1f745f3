import { once } from 'node:events';
import { type IncomingMessage, METHODS, type ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import {
  exchangeOf,
  forwardedFor,
  type Handler,
  proxyPass,
  reverseProxy,
  rewriteUrl,
} from 'headrace';
import { parseResponses, rawClient, rawRequest } from '../helpers/client.js';
import { onlyRequest, request, requestsOf, upload } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  listen,
  OK,
  rawUpstream,
  serve,
} from '../helpers/servers.js';

/** CONNECT opens tunnels and TRACE is refused; both are tested where that is. */
const methods = METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE');

/** Answers HEAD without a body, and everything else with one. */
const answer = (bytes: string) => (bytes.startsWith('HEAD ') ? OK.slice(0, -2) : OK);

describe.each(frameworks)('the request line under %s', (framework) => {
  it('forwards method, path, query and body as sent, for every method', async () => {
    const upstream = await rawUpstream(answer);
    const { port } = await gateway(framework, proxyPass(upstream.url));

    const statuses = await Promise.all(
      methods.map(async (method) => {
        const bytes = upload(`${method} /${method}/x?a=1&b`, [], `body of ${method}`);
        return (await rawRequest(port, bytes)).status;
      }),
    );

    expect(new Set(statuses)).toEqual(new Set([200]));
    const seen = requestsOf(upstream).map(({ method, target, body }) => [method, target, body]);
    expect(seen.sort()).toEqual(
      methods.map((method) => [method, `/${method}/x?a=1&b`, `body of ${method}`]).sort(),
    );
  });

  it('forwards every method without a body as well', async () => {
    const upstream = await rawUpstream(answer);
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await Promise.all(methods.map((method) => rawRequest(port, request(`${method} /${method}`))));

    const seen = requestsOf(upstream);
    expect(seen.map(({ method, target }) => `${method} ${target}`).sort()).toEqual(
      methods.map((method) => `${method} /${method}`).sort(),
    );
    expect(seen.filter(({ body }) => body !== '')).toEqual([]);
  });

  it('keeps the query byte for byte', async () => {
    const query = 'a=%20b&c=+&&d=%c3%A4&e=%e4&x[]=1&y={"z":"<\\^`|>"}&q=?/../%2e%2e/&%zz&=';
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request(`GET /p?${query}`));

    expect(onlyRequest(upstream).target).toBe(`/p?${query}`);
  });

  it.each([
    '/',
    '/?',
    '/a%2Fb%2fc',
    '/a/%2e%2e/%2E./../b/.',
    '/a//b///c//',
    '/p%e4th/%C3%a4',
    '/%zz/%',
    '/a;b=c/d:e@f,g!h$i&j\'k(l)*m+n=o"p<q>^`{|}',
  ])('leaves the path %s as it is', async (path) => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request(`GET ${path}`));

    expect(onlyRequest(upstream).target).toBe(path);
  });

  it('never sends on what the parser refuses, such as raw non-ASCII bytes', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    expect((await rawRequest(port, request('GET /p\xe4th'))).status).toBe(400);
    expect(upstream.sockets).toEqual([]);
  });

  it('never sends a fragment', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    const { status } = await rawRequest(port, request('GET /a?b=c#fragment?d'));

    expect(status === 400 ? upstream.received() : onlyRequest(upstream).target).toBe(
      status === 400 ? '' : '/a?b=c',
    );
  });

  it.each(['/a/%2e%2e/b//c?d=%20', '/apis/x', '/x/api'])(
    'changes nothing on %s, which no rewrite matches',
    async (path) => {
      const upstream = await rawUpstream();
      const rewrite = rewriteUrl([
        ['/api', '/v2'],
        [/^\/old\//, '/new/'],
      ]);
      const { port } = await gateway(framework, rewrite, proxyPass(upstream.url));

      await rawRequest(port, request(`GET ${path}`));

      expect(onlyRequest(upstream).target).toBe(path);
    },
  );

  it.each([
    ['/base?sta=tic', '/dir?us=er', '/base/dir?sta=tic&us=er'],
    ['/base?sta=tic', '/dir', '/base/dir?sta=tic'],
    ['/base?sta=tic', '/?us=er', '/base/?sta=tic&us=er'],
    ['/base', '/dir', '/base/dir'],
    ['/base/', '/dir', '/base/dir'],
    ['/base/', '/', '/base/'],
    ['/', '/dir/', '/dir/'],
    ['', '/dir', '/dir'],
    ['/a/b/', '/c%2Fd', '/a/b/c%2Fd'],
    ['/a%2Fb', '/c', '/a%2Fb/c'],
    ['/?sta=tic', '/', '/?sta=tic'],
  ])('joins the target %s and the request %s to %s', async (base, path, joined) => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(`${upstream.url}${base}`));

    await rawRequest(port, request(`GET ${path}`));

    expect(onlyRequest(upstream).target).toBe(joined);
  });

  it('stays on the configured upstream, or answers 400, whatever host the target names', async () => {
    const elsewhere = await rawUpstream();
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const host = `127.0.0.1:${elsewhere.port}`;
    const targets = [
      `//${host}/x`,
      `///${host}/x`,
      `/\\${host}/x`,
      `\\\\${host}/x`,
      `http://${host}/x`,
      `https://${host}/x`,
      `http:/${host}/x`,
      `http:${host}/x`,
      `HTTP://user:secret@${host}/x`,
      `ftp://${host}/x`,
      `@${host}/x`,
      `:80@${host}/x`,
      `.${host}/x`,
      `/@${host}/x`,
      `/%09//${host}/x`,
      `${host}/x`,
    ];

    for (const target of targets) {
      const before = upstream.received().length;
      const { status } = await rawRequest(port, request(`GET ${target}`));
      const arrived = upstream.received().length > before;
      expect([target, status, arrived]).toEqual([target, arrived ? 200 : 400, arrived]);
    }

    expect(elsewhere.sockets).toEqual([]);
    for (const { lines } of requestsOf(upstream)) {
      expect(lines('host')).toEqual([`127.0.0.1:${upstream.port}`]);
    }
  });

  it('sends the path of an absolute target to the configured upstream', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(`${upstream.url}/base`));

    await rawRequest(port, request('GET http://other.example/x/%2e?y=z'));

    expect(onlyRequest(upstream).target).toBe('/base/x/%2e?y=z');
  });

  it('sends a GET without a body without Content-Length and Transfer-Encoding', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request('GET /'));

    const { lines } = onlyRequest(upstream);
    expect([...lines('content-length'), ...lines('transfer-encoding')]).toEqual([]);
  });

  it.each(['POST', 'PUT', 'PATCH'])('keeps Content-Length: 0 of a %s', async (method) => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request(`${method} /`, ['Content-Length: 0']));

    const { lines } = onlyRequest(upstream);
    expect(lines('content-length')).toEqual(['0']);
    expect(lines('transfer-encoding')).toEqual([]);
  });
});

describe('method tokens that the parser of HTTP/1 does not know', () => {
  it('are refused by the parser, and nothing goes out', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', proxyPass(upstream.url));

    expect((await rawRequest(port, request('FROB /'))).status).toBe(400);
    expect(upstream.sockets).toEqual([]);
  });

  it('go out when middleware sets them', async () => {
    const upstream = await rawUpstream();
    const frob: Handler = (req, res, next) => {
      exchangeOf(req, res).method = 'FROB';
      next?.();
    };
    const { port } = await gateway('express 5', frob, proxyPass(upstream.url));

    const { status } = await rawRequest(port, upload('POST /x', [], 'abc'));

    expect(status).toBe(200);
    expect(onlyRequest(upstream)).toMatchObject({ method: 'FROB', target: '/x', body: 'abc' });
  });

  it('arrive as sent over HTTP/2', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    // The compatibility API is Node's own claim that these are requests and responses.
    const server = createHttp2Server((req, res) =>
      pass(req as unknown as IncomingMessage, res as unknown as ServerResponse),
    );
    const session = connectHttp2(`http://127.0.0.1:${await listen(server)}`);
    closeAfter(() => session.destroy());

    const stream = session.request({ ':method': 'FROB', ':path': '/x?y', 'x-a': 'b' });
    stream.end('abc');
    const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
    for await (const _ of stream);

    expect(headers[':status']).toBe(200);
    const { method, target, body, lines } = onlyRequest(upstream);
    expect([method, target, body, lines('x-a')]).toEqual(['FROB', '/x?y', 'abc', ['b']]);
  });
});

describe('a pipeline mounted at /api', () => {
  const mounts = {
    'express 5': (...handlers: Handler[]) => express().use('/api', ...handlers),
    'express 4': (...handlers: Handler[]) => express4().use('/api', ...handlers),
    connect: (...handlers: Handler[]) => {
      const app = connect();
      for (const handler of handlers) app.use('/api', handler as connect.NextHandleFunction);
      return app;
    },
    'a router in a router': (...handlers: Handler[]) =>
      express().use('/a', express.Router().use('/pi', ...handlers)),
  };

  describe.each(Object.entries(mounts))('%s', (name, mount) => {
    const prefix = name === 'a router in a router' ? '/a/pi' : '/api';

    it.each([
      ['/users/1?a=b', '/users/1?a=b'],
      ['/', '/'],
      ['', '/'],
      ['?a=b', '/?a=b'],
      ['/api/x', '/api/x'],
      ['/a%2Fb/%2e%2e', '/a%2Fb/%2e%2e'],
    ])('sends the rest of %s', async (rest, target) => {
      const upstream = await rawUpstream();
      const seen: unknown[] = [];
      const note: Handler = (req, res, next) => {
        const original = () => (req as IncomingMessage & { originalUrl?: string }).originalUrl;
        seen.push(original());
        exchangeOf(req, res).onResponse(() => void seen.push(original()));
        next?.();
      };
      const { port } = await serve(mount(note, proxyPass(upstream.url)));

      const { status } = await rawRequest(port, request(`GET ${prefix}${rest}`));

      expect(status).toBe(200);
      expect(onlyRequest(upstream).target).toBe(target);
      expect(seen).toEqual([`${prefix}${rest}`, `${prefix}${rest}`]);
    });

    it('does not take a second slash for a host', async () => {
      const elsewhere = await rawUpstream();
      const upstream = await rawUpstream();
      const { port } = await serve(mount(proxyPass(upstream.url)));

      const path = `${prefix}//127.0.0.1:${elsewhere.port}/x`;
      const { status } = await rawRequest(port, request(`GET ${path}`));

      expect(elsewhere.sockets).toEqual([]);
      const hosts = requestsOf(upstream).map(({ lines }) => lines('host'));
      expect([status, hosts]).toEqual(
        status === 400 ? [400, []] : [200, [[`127.0.0.1:${upstream.port}`]]],
      );
    });
  });
});

describe.each(frameworks)('the fields of a request under %s', (framework) => {
  it('has the upstream in Host by default', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, forwardedFor(), proxyPass(upstream.url));

    await rawRequest(port, request('GET /'));

    const { lines } = onlyRequest(upstream);
    expect(lines('host')).toEqual([`127.0.0.1:${upstream.port}`]);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
  });

  it("has the client's Host with host: 'client'", async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url, { host: 'client' });
    const { port } = await gateway(framework, forwardedFor(), pass);

    await rawRequest(port, 'GET / HTTP/1.1\r\nHost: app.example:8080\r\n\r\n');

    const { lines } = onlyRequest(upstream);
    expect(lines('host')).toEqual(['app.example:8080']);
    expect(lines('x-forwarded-host')).toEqual(['app.example:8080']);
  });

  it('has a given Host otherwise', async () => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url, { host: 'internal.example:81' });
    const { port } = await gateway(framework, forwardedFor(), pass);

    await rawRequest(port, request('GET /'));

    const { lines } = onlyRequest(upstream);
    expect(lines('host')).toEqual(['internal.example:81']);
    expect(lines('x-forwarded-host')).toEqual(['app.example']);
  });

  it('has the Host that the app sets, above all modes', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(
      framework,
      ((req, res, next) => {
        exchangeOf(req, res).headers.set('host', 'tenant.example');
        next?.();
      }) satisfies Handler,
      proxyPass(upstream.url, { host: 'client' }),
    );

    await rawRequest(port, request('GET /'));

    expect(onlyRequest(upstream).lines('host')).toEqual(['tenant.example']);
  });

  it('has no User-Agent when the client sent none', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, forwardedFor(), proxyPass(upstream.url));

    await rawRequest(port, request('GET /'));

    expect(onlyRequest(upstream).lines('user-agent')).toEqual([]);
  });

  it('adds nothing to what the client sent but Host and Connection', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request('GET /', ['Accept: */*']));

    const names = onlyRequest(upstream).headers.map(([name]) => name.toLowerCase());
    expect(names.filter((name) => name !== 'connection').sort()).toEqual(['accept', 'host']);
  });

  it("keeps the client's spelling and order of names, and latin-1 bytes in values", async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const sent: [string, string][] = [
      ['X-CUSTOM-Id', '1'],
      ['aCCept', 'text/*'],
      ['x-lower', 'caf\xe9 \xff\xa0\x80'],
      ['ETag', '"\xc3\xa4"'],
      ['Cookie', 'a=\xe4; b="c,d"'],
      ['X-Tab', 'a\tb'],
      ['X-Empty', ''],
    ];

    await rawRequest(
      port,
      request(
        'GET /',
        sent.map(([name, value]) => `${name}: ${value}`),
      ),
    );

    const names = sent.map(([name]) => name);
    const { headers } = onlyRequest(upstream);
    expect(headers.filter(([name]) => names.includes(name))).toEqual(sent);
  });

  it('keeps duplicates in their order', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const doubled = ['X-A: 1', 'X-B: x', 'x-a: 2, 3', 'X-A: 4', 'Cookie: a=1', 'Cookie: b=2'];

    await rawRequest(port, request('GET /', [...doubled, 'X-LAST: y']));

    const { headers, lines } = onlyRequest(upstream);
    expect(headers).toContainEqual(['X-LAST', 'y']);
    expect(lines('x-a').join(', ')).toBe('1, 2, 3, 4');
    expect(lines('cookie').join('; ')).toBe('a=1; b=2');
  });
});

/** Calls `edit` as middleware of the app's own would. */
function own(edit: (req: IncomingMessage, res: ServerResponse) => void): Handler {
  return (req, res, next) => {
    edit(req, res);
    next?.();
  };
}

describe.each(frameworks)('edits under %s', (framework) => {
  it('honours what middleware does to req.headers, req.url and req.method', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(
      framework,
      forwardedFor(),
      own((req) => {
        req.headers['x-changed'] = 'new';
        req.headers['x-list'] = ['1', '2'];
        req.headers.authorization = 'Bearer of-the-app';
        delete req.headers['x-removed'];
        req.url = '/elsewhere?x=y';
        req.method = 'DELETE';
      }),
      proxyPass(upstream.url),
    );

    await rawRequest(port, request('GET /here', ['X-Changed: old', 'X-Removed: 1', 'X-Kept: 1']));

    const { method, target, lines } = onlyRequest(upstream);
    expect([method, target]).toEqual(['DELETE', '/elsewhere?x=y']);
    expect(lines('x-changed')).toEqual(['new']);
    expect(lines('x-list').join(', ')).toBe('1, 2');
    expect(lines('authorization')).toEqual(['Bearer of-the-app']);
    expect(lines('x-removed')).toEqual([]);
    expect(lines('x-kept')).toEqual(['1']);
  });

  it.each(['before', 'after'])(
    'lets the overlay win over req.headers, edited %s it',
    async (moment) => {
      const upstream = await rawUpstream();
      const overlay = own((req, res) => {
        const { headers } = exchangeOf(req, res);
        headers.set('x-set', 'overlay').append('x-added', 'overlay').delete('X-DELETED');
        exchangeOf(req, res).path = '/overlay';
      });
      const live = own((req) => {
        for (const name of ['x-set', 'x-deleted']) req.headers[name] = 'live';
        req.url = '/live';
      });
      const edits = moment === 'before' ? [live, overlay] : [overlay, live];
      const { port } = await gateway(framework, ...edits, proxyPass(upstream.url));

      await rawRequest(port, request('GET /', ['X-Set: client', 'X-Added: client']));

      const { target, lines } = onlyRequest(upstream);
      expect(target).toBe('/overlay');
      expect(lines('x-set')).toEqual(['overlay']);
      expect(lines('x-deleted')).toEqual([]);
      expect(lines('x-added')).toEqual(['client, overlay']);
    },
  );

  it('leaves req.headers, req.rawHeaders, req.url and req.method as they were', async () => {
    const upstream = await rawUpstream();
    const snapshots: string[] = [];
    const note = own((req, res) => {
      const snapshot = () => {
        const { headers, rawHeaders, url, method } = req;
        snapshots.push(JSON.stringify({ headers, rawHeaders, url, method }));
      };
      snapshot();
      exchangeOf(req, res).onResponse(snapshot);
    });
    const { port } = await gateway(
      framework,
      note,
      reverseProxy({
        target: upstream.url,
        stripHopHeaders: { also: ['x-also'] },
        forwardedFor: { headers: ['x-forwarded-for', 'forwarded', 'x-real-ip'] },
        rewriteUrl: { '^/api': '' },
      }),
    );
    const headers = ['TE: gzip', 'Keep-Alive: 5', 'Connection: x-a, keep-alive', 'X-A: 1'];
    const claims = ['X-Also: 1', 'X-Forwarded-For: 10.0.0.1', 'Via: 1.1 other'];

    await rawRequest(port, request('GET /api/x', [...headers, ...claims]));

    expect(onlyRequest(upstream).target).toBe('/x');
    expect(snapshots).toHaveLength(2);
    expect(snapshots[1]).toBe(snapshots[0]);
  });
});

describe.each(frameworks)('HTTP/1.0 and HEAD under %s', (framework) => {
  const streamed = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n';

  it('answers an HTTP/1.0 client without chunks and without Host', async () => {
    const upstream = await rawUpstream(streamed);
    const { port } = await gateway(framework, proxyPass(upstream.url));

    const client = await rawClient(port, 'GET /x HTTP/1.0\r\n\r\n');
    const [response] = parseResponses(await client.closed());

    expect(response).toMatchObject({ status: 200, body: 'abc' });
    expect(response?.header('transfer-encoding')).toBeUndefined();
    expect(onlyRequest(upstream).lines('host')).toEqual([`127.0.0.1:${upstream.port}`]);
  });

  it('forwards the body of an HTTP/1.0 request and keeps the connection when asked to', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway(framework, proxyPass(upstream.url));
    const bytes = 'POST /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc';

    const client = await rawClient(port, bytes);
    await client.until((text) => parseResponses(text, false, false).length === 1);
    client.write(bytes);
    const text = await client.until((text) => parseResponses(text, false, false).length === 2);

    expect(parseResponses(text).map(({ status, body }) => [status, body])).toEqual([
      [200, 'ok'],
      [200, 'ok'],
    ]);
    expect(requestsOf(upstream).map(({ body }) => body)).toEqual(['abc', 'abc']);
  });

  it('answers HEAD with headers and no body', async () => {
    const upstream = await rawUpstream('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n');
    const { port } = await gateway(framework, proxyPass(upstream.url));

    // What follows a body that is wrongly there would not parse as the second response.
    const client = await rawClient(port, request('HEAD /1') + request('HEAD /2'));
    const text = await client.until((text) => parseResponses(text, true).length === 2);

    for (const { status, header } of parseResponses(text, true)) {
      expect([status, header('content-length'), header('x-a')]).toEqual([200, '5', 'b']);
    }
    expect(text.endsWith('\r\n\r\n')).toBe(true);
  });

  it('keeps the upstream connection behind HEAD', async () => {
    const upstream = await rawUpstream(answer);
    const { port } = await gateway(framework, proxyPass(upstream.url));

    await rawRequest(port, request('HEAD /1'));
    await rawRequest(port, request('HEAD /2'));
    await rawRequest(port, request('GET /3'));

    expect(upstream.connections()).toHaveLength(1);
    expect(requestsOf(upstream).map(({ target }) => target)).toEqual(['/1', '/2', '/3']);
  });
});

import { EventEmitter as Emitter, once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { describe, expect, it } from '@jest/globals';
import {
  attach,
  type ForwardProxyOptions,
  forwardProxy,
  modifyResponse,
  proxyPass,
  stripHopHeaders,
  type TargetLookup,
  type TargetRule,
} from 'headrace';
import { authority } from '../helpers/certificates.js';
import { rawClient, rawRequest } from '../helpers/client.js';
import { names } from '../helpers/names.js';
import { recordErrors } from '../helpers/record-errors.js';
import {
  appOf,
  closeAfter,
  frameworks,
  gateway,
  listen,
  type Middleware,
  rawUpstream,
  serve,
} from '../helpers/servers.js';
import { canonicalRequests } from '../helpers/wire.js';

/** A forward proxy, closed after the test. */
function forwarding(options?: ForwardProxyOptions) {
  const proxy = forwardProxy(options);
  closeAfter(() => proxy.close());
  return proxy;
}

/** A proxy that may go to loopback. */
const open = (options: ForwardProxyOptions = {}) =>
  forwarding({ allow: ['127.0.0.1', '::1'], ...options });

const get = (url: string, ...lines: string[]) =>
  [`GET ${url} HTTP/1.1`, 'Host: proxy', ...lines, '', ''].join('\r\n');

describe('an absolute-form request', () => {
  it.each(frameworks)(
    'goes to the server it names, in origin-form, under %s',
    async (framework) => {
      const upstream = await rawUpstream();
      const { port } = await gateway(framework, open());

      const response = await rawRequest(
        port,
        get(`${upstream.url}/a/../b%2f?x=1`, 'X-A: 1', 'Proxy-Connection: keep-alive'),
      );

      expect([response.status, response.body]).toEqual([200, 'ok']);
      const [request] = canonicalRequests(upstream.received()).requests;
      expect([request?.method, request?.target]).toEqual(['GET', '/a/../b%2f?x=1']);
      expect(request?.headers).toEqual([
        ['host', `127.0.0.1:${upstream.port}`],
        ['connection', 'keep-alive'],
        ['X-A', '1'],
        ['Via', '1.1 headrace'],
      ]);
    },
  );

  it.each([
    ['', '/'],
    ['?a=1', '/?a=1'],
    ['/x#fragment', '/x'],
    ['//evil/x', '//evil/x'],
  ])('with %j behind the authority has the path %s', async (rest, path) => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', open());
    expect((await rawRequest(port, get(`${upstream.url}${rest}`))).status).toBe(200);
    expect(canonicalRequests(upstream.received()).requests[0]?.target).toBe(path);
  });

  it('takes its upload along, and leaves the client as unknown as it was', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', open());
    await rawRequest(
      port,
      `POST ${upstream.url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello`,
    );
    const [request] = canonicalRequests(upstream.received()).requests;
    expect([request?.method, request?.body]).toEqual(['POST', 'hello']);
    expect(request?.header('x-forwarded-for')).toBeUndefined();
  });

  it('of https goes over TLS that is verified', async () => {
    const ca = await authority();
    const server = createTlsServer(await ca.issue('127.0.0.1'), (req, res) => {
      res.end(req.url);
    });
    const url = `https://127.0.0.1:${await listen(server)}/secret`;
    const trusting = await gateway('express 5', open({ tls: { ca: ca.cert } }));
    expect((await rawRequest(trusting.port, get(url))).body).toBe('/secret');
    const other = await gateway('express 5', open());
    expect((await rawRequest(other.port, get(url))).status).toBe(502);
  });

  it('uses the connection of the one before', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', open());
    for (let i = 0; i < 3; i++) await rawRequest(port, get(`${upstream.url}/${i}`));
    expect(upstream.connections()).toHaveLength(1);
  });

  it('tries the next address where nothing listens on the first', async () => {
    const upstream = await rawUpstream();
    const { lookup } = names({ 'several.example': ['127.0.0.3', '127.0.0.1'] });
    const { port } = await gateway('express 5', forwarding({ allow: '127.0.0.0/8', lookup }));
    const url = `http://several.example:${upstream.port}/`;
    expect((await rawRequest(port, get(url))).status).toBe(200);
  });

  it('goes through the pieces around it', async () => {
    const upstream = await rawUpstream();
    const edit = modifyResponse((response) => void response.headers.set('X-Proxy', 'magical'));
    const { port } = await gateway('express 5', edit, open());
    expect((await rawRequest(port, get(upstream.url))).header('x-proxy')).toBe('magical');
  });

  it('that asks for an upgrade gets its tunnel, where the app is attached', async () => {
    const upstream = await rawUpstream((_request, socket) => {
      socket.on('data', (chunk) => socket.write(`you said ${chunk}`));
      return 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n';
    });
    const app = appOf('express 5', open());
    const { server, port } = await serve(app);
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    const bytes = get(`${upstream.url}/chat`, 'Connection: Upgrade', 'Upgrade: chat');
    const client = await rawClient(port, bytes);
    expect(await client.until((text) => text.endsWith('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 101 /);
    client.write('hello');
    await client.until((text) => text.endsWith('you said hello'));
    client.socket.destroy();
  });

  it('never takes the credentials for the proxy along', async () => {
    const upstream = await rawUpstream();
    const keep = stripHopHeaders({ keep: ['proxy-authorization'] });
    const { port } = await gateway('express 5', keep, open());
    await rawRequest(port, get(upstream.url, 'Proxy-Authorization: Basic YTpi'));
    expect(upstream.received()).not.toMatch(/proxy-authorization|YTpi/i);
  });

  it('that was here before is 508, and writes no Via when told not to', async () => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', open({ via: 'edge' }));
    expect((await rawRequest(port, get(upstream.url, 'Via: 1.1 edge'))).status).toBe(508);
    const silent = await gateway('express 5', open({ via: false }));
    expect((await rawRequest(silent.port, get(upstream.url))).status).toBe(200);
    expect(upstream.received()).not.toMatch(/via/i);
  });

  it('for the proxy itself is 508, under whichever of its addresses', async () => {
    const { errors, record } = recordErrors();
    const proxy = open({ allow: ['0.0.0.0/0', '::/0'] });
    const app = appOf('express 5', proxy, record, (_req, res) => res.end('inside'));
    const { port, server } = await serve(app);
    for (const host of ['127.0.0.1', '127.1', 'localhost', '0.0.0.0', '[::ffff:127.0.0.1]']) {
      expect((await rawRequest(port, get(`http://${host}:${port}/`))).status).toBe(508);
    }
    server.close();
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['ERR_PROXY_LOOP']));
  });

  it.each([
    ['TRACE', 405],
    ['OPTIONS', 200],
  ])('of %s with no forwards left is not forwarded: %i', async (method, status) => {
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', open());
    const bytes = get(upstream.url, 'Max-Forwards: 0').replace('GET', method);
    expect((await rawRequest(port, bytes)).status).toBe(status);
    expect(upstream.received()).toBe('');
  });

  it.each([
    'ftp://127.0.0.1/',
    'http://user:pw@127.0.0.1/',
    'http://127.0.0.1:0/',
    'http://127.0.0.1:65536/',
    'http:///x',
  ])('for %s is 400', async (url) => {
    for (const framework of ['express 5', 'node:http'] as const) {
      const { port } = await gateway(framework, open());
      expect((await rawRequest(port, get(url))).status).toBe(400);
    }
  });

  it('to a port that nothing listens on is 502, to a name without an address too', async () => {
    const { errors, record } = recordErrors();
    const { lookup } = names({});
    const { port } = await gateway('express 5', open({ lookup }), record);
    expect((await rawRequest(port, get('http://127.0.0.1:1/'))).status).toBe(502);
    expect((await rawRequest(port, get('http://lost.example/'))).status).toBe(502);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_CONNECT', 'ERR_PROXY_CONNECT']);
  });
});

it('is 502 at once where the lookup of a name is a promise that rejects', async () => {
  const { errors, record } = recordErrors();
  const lookup = async (): Promise<never> => Promise.reject(new Error('of the user'));
  const { port } = await gateway('express 5', open({ lookup: lookup as never }), record);
  expect((await rawRequest(port, get('http://lost.example/'))).status).toBe(502);
  expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_CONNECT']);
});

describe('a request for a path of this server', () => {
  it.each(frameworks)('is left to what stands behind, under %s', async (framework) => {
    const upstream = await rawUpstream();
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await gateway(framework, open(), pass);
    expect((await rawRequest(port, get('/own'))).body).toBe('ok');
    expect(canonicalRequests(upstream.received()).requests[0]?.target).toBe('/own');
  });

  it('is 400 where nothing stands behind', async () => {
    const { port } = await gateway('node:http', open());
    expect((await rawRequest(port, get('/own'))).status).toBe(400);
  });
});

describe('a target that is not allowed', () => {
  it.each([
    '127.0.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '017700000001',
    '127.0.0.1.',
    '0.0.0.0',
    '0',
    '[::]',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '10.0.0.1',
    '169.254.169.254',
    '0xa9fea9fe',
    '[fd00:ec2::254]',
    '[::ffff:a9fe:a9fe]',
    'localhost',
  ])('is 403 by default: %s', async (host) => {
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', forwarding(), record);
    const response = await rawRequest(port, get(`http://${host}/`));
    expect([response.status, response.body]).toEqual([403, 'ERR_PROXY_FORBIDDEN_TARGET']);
    expect(errors[0]?.message).toBe('This target is not allowed');
  });

  it('is 403 when its port is not', async () => {
    const { asked, lookup } = names({});
    const { port } = await gateway('express 5', forwarding({ lookup }));
    expect((await rawRequest(port, get('http://1.1.1.1:25/'))).status).toBe(403);
    expect((await rawRequest(port, get('http://example.com:8080/'))).status).toBe(403);
    expect(asked).toEqual([]);
  });

  it.each<[rule: TargetRule, host: string]>([
    ['127.0.0.1', '127.1'],
    ['127.0.0.0/8', '[::ffff:127.0.0.1]'],
    ['one.example', 'ONE.example.'],
    ['*.example', 'one.example'],
    [({ host }) => host === 'one.example', 'one.example'],
  ])('is 403 when %s is denied, though it is allowed: %s', async (deny, host) => {
    const upstream = await rawUpstream();
    const { lookup } = names({ 'one.example': '127.0.0.1', 'two.example': '127.0.0.1' });
    const { port } = await gateway('express 5', open({ deny, lookup }));
    expect((await rawRequest(port, get(`http://${host}:${upstream.port}/`))).status).toBe(403);
    expect(upstream.received()).toBe('');
  });

  it('is the name that resolves to a private address, even when the name is allowed', async () => {
    const upstream = await rawUpstream();
    const { lookup } = names({ 'inside.example': '127.0.0.1' });
    for (const allow of ['inside.example', '*.example', '*', upstream.port]) {
      const { port } = await gateway('express 5', forwarding({ allow, lookup }));
      const url = `http://inside.example:${upstream.port}/`;
      expect((await rawRequest(port, get(url))).status).toBe(403);
    }
    expect(upstream.connections()).toEqual([]);
  });

  it('is connected to by nobody: of several addresses, the permitted ones are tried', async () => {
    const upstream = await rawUpstream();
    const { lookup } = names({ 'mixed.example': ['127.0.0.2', '127.0.0.1', '::1'] });
    const { port } = await gateway('express 5', forwarding({ allow: '127.0.0.1', lookup }));
    const url = `http://mixed.example:${upstream.port}/`;
    expect((await rawRequest(port, get(url))).status).toBe(200);
    expect(upstream.sockets[0]?.localAddress).toBe('127.0.0.1');
    expect(upstream.received()).toContain(`host: mixed.example:${upstream.port}\r\n`);
  });

  it('does not become one by a second answer of DNS', async () => {
    const inside = await rawUpstream();
    const outside = await serve((_req, res) => void res.end('outside'));
    // The first answer is the permitted one; each later one is not.
    let asked = 0;
    const lookup: TargetLookup = (_hostname, _options, callback) =>
      callback(null, [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }]);
    const { port } = await gateway('express 5', forwarding({ allow: '127.0.0.1', lookup }));
    const url = `http://rebound.example:${outside.port}/`;
    expect((await rawRequest(port, get(url))).body).toBe('outside');
    expect((await rawRequest(port, get(url))).status).toBe(403);
    expect([asked, inside.connections()]).toEqual([2, []]);
  });

  it('does not become one over a connection that was opened for somebody else', async () => {
    const upstream = await rawUpstream();
    const { lookup } = names({ 'shared.example': '127.0.0.1' });
    const isAdmin: TargetRule = ({ req }) => req.headers['x-role'] === 'admin';
    const { port } = await gateway('express 5', forwarding({ allow: isAdmin, lookup }));
    const url = `http://shared.example:${upstream.port}/`;
    expect((await rawRequest(port, get(url, 'X-Role: admin'))).status).toBe(200);
    expect((await rawRequest(port, get(url))).status).toBe(403);
  });

  it('does not become one because another request may reach another address of the name', async () => {
    const answer = (text: string) => createServer((_req, res) => void res.end(text));
    const first = answer('first');
    const port = await listen(first);
    const second = answer('second');
    await new Promise<void>((resolve) => second.listen(port, '127.0.0.2', resolve));
    closeAfter(() => new Promise((done) => second.close(done).closeAllConnections()));
    const { lookup } = names({ 'two.example': ['127.0.0.1', '127.0.0.2'] });
    const chosen: TargetRule = ({ address, req }) => req.headers['x-to'] === address;
    const proxy = await gateway('express 5', forwarding({ allow: chosen, lookup }));
    const ask = async (address: string) =>
      (await rawRequest(proxy.port, get(`http://two.example:${port}/`, `X-To: ${address}`))).body;
    expect(await ask('127.0.0.1')).toBe('first');
    expect(await ask('127.0.0.2')).toBe('second');
    expect(await ask('127.0.0.1')).toBe('first');
  });

  it.each([
    ['nothing', []],
    ['what is none', [{ address: 'evil', family: 4 }]],
    ['no list', '127.0.0.1'],
  ])('is one for which the resolver finds %s: 502', async (_what, found) => {
    const lookup = ((_h, _o, callback) => callback(null, found as never)) as TargetLookup;
    const { errors, record } = recordErrors();
    const proxy = forwarding({ allow: () => true, lookup });
    const { port } = await gateway('express 5', proxy, record);
    expect((await rawRequest(port, get('http://a.example/'))).status).toBe(502);
    expect(errors[0]?.cause).toEqual(new Error('No addresses for a.example'));
  });

  it('is 500 when a rule throws, and 502 when the resolver does', async () => {
    const broken = () => {
      throw new Error('broken');
    };
    const rule = await gateway('express 5', forwarding({ allow: broken }));
    expect((await rawRequest(rule.port, get('http://127.0.0.1/'))).status).toBe(500);
    const { port } = await gateway('express 5', forwarding({ lookup: broken }));
    expect((await rawRequest(port, get('http://a.example/'))).status).toBe(502);
  });
});

it('a resolver that never answers is given up after connectTimeoutMs', async () => {
  const proxy = forwarding({ lookup: () => {}, connectTimeoutMs: 50 });
  const { port } = await gateway('express 5', proxy);
  expect((await rawRequest(port, get('http://a.example/'))).status).toBe(504);
});

it('a client that leaves while its target is looked up is nobody to connect for', async () => {
  const upstream = await rawUpstream();
  const known = new Emitter();
  const lookup: TargetLookup = (_hostname, _options, callback) => {
    known.emit('asked', () => callback(null, [{ address: '127.0.0.1', family: 4 }]));
  };
  const { server, port } = await gateway('express 5', open({ lookup }));
  const gone = once(server, 'request').then(([, res]) => once(res, 'close'));
  const asked = once(known, 'asked');
  const client = await rawClient(port, get(`http://a.example:${upstream.port}/`));
  const [answer] = (await asked) as [() => void];
  client.socket.destroy();
  await gone;
  answer();
  // A connection of ours behind it would come after it.
  const after = await rawClient(upstream.port, 'GET / HTTP/1.1\r\n\r\n');
  await after.until((text) => text.endsWith('ok'));
  expect(upstream.connections()).toHaveLength(1);
});

describe('an answer that somebody else has begun', () => {
  it('is broken off when nobody ends it', async () => {
    const begin: Middleware = (_req, res, next) => {
      res.flushHeaders();
      next?.();
    };
    const upstream = await rawUpstream();
    const { port } = await gateway('express 5', begin, open({ bodyTimeoutMs: 50 }));
    const client = await rawClient(port, get(upstream.url));
    expect(await client.closed()).not.toMatch(/0\r\n\r\n$/);
    expect(upstream.received()).toBe('');
  });
});

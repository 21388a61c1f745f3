import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage, type RequestOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { describe, expect, it } from '@jest/globals';
import {
  type ForwardedForOptions,
  forwardedFor,
  type Handler,
  rewriteUrl,
  stripHopHeaders,
} from 'headrace';
import request from 'supertest';
import { errorOf, printing } from '../helpers/apps.js';
import { closeAfter } from '../helpers/servers.js';

type Fields = Record<string, string | undefined>;

/** What goes out of the forwarding fields that a client has sent. */
async function sent(
  options: ForwardedForOptions | undefined,
  claims: Record<string, string | string[]> = {},
  trustProxy?: unknown,
): Promise<Fields> {
  const app = printing(forwardedFor(options));
  if (trustProxy !== undefined) app.set('trust proxy', trustProxy);
  const test = request(app).get('/').set('Host', 'app.example:8080');
  for (const [name, value] of Object.entries(claims)) test.set(name, value as string);
  return forwarding((await test.expect(200)).body.headers);
}

/** The fields that are not those of every request of supertest. */
function forwarding(fields: Fields): Fields {
  const { 'accept-encoding': _, ...others } = fields;
  return others;
}

const VIA = { via: '1.1 headrace' };

describe('forwardedFor', () => {
  it('tells who the client is, in the fields that everybody reads', async () => {
    expect(await sent(undefined)).toEqual({
      ...VIA,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'app.example:8080',
      'x-forwarded-proto': 'http',
    });
  });

  it('writes the fields it is told to, in any case', async () => {
    const headers = [
      'x-forwarded-for',
      'x-forwarded-host',
      'x-forwarded-proto',
      'x-forwarded-port',
      'x-real-ip',
      'forwarded',
    ] as const;
    expect(await sent({ headers })).toEqual({
      ...VIA,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'app.example:8080',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '8080',
      'x-real-ip': '127.0.0.1',
      forwarded: 'for=127.0.0.1;host="app.example:8080";proto=http',
    });
    expect(await sent({ headers: 'X-Real-IP' as never })).toEqual({
      ...VIA,
      'x-real-ip': '127.0.0.1',
    });
    expect(await sent({ headers: [] })).toEqual(VIA);
  });

  it('leaves req.headers as they were', async () => {
    let live: unknown;
    const look: Handler = (req, _res, next) => {
      live = { ...req.headers };
      next?.();
    };
    await request(printing(forwardedFor(), look)).get('/').set('X-Forwarded-For', '6.6.6.6');
    expect(live).toHaveProperty('x-forwarded-for', '6.6.6.6');
    expect(live).not.toHaveProperty('via');
  });
});

describe('from an untrusted peer', () => {
  const CLAIMS = {
    'X-Forwarded-For': '6.6.6.6',
    'X-Forwarded-Host': 'evil',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Port': '1',
    'X-Forwarded-User': 'root',
    'X-Real-IP': '6.6.6.6',
    'X-Client-IP': '6.6.6.6',
    'True-Client-IP': '6.6.6.6',
    Forwarded: 'for=6.6.6.6',
  };

  it.each([
    ['by default', {}, undefined],
    ['with trust: false', { trust: false }, undefined],
    ['with trust: 0', { trust: 0 }, undefined],
    ['with the app trusting others', {}, '10.0.0.0/8'],
    ['with trust in other addresses', { trust: ['10.0.0.0/8', 'uniquelocal', '::1'] }, 'loopback'],
    ['with a function that says no', { trust: () => false }, 'loopback'],
  ])('its claims are replaced or dropped: %s', async (_, options, trustProxy) => {
    expect(await sent(options, CLAIMS, trustProxy)).toEqual({
      ...VIA,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'app.example:8080',
      'x-forwarded-proto': 'http',
    });
  });

  it('its claims are replaced in the fields that only some write', async () => {
    const headers = ['x-real-ip', 'x-forwarded-port', 'forwarded'] as const;
    expect(await sent({ headers }, CLAIMS)).toEqual({
      ...VIA,
      'x-real-ip': '127.0.0.1',
      'x-forwarded-port': '8080',
      forwarded: 'for=127.0.0.1;host="app.example:8080";proto=http',
    });
  });
});

describe('from a trusted peer', () => {
  const CLAIMS = {
    'X-Forwarded-For': ['1.1.1.1', '10.0.0.2'],
    'X-Forwarded-Host': 'public.example',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-User': 'kept',
    'X-Real-IP': '1.1.1.1',
  };

  it.each([
    ['the app says so', {}, 'loopback'],
    ['the app says so by hops', {}, 1],
    ['trust: true', { trust: true }, undefined],
    ['trust: 1', { trust: 1 }, undefined],
    ['its address is listed', { trust: '10.0.0.2, 127.0.0.1' }, undefined],
    ['its range is listed', { trust: ['127.0.0.0/8'] }, undefined],
    ['its range has a name', { trust: 'loopback' }, undefined],
    ['a function says so', { trust: (address: string) => address === '127.0.0.1' }, undefined],
  ])('its claims are appended to, several lines folded into one: %s', async (_, options, trust) => {
    expect(await sent(options, CLAIMS, trust)).toEqual({
      ...VIA,
      'x-forwarded-for': '1.1.1.1, 10.0.0.2, 127.0.0.1',
      'x-forwarded-host': 'public.example',
      'x-forwarded-proto': 'https',
      'x-forwarded-user': 'kept',
      'x-real-ip': '1.1.1.1',
    });
  });

  it.each([
    [true, '1.1.1.1'],
    [1, '10.0.0.2'],
    [['127.0.0.1', '10.0.0.2'], '1.1.1.1'],
    ['loopback', '10.0.0.2'],
  ])('X-Real-IP is the first that trust %j does not cover', async (trust, address) => {
    const fields = await sent({ trust, headers: 'x-real-ip' }, CLAIMS);
    expect(fields['x-real-ip']).toBe(address);
  });

  it('X-Real-IP is an address, whatever the chain says', async () => {
    const fields = await sent({ trust: true, headers: 'x-real-ip' }, { 'X-Forwarded-For': '_x' });
    expect(fields['x-real-ip']).toBe('127.0.0.1');
  });

  it.each([
    [{ 'X-Forwarded-Port': '8443' }, '8443'],
    [{ 'X-Forwarded-Port': '8443, 1' }, '8080'],
    [{ 'X-Forwarded-Host': 'public.example:444' }, '444'],
    [{ 'X-Forwarded-Host': 'public.example' }, '80'],
    [{ 'X-Forwarded-Host': 'public.example', 'X-Forwarded-Proto': 'https' }, '443'],
  ])('the port of %j is %s', async (claims, port) => {
    const fields = await sent({ trust: true, headers: 'x-forwarded-port' }, claims);
    expect(fields['x-forwarded-port']).toBe(port);
  });

  it('Forwarded is appended to', async () => {
    const claims = { Forwarded: 'for="[2001:db8::1]";by=_x, for=10.0.0.2' };
    expect((await sent({ trust: true, headers: 'forwarded' }, claims)).forwarded).toBe(
      `${claims.Forwarded}, for=127.0.0.1;host="app.example:8080";proto=http`,
    );
  });

  it.each(['for="6.6.6.6', 'for="6.6.6.6\\"', 'a"b"c"'])(
    'quoting in Forwarded: %s cannot be broken out of',
    async (claim) => {
      const fields = await sent({ trust: true, headers: 'forwarded' }, { Forwarded: claim });
      expect(fields.forwarded).toBe('for=127.0.0.1;host="app.example:8080";proto=http');
    },
  );

  it('what it says of scheme and host has to be one', async () => {
    const claims = { 'X-Forwarded-Proto': 'javascript', 'X-Forwarded-Host': 'a"b' };
    expect(await sent({ trust: true }, claims)).toMatchObject({
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'app.example:8080',
    });
  });
});

describe('addresses and hosts', () => {
  it('::ffff:1.2.3.4 is written 1.2.3.4; IPv6 in Forwarded is quoted and bracketed', async () => {
    const options: ForwardedForOptions = { headers: ['x-forwarded-for', 'x-real-ip', 'forwarded'] };
    const server = createServer(printing(forwardedFor(options)));
    await new Promise<void>((resolve) => server.listen(0, '::1', resolve));
    closeAfter(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    expect(await fetched({ host: '::1', port })).toEqual({
      ...VIA,
      'x-forwarded-for': '::1',
      'x-real-ip': '::1',
      forwarded: `for="[::1]";host="[::1]:${port}";proto=http`,
    });
    // supertest's servers listen on [::], where the peer is ::ffff:127.0.0.1.
    expect((await sent(options))['x-forwarded-for']).toBe('127.0.0.1');
  });

  it('a peer on a Unix socket is unknown', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'headrace-'));
    closeAfter(() => rm(folder, { recursive: true }));
    const headers = ['x-forwarded-for', 'x-real-ip', 'forwarded'] as const;
    const server = createServer(printing(forwardedFor({ headers, trust: true })));
    const socketPath = join(folder, 'gateway.sock');
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    closeAfter(() => new Promise((resolve) => server.close(resolve)));
    expect(await fetched({ socketPath, headers: { Host: 'a' } })).toEqual({
      ...VIA,
      'x-forwarded-for': 'unknown',
      'x-real-ip': 'unknown',
      forwarded: 'for=unknown;host=a;proto=http',
    });
  });

  it('a Host that is no host is not passed on', async () => {
    const app = printing(forwardedFor({ headers: ['x-forwarded-host', 'forwarded'] }));
    const { body } = await request(app).get('/').set('Host', 'a"b').set('X-Forwarded-Host', 'evil');
    expect(body.headers).not.toHaveProperty('x-forwarded-host');
    expect(body.headers.forwarded).toBe('for=127.0.0.1;proto=http');
  });

  async function fetched(options: RequestOptions): Promise<Fields> {
    const res = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ agent: false, ...options }, resolve).on('error', reject);
    });
    const { headers } = (await json(res)) as { headers: Fields };
    return forwarding(headers);
  }
});

describe('Via', () => {
  it('is appended to', async () => {
    const fields = await sent({}, { Via: '1.0 fred, 1.1 other' });
    expect(fields.via).toBe('1.0 fred, 1.1 other, 1.1 headrace');
  });

  it('has the name it is given', async () => {
    expect((await sent({ via: 'edge.example:8080' })).via).toBe('1.1 edge.example:8080');
  });

  it('is left alone where it is false', async () => {
    expect(await sent({ via: false })).not.toHaveProperty('via');
    expect((await sent({ via: false }, { Via: '1.1 headrace' })).via).toBe('1.1 headrace');
  });

  it.each([
    ['1.1 headrace'],
    ['1.0 fred, 1.1 HEADRACE'],
    ['HTTP/1.1 headrace (comment), 1.1 other'],
    ['2\theadrace'],
    [['1.1 other', '1.1 headrace']],
  ])('of %j is a request that has been here before: 508', async (via) => {
    const app = printing(forwardedFor());
    const { body } = await request(app)
      .get('/')
      .set('Via', via as string)
      .expect(508);
    expect(body.code).toBe('ERR_PROXY_LOOP');
  });

  it.each(['1.1 headrace2', '1.1 my-headrace', '1.1 other (headrace)', 'headrace 1.1'])(
    'of %j is not',
    async (via) => {
      await request(printing(forwardedFor())).get('/').set('Via', via).expect(200);
    },
  );

  it('knows its own name letter by letter', async () => {
    const app = printing(forwardedFor({ via: 'a.b' }));
    await request(app).get('/').set('Via', '1.1 axb').expect(200);
    await request(app).get('/').set('Via', '1.1 a.b').expect(508);
  });
});

describe('wherever it stands in the chain', () => {
  const strip = stripHopHeaders();
  const forward = forwardedFor();
  const rewrite = rewriteUrl({ '^/a': '/b' });
  const orders: [string, Handler[]][] = [
    ['first', [forward, strip, rewrite]],
    ['second', [strip, forward, rewrite]],
    ['last', [rewrite, strip, forward]],
  ];

  it.each(orders)('the result is the same: %s', async (_, pieces) => {
    const app = printing(...pieces);
    const { body } = await request(app)
      .get('/a')
      .set('Connection', 'X-Forwarded-For, X-Forwarded-Proto, Via')
      .set('X-Forwarded-For', '6.6.6.6')
      .set('Host', 'app.example');
    expect(body.path).toBe('/b');
    expect(forwarding(body.headers)).toEqual({
      ...VIA,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'app.example',
      'x-forwarded-proto': 'http',
    });
  });
});

describe('options', () => {
  it.each([
    [{ vai: 'x' }, 'forwardedFor: unknown option "vai", did you mean "via"?'],
    [{ trustProxy: 1 }, 'forwardedFor: unknown option "trustProxy"; known are trust, headers, via'],
    [null, 'forwardedFor: options must be an object, received null'],
    [
      { trust: 'loopbak' },
      'forwardedFor: trust[0] must be an address or a range, received "loopbak"',
    ],
    [
      { trust: ['10.0.0.1', '10.0.0.0/33'] },
      'forwardedFor: trust[1] must be an address or a range, received "10.0.0.0/33"',
    ],
    [
      { trust: ['10.0.0.0/8', '10.0.0.0/0x8'] },
      'forwardedFor: trust[1] must be an address or a range, received "10.0.0.0/0x8"',
    ],
    [
      { trust: ['10.0.0.0/8/9'] },
      'forwardedFor: trust[0] must be an address or a range, received "10.0.0.0/8/9"',
    ],
    [
      { trust: ['10.0.0.0/'] },
      'forwardedFor: trust[0] must be an address or a range, received "10.0.0.0/"',
    ],
    [
      { trust: ['::1/129'] },
      'forwardedFor: trust[0] must be an address or a range, received "::1/129"',
    ],
    [
      { trust: ['::1/-1'] },
      'forwardedFor: trust[0] must be an address or a range, received "::1/-1"',
    ],
    [
      { trust: ['::1/x'] },
      'forwardedFor: trust[0] must be an address or a range, received "::1/x"',
    ],
    [{ trust: [7] }, 'forwardedFor: trust[0] must be an address or a range, received 7'],
    [
      { trust: 'toString' },
      'forwardedFor: trust[0] must be an address or a range, received "toString"',
    ],
    [
      { trust: {} },
      "forwardedFor: trust must be 'app', a boolean, a number, addresses or a function, received an object []",
    ],
    [
      { trust: null },
      "forwardedFor: trust must be 'app', a boolean, a number, addresses or a function, received null",
    ],
    [{ headers: 5 }, 'forwardedFor: headers must be field names, received 5'],
    [{ headers: [5] }, 'forwardedFor: headers[0] must be one of "x-forwarded-for", '],
    [
      { headers: ['forwarded', 'x-forwarded-four'] },
      'received "x-forwarded-four", did you mean "x-forwarded-for"?',
    ],
    [{ via: '' }, 'forwardedFor: via must be a name for Via, or false, received ""'],
    [
      { via: 'two words' },
      'forwardedFor: via must be a name for Via, or false, received "two words"',
    ],
    [{ via: true }, 'forwardedFor: via must be a name for Via, or false, received true'],
  ])('%j are refused', (options, message) => {
    expect(() => forwardedFor(options as object)).toThrow(TypeError);
    expect(() => forwardedFor(options as object)).toThrow(message);
  });

  it.each([-1, 1.5, Number.NaN])('trust: %p is out of range', (trust) => {
    expect(() => forwardedFor({ trust })).toThrow(
      new RangeError(`forwardedFor: trust must be a whole number of at least 0, received ${trust}`),
    );
  });

  it('mounted without being called, it says so', async () => {
    expect(await errorOf(forwardedFor)).toMatch(
      /Mount what it returns: app\.use\(forwardedFor\(…\)\)$/,
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import { type AddressListOptions, addressList, proxyErrors } from 'headrace';
import request from 'supertest';
import { appWith } from '../helpers/apps.js';
import { rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request as bytesOf } from '../helpers/requests.js';
import { frameworks, gateway, type Middleware } from '../helpers/servers.js';

const greet: Middleware = (_req, res) => void res.end('in');

/** Who gets in, of clients of which a trusted proxy tells. */
async function admitted(options: AddressListOptions, addresses: string[]): Promise<string[]> {
  const app = appWith(addressList({ trust: true, ...options }), greet, proxyErrors());
  const inside: string[] = [];
  for (const address of addresses) {
    const { status } = await request(app).get('/').set('X-Forwarded-For', address);
    expect([200, 403]).toContain(status);
    if (status === 200) inside.push(address);
  }
  return inside;
}

describe('addressList', () => {
  it.each([
    [undefined, 'addressList: options must be an object, received undefined'],
    [{}, 'addressList: allow or deny says who may pass, neither was given'],
    [{ allow: 5 }, 'addressList: allow must be addresses or ranges, received 5'],
    [
      { allow: ['::1', '10.0.0.0/33'] },
      'addressList: allow[1] must be an address or a range, received "10.0.0.0/33"',
    ],
    [
      { deny: 'host.example' },
      'addressList: deny[0] must be an address or a range, received "host.example"',
    ],
    [{ deny: [''] }, 'addressList: deny[0] must be an address or a range, received ""'],
    [{ deny: ['constructor'] }, 'addressList: deny[0] must be an address'],
    [{ deny: [], trust: -1 }, 'addressList: trust must be a whole number of at least 0'],
    [{ alow: [] }, 'addressList: unknown option "alow", did you mean "allow"?'],
  ])('refuses %j', (options, message) => {
    expect(() => addressList(options as AddressListOptions)).toThrow(message);
  });

  it('lets in those that are allowed, by address, range and name, and nobody else', async () => {
    const allow = ['203.0.113.7', '10.0.0.0/8', '2001:db8::/32', 'loopback'];
    const inside = ['203.0.113.7', '10.255.0.1', '2001:db8:1::1', '::1', '127.9.9.9'];
    const outside = ['203.0.113.8', '11.0.0.1', '2001:db9::1', '::2', '9.255.255.255'];

    expect(await admitted({ allow }, [...inside, ...outside])).toEqual(inside);
    expect(await admitted({ allow: '10.0.0.0/8, ::1' }, ['10.1.1.1', '::1', '::2'])).toEqual([
      '10.1.1.1',
      '::1',
    ]);
  });

  it('keeps out those that are denied, whatever else is allowed', async () => {
    const addresses = ['10.6.6.6', '10.0.0.1', '192.0.2.1'];
    expect(await admitted({ deny: ['10.6.6.6'] }, addresses)).toEqual(['10.0.0.1', '192.0.2.1']);
    expect(await admitted({ allow: ['10.0.0.0/8'], deny: ['10.6.6.0/24'] }, addresses)).toEqual([
      '10.0.0.1',
    ]);
    expect(await admitted({ allow: [] }, addresses)).toEqual([]);
  });

  it('knows IPv4 behind IPv6, in each spelling', async () => {
    const mapped = ['::ffff:10.6.6.6', '::FFFF:a06:606', '0:0:0:0:0:ffff:10.6.6.6'];
    expect(await admitted({ allow: ['10.6.6.6'] }, mapped)).toEqual(mapped);
    expect(await admitted({ deny: ['10.6.6.6'] }, mapped)).toEqual([]);
    expect(await admitted({ deny: ['::ffff:10.6.0.0/112'] }, ['10.6.6.6', '10.7.0.1'])).toEqual([
      '10.7.0.1',
    ]);
    // What embeds an address is kept out with it, and let in by its own alone.
    const embedding = ['64:ff9b::a06:606', '2002:a06:606::1'];
    expect(await admitted({ deny: ['10.6.6.6'] }, embedding)).toEqual([]);
    expect(await admitted({ allow: ['10.6.6.6'] }, embedding)).toEqual([]);
  });

  it('refuses a client whose address nobody knows', async () => {
    const unknown = ['unknown', '_hidden', '10.0.0.1:80', '10.0.0.256', 'a, 10.0.0.256'];
    expect(await admitted({ allow: ['0.0.0.0/0', '::/0'] }, unknown)).toEqual([]);
    expect(await admitted({ deny: [] }, unknown)).toEqual([]);
  });

  it.each(frameworks)('goes by the peer where nobody is trusted, in %s', async (framework) => {
    const { errors, record } = recordErrors();
    const inside = await gateway(framework, addressList({ allow: ['127.0.0.1'] }), greet);
    const outside = await gateway(framework, addressList({ deny: 'loopback' }), greet, record);
    const bytes = bytesOf('GET /', ['X-Forwarded-For: 192.0.2.1']);

    expect((await rawRequest(inside.port, bytes)).status).toBe(200);
    expect((await rawRequest(outside.port, bytes)).status).toBe(403);
    expect(errors[0]).toMatchObject({
      code: 'ERR_PROXY_FORBIDDEN',
      message: 'This request is not allowed',
      cause: { code: 'ADDRESS', message: 'addressList: deny has 127.0.0.1' },
    });
  });

  it("believes those that Express' trust proxy covers", async () => {
    const app = appWith(addressList({ allow: ['192.0.2.1'] }), greet, proxyErrors());
    const ask = () => request(app).get('/').set('X-Forwarded-For', '192.0.2.1');

    expect((await ask()).status).toBe(403);
    app.set('trust proxy', 'loopback');
    expect((await ask()).status).toBe(200);
  });
});

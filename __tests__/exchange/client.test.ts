import type { RequestListener } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express from 'express';
import request from 'supertest';
import {
  appTrusts,
  clientAddress,
  clientOrigin,
  mountPath,
  peerAddress,
  plainAddress,
  validHost,
} from '../../src/exchange/client.js';
import { received, receiver } from '../helpers/inbound.js';

describe('plainAddress', () => {
  it.each([
    [undefined, undefined],
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:1.2.3.4', '1.2.3.4'],
    ['fe80::1%eth0', 'fe80::1'],
    ['2001:db8::1', '2001:db8::1'],
  ])('of %p is %p', (address, plain) => {
    expect(plainAddress(address)).toBe(plain);
  });
});

describe('peerAddress', () => {
  it('is the address of the socket', async () => {
    const { req } = await received('X-Forwarded-For: 6.6.6.6');
    expect(peerAddress(req)).toBe('127.0.0.1');
  });
});

describe('clientAddress', () => {
  const everybody = () => true;
  const nobody = () => false;

  it.each([
    ['the peer when nobody is trusted', '1.1.1.1, 2.2.2.2', nobody, '127.0.0.1'],
    ['the first of the chain when everybody is', '1.1.1.1, 2.2.2.2', everybody, '1.1.1.1'],
    [
      'as far back as trust goes',
      '6.6.6.6, 1.1.1.1, 10.0.0.2',
      trusts('127.0.0.1', '10.0.0.2'),
      '1.1.1.1',
    ],
    [
      'as many hops back as are trusted',
      '6.6.6.6, 1.1.1.1',
      (_: string, hop: number) => hop < 1,
      '1.1.1.1',
    ],
    ['the last known one before a gap', '1.1.1.1, , 10.0.0.2', everybody, '10.0.0.2'],
    ['written without its IPv6 mapping', '::ffff:1.1.1.1', everybody, '1.1.1.1'],
  ])('is %s', async (_, chain, trust, address) => {
    const { req } = await received(`X-Forwarded-For: ${chain}`);
    expect(clientAddress(req, trust)).toBe(address);
  });

  it('is the peer where nobody says more', async () => {
    const { req } = await received();
    expect(clientAddress(req, everybody)).toBe('127.0.0.1');
  });

  function trusts(...addresses: string[]) {
    return (address: string) => addresses.includes(address);
  }
});

describe('validHost', () => {
  it.each(['a', 'app.example:8080', '10.0.0.1', '[::1]', '[2001:db8::1]:443', 'a_b~c-d'])(
    'takes %s',
    (host) => {
      expect(validHost(host)).toBe(host);
    },
  );

  it.each([
    '',
    'a b',
    'u@a',
    'a/b',
    'a,b',
    '[::1',
    '::1',
    'a:port',
    'a:123456',
    'a"',
    'a\r\nb',
    'ü',
  ])('does not take %j', (host) => {
    expect(validHost(host)).toBeUndefined();
  });
});

describe('clientOrigin', () => {
  it('is our own scheme and Host', async () => {
    const { req } = await received('X-Forwarded-Proto: https', 'X-Forwarded-Host: evil');
    expect(clientOrigin(req, false)).toEqual({ proto: 'http', host: 'app.example' });
  });

  it('is what a trusted proxy says', async () => {
    const { req } = await received(
      'X-Forwarded-Proto: HTTPS, http',
      'X-Forwarded-Host: public.example, inner.example',
    );
    expect(clientOrigin(req, true)).toEqual({ proto: 'https', host: 'public.example' });
  });

  it('is our own where a trusted proxy says nothing that can be', async () => {
    const { req } = await received('X-Forwarded-Proto: gopher', 'X-Forwarded-Host: a"b');
    expect(clientOrigin(req, true)).toEqual({ proto: 'http', host: 'app.example' });
  });

  it('has the authority of an absolute target before Host', async () => {
    const receive = await receiver();
    const { req } = await receive('GET http://target.example:81/x HTTP/1.1\r\nHost: other\r\n\r\n');
    expect(clientOrigin(req, false).host).toBe('target.example:81');
  });

  it('has no host where the client named none, or none that can be', async () => {
    const receive = await receiver();
    const none = await receive('GET / HTTP/1.0\r\n\r\n');
    expect(clientOrigin(none.req, false).host).toBeUndefined();
    const odd = await receive('GET / HTTP/1.1\r\nHost: a b\r\n\r\n');
    expect(clientOrigin(odd.req, false).host).toBeUndefined();
  });

  it('takes :authority of HTTP/2 where there is no Host', async () => {
    const { req } = await received();
    delete req.headers.host;
    req.headers[':authority'] = 'h2.example';
    expect(clientOrigin(req, false).host).toBe('h2.example');
  });

  it('is https on an encrypted socket, unless a trusted proxy says http', async () => {
    const { req } = await received('X-Forwarded-Proto: http');
    Object.assign(req.socket, { encrypted: true });
    expect(clientOrigin(req, false).proto).toBe('https');
    expect(clientOrigin(req, true).proto).toBe('http');
  });
});

describe('appTrusts', () => {
  it.each([
    [undefined, false],
    ['loopback', true],
    ['10.0.0.0/8', false],
    [1, true],
  ])('with trust proxy %p says %p of the peer', async (setting, answer) => {
    const app = express();
    if (setting !== undefined) app.set('trust proxy', setting);
    app.use((req, res) => res.json(appTrusts(req, '127.0.0.1', 0)));
    expect((await request(app).get('/')).body).toBe(answer);
  });

  it('trusts nobody outside of Express', async () => {
    const { req } = await received();
    expect(appTrusts(req, '127.0.0.1', 0)).toBe(false);
  });
});

describe('mountPath', () => {
  const inExpress = (): RequestListener => {
    const app = express();
    app.use('/shop', (req, res) => res.json(mountPath(req)));
    app.use((req, res) => res.json(mountPath(req)));
    return app;
  };

  const inConnect = (): RequestListener => {
    const app = connect();
    app.use('/shop', (req, res) => res.end(JSON.stringify(mountPath(req))));
    app.use((req: Parameters<typeof mountPath>[0], res) => res.end(JSON.stringify(mountPath(req))));
    return app as RequestListener;
  };

  describe.each([
    ['Express', inExpress],
    ['Connect', inConnect],
  ])('in %s', (_, app) => {
    it.each([
      ['/shop/cart', '/shop'],
      ['/shop/cart?a=/shop/cart', '/shop'],
      ['/shop/', '/shop'],
      ['/shop', '/shop'],
      ['/shop?page=2', '/shop'],
      ['/cart', ''],
      ['/', ''],
    ])('is for %s %p', async (url, mount) => {
      const { text } = await request(app()).get(url);
      expect(JSON.parse(text)).toBe(mount);
    });
  });

  it('is not guessed from a URL that middleware has changed', async () => {
    const { req } = await received();
    Object.assign(req, { originalUrl: '/another', url: '/other' });
    expect(mountPath(req)).toBe('');
  });

  it('is empty on a bare server', async () => {
    const { req } = await received();
    expect(mountPath(req)).toBe('');
  });
});

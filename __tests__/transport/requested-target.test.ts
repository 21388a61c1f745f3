import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { BadRequestError } from 'headrace';
import {
  canonicalHost,
  isForProxy,
  originOf,
  requestedTarget,
} from '../../src/transport/requested-target.js';

const get = (url: string) => ({ method: 'GET', url }) as IncomingMessage;
const connect = (url: string) => ({ method: 'CONNECT', url }) as IncomingMessage;

describe('a request is for the proxy', () => {
  it.each(['http://a/', 'https://a', 'HTTP://a/x', 'ftp://a/', 'ws://a/'])('with %s', (url) => {
    expect(isForProxy(get(url))).toBe(true);
  });

  it('when it is CONNECT, whatever it names', () => {
    expect(isForProxy(connect('a:443'))).toBe(true);
    expect(isForProxy({ method: 'CONNECT' } as IncomingMessage)).toBe(true);
  });

  it.each(['/', '/http://a/', '//a/', '*', 'a', 'a:80', 'http:/a', '://a', ''])(
    'and not with %j',
    (url) => expect(isForProxy(get(url))).toBe(false),
  );
});

describe('the target of an absolute-form request', () => {
  it.each([
    ['http://example.com/', 'http://example.com:80'],
    ['HTTP://EXAMPLE.com:8080/x', 'http://example.com:8080'],
    ['https://example.com?x', 'https://example.com:443'],
    ['http://example.com.:/', 'http://example.com:80'],
    ['http://a_b.example/', 'http://a_b.example:80'],
    ['http://127.1/', 'http://127.0.0.1:80'],
    ['http://2130706433:1/', 'http://127.0.0.1:1'],
    ['http://0x7f.0.0.1/', 'http://127.0.0.1:80'],
    ['http://0177.0.0.01/', 'http://127.0.0.1:80'],
    ['http://127.0.0.1./', 'http://127.0.0.1:80'],
    ['http://[::1]:65535/', 'http://[::1]:65535'],
    ['http://[0:0::0:1]/', 'http://[::1]:80'],
    ['http://[::ffff:127.0.0.1]/', 'http://127.0.0.1:80'],
    ['http://[::ffff:7f00:1]/', 'http://127.0.0.1:80'],
  ])('%s is at %s', (url, origin) => {
    expect(originOf(requestedTarget(get(url)))).toBe(origin);
  });

  it.each([
    'http:///x',
    'http://a@b/',
    'http://user:password@b/',
    'http://a:b/',
    'http://a:0/',
    'http://a:065/',
    'http://a:65536/',
    'http://a:99999999999/',
    'http://a b/',
    'http://a\\b/',
    'http://a%2eb/',
    'http://a%00b/',
    'http://a..b/',
    'http://.a/',
    'http://../',
    'http://b\xfccher.example/',
    'http://256.1.1.1/',
    'http://1.2.3.4.5/',
    'http://09/',
    'http://a.0x7f/',
    'http://::1/',
    'http://[::1/',
    'http://[::1%25eth0]/',
    'http://[fe80::1%eth0]/',
    'http://[1.2.3.4]/',
    'http://[v1.a]/',
    `http://${'a'.repeat(64)}/`,
    `http://${'a.'.repeat(128)}/`,
    'ftp://a/',
    'ws://a/',
  ])('%s is refused', (url) => {
    expect(() => requestedTarget(get(url))).toThrow(BadRequestError);
  });
});

describe('the target of CONNECT', () => {
  it.each([
    ['example.com:443', 'https://example.com:443'],
    ['EXAMPLE.com:1', 'https://example.com:1'],
    ['1.2.3.4:65535', 'https://1.2.3.4:65535'],
    ['[::1]:443', 'https://[::1]:443'],
    ['127.1:443', 'https://127.0.0.1:443'],
  ])('%s is at %s', (url, origin) => {
    expect(originOf(requestedTarget(connect(url)))).toBe(origin);
  });

  it.each([
    ...[
      '',
      '/',
      '*',
      'a',
      'a:',
      ':443',
      'a:0',
      'a:00',
      'a:0443',
      'a:65536',
      'a:-1',
      'a:+1',
      'a:4 43',
    ],
    ...['a:443/', 'a:443/path', 'a:443?x', 'a:443#x', '/a:443', 'u@a:443', 'u:p@a:443', 'a:b:443'],
    ...[
      'http://a:443',
      'https://a/',
      'a\0b:443',
      'a\0:443',
      'a b:443',
      ' a:443',
      'a:443 ',
      'a\t:443',
    ],
    ...['a,b:443', 'a;b:443', 'a%2e:443', '::1:443', '[::1]', '[::1]443', '[fe80::1%25eth0]:443'],
    ...[
      '[fe80::1%eth0]:443',
      '[::1',
      '::1]:443',
      '[::1]:0',
      '[a]:443',
      '[]:443',
      'a:0x1bb',
      'a:4e2',
    ],
  ])('%j is refused', (url) => {
    expect(() => requestedTarget(connect(url))).toThrow(BadRequestError);
  });

  it('is what was asked for, where the app routes by something else', () => {
    const req = Object.assign(connect('/'), { originalUrl: 'example.com:443' });
    expect(originOf(requestedTarget(req))).toBe('https://example.com:443');
  });
});

describe('a host has one spelling', () => {
  it.each([
    ['Example.COM', 'example.com'],
    ['example.com.', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['0x7f000001', '127.0.0.1'],
    ['[2001:DB8:0:0::1]', '2001:db8::1'],
    ['a..', undefined],
    ['', undefined],
  ])('%s is %s', (text, host) => {
    expect(canonicalHost(text)).toBe(host);
  });
});

import { describe, expect, it } from '@jest/globals';
import { type ConnectionOptions, UpstreamPool } from 'headrace';
import { Agent } from 'undici';
import { connectionSettings } from '../src/connection-settings.js';

describe('connectionSettings', () => {
  it('fills in the defaults', () => {
    expect(connectionSettings('factory', { connections: undefined })).toEqual({
      connectTimeoutMs: 5_000,
      connections: 256,
      keepAliveMs: 30_000,
      tls: undefined,
      http2: false,
      dispatcher: undefined,
      maxHeaderBytes: 16_384,
    });
  });

  it('keeps what is given', async () => {
    const dispatcher = new Agent();
    const given = {
      connectTimeoutMs: 1,
      connections: 2,
      keepAliveMs: 3,
      tls: { ca: 'x' },
      http2: true,
      dispatcher,
      maxHeaderBytes: 4,
    };
    expect(connectionSettings('factory', given)).toEqual(given);
    await dispatcher.close();
  });

  it.each<[keyof ConnectionOptions, unknown, string]>([
    ['connectTimeoutMs', 0, 'must be a whole number from 1 to 2147483647, received 0'],
    ['connections', 0, 'must be a whole number of at least 1, received 0'],
    ['connections', '8', 'must be a whole number, received "8"'],
    ['keepAliveMs', 2 ** 31, 'must be a whole number from 1 to 2147483647, received 2147483648'],
    ['http2', 1, 'must be true, false or "prior-knowledge", received 1'],
    ['maxHeaderBytes', 0, 'must be a whole number of at least 1, received 0'],
    ['tls', true, 'must be an object, received true'],
    ['tls', null, 'must be an object, received null'],
    ['dispatcher', {}, 'must be an undici dispatcher, received an object []'],
    ['dispatcher', null, 'must be an undici dispatcher, received null'],
  ])('refuses %s: %p', (name, value, message) => {
    expect(() => connectionSettings('factory', { [name]: value })).toThrow(
      `factory: ${name} ${message}`,
    );
  });
});

describe('settings of an upstream', () => {
  it('are its own, or else the pool’s, or else left to proxyPass()', () => {
    const own = { url: 'http://a', transport: { connections: 1 } };
    const pool = new UpstreamPool([own, 'http://b'], { transport: { connections: 2 } });
    expect(pool.upstreams.map(({ settings }) => settings?.connections)).toEqual([1, 2]);
    expect(new UpstreamPool(['http://c']).upstreams[0]?.settings).toBeUndefined();
  });

  it('name the place of what is wrong', () => {
    const bad = { url: 'http://a', transport: { connections: 0 } };
    expect(() => new UpstreamPool(['http://b', bad])).toThrow(
      'UpstreamPool: upstreams[1].transport: connections must be a whole number of at least 1, received 0',
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import { type ConnectionOptions, UpstreamPool } from 'headrace';
import { Agent } from 'undici';
import { connectionSettings } from '../src/connection-settings.js';

describe('connectionSettings', () => {
  it('fills in the defaults', () => {
    expect(connectionSettings('factory', { connections: undefined })).toEqual({
      connectTimeoutMs: 5_000,
      connections: 256,
      queueTimeoutMs: 30_000,
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
      queueTimeoutMs: 5,
      keepAliveMs: 3,
      tls: { ca: '-----BEGIN CERTIFICATE-----', servername: 'a', rejectUnauthorized: undefined },
      http2: true,
      dispatcher,
      maxHeaderBytes: 4,
    };
    expect(connectionSettings('factory', given)).toEqual(given);
    await dispatcher.close();
  });

  it.each<[keyof ConnectionOptions, unknown, string]>([
    ['connectTimeoutMs', 0, ' must be a whole number from 1 to 2147483647, received 0'],
    ['connections', 0, ' must be a whole number of at least 1, received 0'],
    ['connections', '8', ' must be a whole number, received "8"'],
    ['queueTimeoutMs', 0, ' must be a whole number from 1 to 2147483647, received 0'],
    ['keepAliveMs', 2 ** 31, ' must be a whole number from 1 to 2147483647, received 2147483648'],
    ['http2', 1, ' must be true, false or "prior-knowledge", received 1'],
    ['maxHeaderBytes', 0, ' must be a whole number of at least 1, received 0'],
    ['tls', true, ' must be an object, received true'],
    ['tls', null, ' must be an object, received null'],
    ['tls', [], ' must be an object, received an array of 0'],
    [
      'tls',
      { rejectUnauthorised: false },
      ': unknown option "rejectUnauthorised", did you mean "rejectUnauthorized"?',
    ],
    ['tls', { ca: '/etc/ca.pem' }, '.ca must be PEM: the contents of a file, and not its name'],
    [
      'tls',
      { ca: ['-----BEGIN CERTIFICATE-----', 'ca.crt'] },
      '.ca must be PEM: the contents of a file, and not its name',
    ],
    ['tls', { key: './secret' }, '.key must be PEM: the contents of a file, and not its name'],
    ['tls', { cert: '-----BEGIN CERTIFICATE-----' }, ' cannot be used: error:0480006'],
    ['tls', { ciphers: 'NONE' }, ' cannot be used: error:0A0000B9:SSL routines::no cipher match'],
    ['tls', { ca: 5 }, ' cannot be used: The "options.ca" property must be of type string'],
    [
      'tls',
      { minVersion: 'TLSv9' },
      ' cannot be used: "TLSv9" is not a valid minimum TLS protocol version',
    ],
    [
      'tls',
      { rejectUnauthorized: 'false' },
      '.rejectUnauthorized must be true or false, received "false"',
    ],
    [
      'tls',
      { checkServerIdentity: true },
      '.checkServerIdentity must be a function, received true',
    ],
    ['tls', { servername: 5 }, '.servername must be a name, received 5'],
    ['tls', { localPort: '80' }, '.localPort must be a whole number, received "80"'],
    ['tls', { localPort: 65_536 }, '.localPort must be a whole number from 0 to 65535'],
    ['tls', { minDHSize: -1 }, '.minDHSize must be a whole number from 1 to'],
    ['tls', { autoSelectFamilyAttemptTimeout: 1.5 }, '.autoSelectFamilyAttemptTimeout must be a'],
    ['tls', { family: 5 }, '.family must be 0, 4 or 6, received 5'],
    ['tls', { family: 'IPv4' }, '.family must be 0, 4 or 6, received "IPv4"'],
    ['tls', { localAddress: 'eth0' }, '.localAddress must be an address, received "eth0"'],
    ['tls', { hints: 1 }, '.hints must be flags of node:dns, received 1'],
    ['tls', { lookup: true }, '.lookup must be a function, received true'],
    ['tls', { session: 5 }, '.session must be an object, received 5'],
    ['dispatcher', {}, ' must be an undici dispatcher, received an object []'],
    ['dispatcher', null, ' must be an undici dispatcher, received null'],
  ])('refuses %s: %p', (name, value, message) => {
    expect(() => connectionSettings('factory', { [name]: value })).toThrow(
      `factory: ${name}${message}`,
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

import { describe, expect, it } from '@jest/globals';
import { isRange, rangeList } from '../../src/exchange/ranges.js';
import { facesOf, holds, isPublic } from '../../src/transport/address-guard.js';

describe('an address of the public Internet', () => {
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450:4001::1',
    '64:ff9b::8.8.8.8',
    '::ffff:8.8.8.8',
    '::FFFF:808:808',
  ])('is %s', (address) => {
    expect(isPublic(address)).toBe(true);
  });

  it.each([
    ['unspecified', '0.0.0.0', '0.255.255.255', '::'],
    ['loopback', '127.0.0.1', '127.255.255.255', '::1'],
    ['private', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1'],
    ['link-local', '169.254.0.1', 'fe80::1', 'fe80::1%eth0', 'febf::1'],
    ['unique local', 'fc00::1', 'fd12:3456::1'],
    ['site-local, as it once was', 'fec0::1'],
    ['a metadata service', '169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '192.0.0.192'],
    ['a platform service', '168.63.129.16', 'fd20:ce::254'],
    ['shared by customers of a provider', '100.64.0.1', '100.127.255.255'],
    ['multicast', '224.0.0.1', '239.255.255.255', 'ff02::1'],
    ['reserved or broadcast', '240.0.0.1', '255.255.255.255'],
    ['documentation', '192.0.2.1', '198.51.100.1', '203.0.113.1', '2001:db8::1', '3fff::1'],
    ['benchmarking', '198.18.0.1', '198.19.255.255', '2001:2::1'],
    ['mapped', '::ffff:127.0.0.1', '::ffff:a00:1', '0:0:0:0:0:FFFF:169.254.169.254'],
    ['compatible', '::127.0.0.1', '::10.0.0.1', '::8.8.8.8'],
    ['translated', '64:ff9b::127.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b:1::8.8.8.8'],
    ['6to4', '192.88.99.1', '2002:7f00:1::', '2002:a00:1::1', '2002:808:808::1'],
    ['Teredo', '2001:0:4136:e378:8000:63bf:80ff:fffe', '2001::1'],
    ['ISATAP', '2606:4700::5efe:10.0.0.1', '2606:4700::200:5efe:7f00:1'],
    ['no address', '', 'localhost'],
  ])('is none that is %s', (_what, ...addresses) => {
    expect(addresses.filter(isPublic)).toEqual([]);
  });
});

describe('the faces of an address', () => {
  it.each([
    ['1.2.3.4', ['1.2.3.4']],
    ['::ffff:1.2.3.4', ['1.2.3.4']],
    ['::ffff:102:304', ['1.2.3.4']],
    ['fe80::1%eth0', ['fe80::1']],
    ['2606:4700:0::0001', ['2606:4700::1']],
    ['64:ff9b::1.2.3.4', ['64:ff9b::102:304', '1.2.3.4']],
    ['::ffff:0:1.2.3.4', ['::ffff:0:102:304', '1.2.3.4']],
    ['2002:102:304::', ['2002:102:304::', '1.2.3.4']],
    ['2001:0:102:304::fefd:fcfb', ['2001:0:102:304::fefd:fcfb', '1.2.3.4', '1.2.3.4']],
    ['::1.2.3.4', ['::102:304', '1.2.3.4']],
    ['fe80::5efe:1.2.3.4', ['fe80::5efe:102:304', '1.2.3.4']],
    ['::1', ['::1']],
  ])('of %s are %j', (address, faces) => {
    expect(facesOf(address)).toEqual(faces);
  });
});

describe('a range', () => {
  it.each([
    '10.0.0.0/8',
    '0.0.0.0/0',
    '1.2.3.4',
    '1.2.3.4/32',
    '::1',
    '::/0',
    'fd00::/8',
    '::1/128',
  ])('is %s', (text) => expect(isRange(text)).toBe(true));

  it.each([
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    'a.b',
    '10.0.0.0/',
    '/8',
    '[::1]',
    '1.2.3.4/8/8',
    '',
  ])('is not %j', (text) => expect(isRange(text)).toBe(false));

  it('holds the addresses in it, and those of no other family', () => {
    const list = rangeList(['10.0.0.0/8', 'fd00::/8', '1.2.3.4']);
    expect(['10.1.2.3', 'fd12::1', '1.2.3.4'].map((one) => holds(list, one))).toEqual([
      true,
      true,
      true,
    ]);
    expect(['11.0.0.0', 'fe80::1', '1.2.3.5', '::'].some((one) => holds(list, one))).toBe(false);
  });
});

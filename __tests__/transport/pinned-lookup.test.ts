import type { LookupAddress } from 'node:dns';
import type { Socket } from 'node:net';
import { expect, it } from '@jest/globals';
import { lookupIn, strayed } from '../../src/transport/pinned-lookup.js';

const addresses: LookupAddress[] = [
  { address: '192.0.2.1', family: 4 },
  { address: '2001:DB8::1', family: 6 },
];

it('finds what it was given, whatever it is asked for', async () => {
  const find = lookupIn(addresses);
  const all = new Promise((resolve) => find('a', { all: true }, (_error, list) => resolve(list)));
  expect(await all).toEqual(addresses);
  const one = new Promise((resolve) => find('b', {}, (...found) => resolve(found)));
  expect(await one).toEqual([null, '192.0.2.1', 4]);
});

it.each(['192.0.2.1', '::ffff:192.0.2.1', '2001:db8::1', '2001:db8:0::1'])(
  'a socket that is connected to %s has not strayed',
  (remoteAddress) => {
    expect(strayed({ remoteAddress } as Socket, addresses)).toBeUndefined();
  },
);

it.each(['192.0.2.2', '127.0.0.1', '2001:db8::2'])(
  'a socket that is connected to %s has',
  (remoteAddress) => {
    expect(strayed({ remoteAddress } as Socket, addresses)).toMatchObject({
      code: 'ERR_PROXY_FORBIDDEN_TARGET',
      cause: new Error(`It was ${remoteAddress} that answered`),
    });
  },
);

it('a socket that is connected to nobody any more has been reset', () => {
  expect(strayed({} as Socket, addresses)).toMatchObject({ code: 'ERR_PROXY_RESET' });
});

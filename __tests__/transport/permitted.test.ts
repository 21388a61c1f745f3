import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from '@jest/globals';
import { type Permits, permittedAddresses } from '../../src/transport/permitted.js';
import { TargetRules } from '../../src/transport/target-rules.js';
import { names } from '../helpers/names.js';

/** A request that came in at this address of a server that listens on that one. */
function cameIn(at: string, port: number, bound?: string): IncomingMessage {
  const address = (): AddressInfo | null =>
    bound === undefined ? null : { address: bound, port, family: 'IPv4' };
  const socket = { localAddress: at, localPort: port, server: { address } };
  return { socket } as unknown as IncomingMessage;
}

const everything = new TargetRules('forwardProxy', ['0.0.0.0/0', '::/0'], []);
const permits: Permits = { rules: everything, lookup: names({}).lookup, timeoutMs: 1_000 };

const reach = (host: string, port: number, req: IncomingMessage) =>
  permittedAddresses({ scheme: 'http', host, port }, req, permits);

describe('a target is the proxy itself', () => {
  const [own = '127.0.0.1'] = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address);

  it.each<[to: string, at: string, bound: string | undefined]>([
    ['10.0.0.5', '10.0.0.5', '10.0.0.5'],
    ['10.0.0.5', '::ffff:10.0.0.5', '::'],
    ['0.0.0.0', '127.0.0.1', '127.0.0.1'],
    ['::', '::1', '::1'],
    ['127.0.0.1', '10.0.0.5', '0.0.0.0'],
    ['127.9.9.9', '10.0.0.5', '::'],
    [own, '127.0.0.1', '0.0.0.0'],
    [own, '127.0.0.1', undefined],
  ])('at %s, when the request came in at %s and it listens on %s', async (to, at, bound) => {
    await expect(reach(to, 8080, cameIn(at, 8080, bound))).rejects.toMatchObject({
      code: 'ERR_PROXY_LOOP',
    });
  });

  it.each<[to: string, at: string, bound: string | undefined]>([
    ['10.0.0.6', '10.0.0.5', '10.0.0.5'],
    ['127.0.0.2', '127.0.0.1', '127.0.0.1'],
    ['192.0.2.1', '10.0.0.5', '0.0.0.0'],
  ])('and not at %s, when that was %s, and %s', async (to, at, bound) => {
    expect(await reach(to, 8080, cameIn(at, 8080, bound))).toEqual([{ address: to, family: 4 }]);
  });

  it('and not on another port', async () => {
    const req = cameIn('10.0.0.5', 8080, '0.0.0.0');
    expect(await reach('10.0.0.5', 8081, req)).toHaveLength(1);
  });
});

it('says in the cause what was found, and in the message nothing of it', async () => {
  const rules = new TargetRules('forwardProxy', '*', []);
  const { lookup } = names({ 'inside.example': ['10.0.0.1', 'fd00::1'] });
  const target = { scheme: 'https', host: 'inside.example', port: 443 } as const;
  const refused = permittedAddresses(target, cameIn('127.0.0.1', 1), { ...permits, rules, lookup });
  await expect(refused).rejects.toMatchObject({
    code: 'ERR_PROXY_FORBIDDEN_TARGET',
    message: 'This target is not allowed',
    cause: { message: 'No rule allows https://inside.example:443, which is 10.0.0.1, fd00::1' },
  });
});

import { describe, expect, it } from '@jest/globals';
import { type DnsResolver, lookUp, weighed } from '../../../src/upstreams/discovery/dns-records.js';

describe('weighed', () => {
  it.each([
    ['leaves weights as they are', [60, 20], [60, 20]],
    ['makes all alike where all are 0', [0, 0, 0], [1, 1, 1]],
    ['gives those of 0 a hundredth together', [3, 0, 2, 0], [3, 0.025, 2, 0.025]],
    ['gives those of 0 at most what a weight of 1 gets', [60_000, 0, 40_000], [60_000, 1, 40_000]],
  ])('%s', (_, weights, expected) => {
    expect(weighed(weights.map((weight) => record(weight))).map(({ weight }) => weight)).toEqual(
      expected,
    );
  });

  it('compares only what is of the same priority', () => {
    const records = weighed([record(50, 1), record(0, 2), record(0, 1)]);
    expect(records.map(({ weight }) => weight)).toEqual([50, 1, 0.5]);
  });
});

describe('lookUp', () => {
  it('makes the same answer of the same records in any order', async () => {
    const addresses = ['10.0.0.2', '10.0.0.10', '10.0.0.1'];
    const one = await lookUp(resolver(addresses), 'A', 'a.test', 80);
    const other = await lookUp(resolver(addresses.toReversed()), 'A', 'a.test', 80);
    expect(one).toEqual(other);
  });

  it('names an address and port once, of the better priority', async () => {
    const { endpoints } = await lookUp(
      resolver(['10.0.0.1'], [record(5, 9, 'spare.test'), record(3, 1, 'main.test')]),
      'SRV',
      '_api._tcp.test',
      0,
    );
    expect(endpoints).toEqual([
      { address: '10.0.0.1', port: 80, weight: 3, priority: 1, name: 'main.test' },
    ]);
  });

  it('tells the shortest time to live', async () => {
    const { ttlMs } = await lookUp(
      { ...resolver([]), resolve4: async () => [ttl('10.0.0.1', 9), ttl('10.0.0.2', 4)] },
      'A',
      'a.test',
      80,
    );
    expect(ttlMs).toBe(4_000);
  });

  it('fails when a target of a service cannot be asked for, so that none is dropped for that', async () => {
    const broken = {
      ...resolver([], [record(1)]),
      resolve4: () => Promise.reject(Object.assign(new Error('queryA'), { code: 'ESERVFAIL' })),
    };
    await expect(lookUp(broken, 'SRV', '_api._tcp.test', 0)).rejects.toMatchObject({
      code: 'ESERVFAIL',
    });
  });
});

function record(weight: number, priority = 0, name = 'a.test') {
  return { name, port: 80, weight, priority };
}

function ttl(address: string, seconds: number) {
  return { address, ttl: seconds };
}

function resolver(addresses: string[], records: ReturnType<typeof record>[] = []): DnsResolver {
  return {
    resolve4: async () => addresses.map((address) => ttl(address, 60)),
    resolve6: async () => [],
    resolveSrv: async () => records,
  };
}

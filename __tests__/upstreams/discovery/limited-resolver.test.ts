import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { fromDns, UpstreamPool } from 'headrace';
import type { DnsResolver } from '../../../src/upstreams/discovery/dns-records.js';

beforeEach(() => void jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick'] }));
afterEach(() => void jest.useRealTimers());

const silent = () => new Promise<never>(() => {});

/** A resolver that never answers what it is not told to. */
function resolver(answers: Partial<DnsResolver> = {}): DnsResolver {
  return { resolve4: silent, resolve6: silent, resolveSrv: silent, ...answers };
}

describe('a resolver that never answers', () => {
  it.each(['A', 'AAAA', 'SRV'] as const)('is a failure after half a minute: %s', async (type) => {
    const source = fromDns({ hostname: 'app.test', type, resolver: resolver() });
    const heard: string[] = [];
    const list = source[Symbol.asyncIterator]().next();
    list.catch((error: Error) => heard.push(error.message));
    await jest.advanceTimersByTimeAsync(29_999);
    expect(heard).toEqual([]);
    await jest.advanceTimersByTimeAsync(2);
    expect(heard).toEqual(['fromDns: no answer for app.test within 30000 ms']);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is one for the address of a service, too', async () => {
    const resolveSrv = async () => [{ name: 'a.test', port: 1, priority: 0, weight: 1 }];
    const services = resolver({ resolveSrv });
    const source = fromDns({ hostname: '_app._tcp.test', type: 'SRV', resolver: services });
    const heard: string[] = [];
    const list = source[Symbol.asyncIterator]().next();
    list.catch((error: Error) => heard.push(error.message));
    await jest.advanceTimersByTimeAsync(30_001);
    expect(heard).toEqual(['fromDns: no answer for a.test within 30000 ms']);
  });

  it('is told by the pool, whose upstreams stay, and is waited for no more when that closes', async () => {
    const pool = new UpstreamPool(fromDns({ hostname: 'app.test', resolver: resolver() }));
    const told: unknown[] = [];
    pool.on('discoveryError', (error) => told.push(error));
    await jest.advanceTimersByTimeAsync(30_001);
    expect(told).toHaveLength(1);
    await pool.close();
    await jest.advanceTimersByTimeAsync(0);
    expect(told).toHaveLength(1);
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('a resolver that does not say for how long its answer stands', () => {
  it('is asked at intervals', async () => {
    jest.useRealTimers();
    let asked = 0;
    const resolve4 = async () => {
      asked++;
      return [{ address: '10.0.0.1' }] as never;
    };
    const settings = { hostname: 'app.test', resolver: resolver({ resolve4 }), intervalMs: 100 };
    const pool = new UpstreamPool(fromDns(settings));
    await delay(350);
    await pool.close();
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThanOrEqual(4);
  });
});

describe('a resolver that answers in time', () => {
  it('is not waited for any longer', async () => {
    const resolve4 = async () => [{ address: '10.0.0.1', ttl: 60 }];
    const source = fromDns({ hostname: 'app.test', resolver: resolver({ resolve4 }) });
    const { value } = await source[Symbol.asyncIterator]().next();
    expect(value).toMatchObject([{ url: 'http://10.0.0.1:80' }]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('fails as it does', async () => {
    const resolve4 = () => Promise.reject(new Error('SERVFAIL'));
    const source = fromDns({ hostname: 'app.test', resolver: resolver({ resolve4 }) });
    await expect(source[Symbol.asyncIterator]().next()).rejects.toThrow('SERVFAIL');
    expect(jest.getTimerCount()).toBe(0);
  });
});

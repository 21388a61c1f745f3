import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { type Discovery, type FromDnsOptions, fromDns, type UpstreamOptions } from 'headrace';
import { follow } from '../../../src/upstreams/discovery/follow.js';
import { recordingSink } from '../../helpers/discovery.js';
import { dnsmasq, dnsServer } from '../../helpers/dnsmasq.js';
import { closeAfter } from '../../helpers/servers.js';
import { eventually, settled } from '../../helpers/settled.js';

/** Follows until the test is over; pauses after failures are short. */
function followed(options: FromDnsOptions) {
  const sink = recordingSink();
  const stop = follow(fromDns(options), sink, () => 0.1);
  closeAfter(stop);
  const lists = () => sink.updates as UpstreamOptions[][];
  const urls = () => lists().map((list) => list.map(({ url }) => url));
  return { sink, stop, lists, urls };
}

async function firstList(source: Discovery): Promise<unknown> {
  for await (const list of source) return list;
  return undefined;
}

describe('fromDns', () => {
  it.each([
    [{}, 'fromDns: hostname must be a host name, received undefined'],
    [{ hostname: '' }, 'fromDns: hostname must be a host name, received ""'],
    [{ hostname: 'a:80' }, 'fromDns: hostname must be a host name, received "a:80"'],
    [{ hostname: 'http://a' }, 'fromDns: hostname must be a host name, received "http://a"'],
    [
      { hostname: 'a', type: 'MX' },
      'fromDns: type must be one of "A", "AAAA", "SRV", received "MX"',
    ],
    [
      { hostname: 'a', protocol: 'https:' },
      'fromDns: protocol must be one of "http", "https", received "https:", did you mean "https"?',
    ],
    [
      { hostname: 'a', port: 0 },
      'fromDns: port must be a whole number from 1 to 65535, received 0',
    ],
    [
      { hostname: 'a', type: 'SRV', port: 80 },
      'fromDns: port comes with SRV records, leave it out',
    ],
    [
      { hostname: 'a', intervalMs: 0 },
      'fromDns: intervalMs must be a whole number from 1 to 2147483647, received 0',
    ],
    [
      { hostname: 'a', resolver: { resolve4() {} } },
      'fromDns: resolver must have a method resolve6, received an object ["resolve4"]',
    ],
    [
      { hostname: 'a', transport: { connections: 0 } },
      'fromDns: transport: connections must be a whole number of at least 1, received 0',
    ],
    [{ hostname: 'a', interval: 1 }, /^fromDns: unknown option "interval"/],
  ])('refuses %j', (options, message) => {
    expect(() => fromDns(options as FromDnsOptions)).toThrow(message);
  });

  it('takes service names and a dot at the end', () => {
    expect(() => fromDns({ hostname: '_api._tcp.example.com.', type: 'SRV' })).not.toThrow();
  });

  it('asks again when a time to live is over that is shorter than the interval', async () => {
    const asked: number[] = [];
    const resolver = answering(async () => {
      asked.push(performance.now());
      return [
        { address: '10.0.0.1', ttl: 0 },
        { address: '10.0.0.2', ttl: 60 },
      ];
    });
    followed({ hostname: 'app.test', resolver, intervalMs: 60_000 });
    await eventually('the second question', () => asked.length === 2);
    // Not at once: 0 stands for a second.
    expect((asked[1] as number) - (asked[0] as number)).toBeGreaterThan(990);
  });

  it('asks again after the interval when that is shorter than the time to live', async () => {
    let asked = 0;
    const resolver = answering(async () => {
      asked += 1;
      return [{ address: '10.0.0.1', ttl: 60 }];
    });
    followed({ hostname: 'app.test', resolver, intervalMs: 10 });
    await eventually('three questions', () => asked === 3, 500);
  });

  it('takes an answer without addresses of a resolver of another kind for a failure', async () => {
    const resolver = answering(async () => []);
    await expect(firstList(fromDns({ hostname: 'app.test', resolver }))).rejects.toThrow(
      'fromDns: app.test has no A records',
    );
  });

  it('tells no failure of a question that is still open when it is left', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    closeAfter(() => silent.close());
    await once(silent, 'listening');
    const resolver = new Resolver({ timeout: 100, tries: 1 });
    resolver.setServers([`127.0.0.1:${silent.address().port}`]);
    const { sink, stop } = followed({ hostname: 'app.test', resolver });
    await once(silent, 'message');
    stop();
    await settled(() => sink.log.length, 200);
    expect(sink.log).toEqual([]);
  });

  it('gives up on a server that does not answer', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    closeAfter(() => silent.close());
    await once(silent, 'listening');
    const resolver = new Resolver({ timeout: 50, tries: 1 });
    resolver.setServers([`127.0.0.1:${silent.address().port}`]);
    const { sink } = followed({ hostname: 'app.test', resolver });
    await eventually('the failure', () => sink.failures.length === 1);
    expect(sink.failures[0]).toMatchObject({ code: 'ETIMEOUT' });
  });
});

function answering(resolve4: () => Promise<{ address: string; ttl: number }[]>) {
  const none = async () => [];
  return { resolve4, resolve6: none, resolveSrv: none };
}

// Where dnsmasq is missing these are reported as skipped; CI has to have it.
const withDns = dnsmasq === undefined && !process.env.CI ? describe.skip : describe;

withDns('fromDns with a real server (needs dnsmasq: apt-get install dnsmasq-base)', () => {
  it('gives the addresses of a host in an order of their own', async () => {
    const dns = await dnsServer('host-record=app.test,127.0.0.2', 'host-record=app.test,127.0.0.1');
    const list = await firstList(
      fromDns({ hostname: 'app.test', port: 8080, resolver: dns.resolver }),
    );
    expect(list).toEqual([
      { url: 'http://127.0.0.1:8080', weight: 1, priority: 0, transport: undefined },
      { url: 'http://127.0.0.2:8080', weight: 1, priority: 0, transport: undefined },
    ]);
  });

  it('writes IPv6 addresses in brackets', async () => {
    const dns = await dnsServer('host-record=app.test,::1');
    const { urls } = followed({ hostname: 'app.test', type: 'AAAA', resolver: dns.resolver });
    await eventually('the list', () => urls().length === 1);
    expect(urls()).toEqual([['http://[::1]:80']]);
  });

  it('has certificates checked for the host name', async () => {
    const dns = await dnsServer('host-record=app.test,127.0.0.1');
    const list = await firstList(
      fromDns({
        hostname: 'app.test.',
        protocol: 'https',
        resolver: dns.resolver,
        transport: { connections: 7, tls: { ca: 'own' } },
      }),
    );
    const tls = { servername: 'app.test', ca: 'own' };
    expect(list).toMatchObject([
      { url: 'https://127.0.0.1:443', transport: { connections: 7, tls } },
    ]);
  });

  it('yields again when the answer changes, and only then', async () => {
    const dns = await dnsServer('host-record=app.test,127.0.0.1', 'host-record=app.test,127.0.0.2');
    const { sink, urls } = followed({
      hostname: 'app.test',
      port: 1,
      intervalMs: 10,
      resolver: dns.resolver,
    });
    await eventually('the first list', () => urls().length === 1);
    await settled(() => urls().length, 100);
    expect(urls()).toHaveLength(1);

    await dns.serve('host-record=app.test,127.0.0.2', 'host-record=app.test,127.0.0.3');
    await eventually('the second list', () => String(urls().at(-1)).includes('127.0.0.3'));
    expect(urls().at(-1)).toEqual(['http://127.0.0.2:1', 'http://127.0.0.3:1']);
    expect(sink.updates.length).toBeLessThanOrEqual(2 + sink.failures.length);
  });

  it.each([
    ['a name that does not exist', 'none.test', 'ENOTFOUND'],
    ['a name without such records', 'six.test', 'ENODATA'],
    ['a server that refuses', 'app.elsewhere', 'EREFUSED'],
  ])('fails for %s', async (_, hostname, code) => {
    const dns = await dnsServer('host-record=six.test,::1');
    await expect(firstList(fromDns({ hostname, resolver: dns.resolver }))).rejects.toMatchObject({
      code,
    });
  });

  it('keeps the last answer while the server is away, and asks again until it is back', async () => {
    const dns = await dnsServer('host-record=app.test,127.0.0.1');
    const { sink, urls } = followed({
      hostname: 'app.test',
      intervalMs: 10,
      resolver: dns.resolver,
    });
    await eventually('the list', () => urls().length === 1);
    await dns.stop();
    await eventually('failures', () => sink.failures.length >= 2);
    expect(urls()).toEqual([['http://127.0.0.1:80']]);
    await dns.serve('host-record=app.test,127.0.0.9');
    await eventually('the new list', () => urls().length === 2);
    expect(urls()[1]).toEqual(['http://127.0.0.9:80']);
  });

  it('takes ports, weights and priorities from SRV records, and addresses from the same server', async () => {
    const dns = await dnsServer(
      'srv-host=_api._tcp.test,one.test,8001,0,60',
      'srv-host=_api._tcp.test,two.test,8002,0,20',
      'srv-host=_api._tcp.test,spare.test,8003,5,0',
      'host-record=one.test,127.0.0.1',
      'host-record=two.test,127.0.0.2',
      'host-record=spare.test,::1',
    );
    const { lists } = followed({
      hostname: '_api._tcp.test',
      type: 'SRV',
      protocol: 'https',
      resolver: dns.resolver,
    });
    await eventually('the list', () => lists().length === 1);
    expect(lists()[0]).toEqual([
      upstream('https://127.0.0.1:8001', 60, 0, 'one.test'),
      upstream('https://127.0.0.2:8002', 20, 0, 'two.test'),
      upstream('https://[::1]:8003', 1, 5, 'spare.test'),
    ]);
  });

  it('divides the weight of an SRV record among the addresses of its target', async () => {
    const dns = await dnsServer(
      'srv-host=_api._tcp.test,many.test,80,0,30',
      'host-record=many.test,127.0.0.1',
      'host-record=many.test,127.0.0.2',
    );
    const { lists } = followed({
      hostname: '_api._tcp.test',
      type: 'SRV',
      resolver: dns.resolver,
    });
    await eventually('the list', () => lists().length === 1);
    expect(lists()[0]?.map(({ weight }) => weight)).toEqual([15, 15]);
  });

  it('notices that only a weight or a target has changed', async () => {
    const hosts = ['host-record=one.test,127.0.0.1', 'host-record=other.test,127.0.0.1'];
    const dns = await dnsServer('srv-host=_api._tcp.test,one.test,80,0,10', ...hosts);
    const { lists } = followed({
      hostname: '_api._tcp.test',
      type: 'SRV',
      protocol: 'https',
      intervalMs: 10,
      resolver: dns.resolver,
    });
    await eventually('the list', () => lists().length === 1);
    await dns.serve('srv-host=_api._tcp.test,one.test,80,0,20', ...hosts);
    await eventually('the new weight', () => lists().at(-1)?.[0]?.weight === 20);
    await dns.serve('srv-host=_api._tcp.test,other.test,80,0,20', ...hosts);
    await eventually(
      'the new name',
      () => lists().at(-1)?.[0]?.transport?.tls?.servername === 'other.test',
    );
  });

  it('leaves out SRV targets without an address, and fails when none is left', async () => {
    const records = [
      'srv-host=_api._tcp.test,one.test,80,0,1',
      'srv-host=_api._tcp.test,gone.test,80,0,1',
    ];
    const dns = await dnsServer(...records, 'host-record=one.test,127.0.0.1');
    const { sink, urls } = followed({
      hostname: '_api._tcp.test',
      type: 'SRV',
      intervalMs: 10,
      resolver: dns.resolver,
    });
    await eventually('the list', () => urls().length === 1);
    expect(urls()).toEqual([['http://127.0.0.1:80']]);
    await dns.serve(...records);
    await eventually('the failure', () => /has no SRV records/.test(String(sink.log.at(-1))));
    expect(urls()).toHaveLength(1);
  });

  it('fails when a name says that there is no such service', async () => {
    const dns = await dnsServer('srv-host=_api._tcp.test');
    await expect(
      firstList(fromDns({ hostname: '_api._tcp.test', type: 'SRV', resolver: dns.resolver })),
    ).rejects.toThrow('fromDns: _api._tcp.test has no SRV records');
  });
});

function upstream(url: string, weight: number, priority: number, servername: string) {
  return { url, weight, priority, transport: { tls: { servername } } };
}

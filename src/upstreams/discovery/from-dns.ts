import { Resolver } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  connectionSettings,
} from '../../connection-settings.js';
import { inspect, known, milliseconds, oneOf, wholeNumber } from '../../options.js';
import type { UpstreamOptions } from '../upstream.js';
import type { Discovery } from './discovery.js';
import { type DnsResolver, type Endpoint, lookUp, type RecordType } from './dns-records.js';
import { limitedResolver } from './limited-resolver.js';

/** Options for {@link fromDns}. */
export interface FromDnsOptions {
  /** What is asked for, in full: search domains and the hosts file do not take part. Required. */
  readonly hostname: string;
  /**
   * `'A'` and `'AAAA'` give the addresses of a host, `'SRV'` a service such as `_api._tcp.example.com`
   * with ports, weights and priorities.
   *
   * @default 'A'
   */
  readonly type?: RecordType | undefined;
  /**
   * The port of the upstreams. SRV records bring their own.
   *
   * @default 80, or 443 with `https`
   */
  readonly port?: number | undefined;
  /**
   * @default 'http'
   */
  readonly protocol?: 'http' | 'https' | undefined;
  /**
   * The longest time between two questions, in milliseconds. A shorter time to live of an address
   * record wins, down to a second.
   *
   * @default 30_000
   */
  readonly intervalMs?: number | undefined;
  /**
   * Who is asked: a `Resolver` of `node:dns/promises`, or whatever answers like one. It has half a minute
   * for each question.
   *
   * @default a resolver with the servers of the system
   */
  readonly resolver?: DnsResolver | undefined;
  /**
   * How the upstreams are connected to, in place of what the pool and `proxyPass()` say. With `https`
   * the certificate is checked for the host name unless `tls.servername` is given.
   */
  readonly transport?: ConnectionOptions | undefined;
}

/** {@link FromDnsOptions}, checked and complete. */
interface Settings {
  readonly hostname: string;
  readonly type: RecordType;
  readonly port: number;
  readonly protocol: 'http' | 'https';
  readonly intervalMs: number;
  readonly resolver: DnsResolver | undefined;
  readonly transport: ConnectionOptions | undefined;
}

/** Labels of letters, digits, hyphens and the underscores of service names (RFC 2782). */
const HOSTNAME = /^(?=.{1,253}\.?$)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?$/;
/** A time to live of 0 means "do not keep it", not "ask without pause". */
const MIN_TTL_MS = 1_000;
/** A first try of a lost question; each further one waits longer. */
const QUERY_TIMEOUT_MS = 2_000;
const QUERY_TRIES = 3;

/**
 * Takes upstreams from DNS, and again whenever the answer changes. A name that does not exist, a
 * failing server and an answer without records leave the upstreams as they are, and the pool tells
 * `discoveryError`.
 *
 * @example
 * loadBalancer({ upstreams: fromDns({ hostname: 'api.default.svc.cluster.local', port: 8080 }) });
 */
export function fromDns(options: FromDnsOptions): Discovery {
  const settings = dnsSettings(options);
  return {
    [Symbol.asyncIterator]() {
      const stopping = new AbortController();
      const lists = listsOf(settings, stopping.signal);
      return {
        next: () => lists.next(),
        return() {
          stopping.abort();
          return lists.return();
        },
      };
    },
  };
}

function dnsSettings(options: FromDnsOptions): Settings {
  const {
    hostname,
    type = 'A',
    protocol = 'http',
    port,
    intervalMs = 30_000,
    resolver,
    transport,
  } = known('fromDns', options, [
    'hostname',
    'type',
    'port',
    'protocol',
    'intervalMs',
    'resolver',
    'transport',
  ]);
  if (typeof hostname !== 'string' || !HOSTNAME.test(hostname)) {
    throw new TypeError(`fromDns: hostname must be a host name, received ${inspect(hostname)}`);
  }
  oneOf('fromDns: type', type, ['A', 'AAAA', 'SRV']);
  oneOf('fromDns: protocol', protocol, ['http', 'https']);
  if (port !== undefined) {
    wholeNumber('fromDns: port', port, 1, 65_535);
    if (type === 'SRV') throw new TypeError('fromDns: port comes with SRV records, leave it out');
  }
  milliseconds('fromDns: intervalMs', intervalMs);
  if (resolver !== undefined) checkResolver(resolver);
  if (transport !== undefined) checkTransport('fromDns: transport', transport);
  return {
    hostname,
    type,
    protocol,
    port: port ?? (protocol === 'https' ? 443 : 80),
    intervalMs,
    resolver,
    transport,
  };
}

function checkResolver(resolver: DnsResolver): void {
  for (const method of ['resolve4', 'resolve6', 'resolveSrv'] as const) {
    if (typeof resolver?.[method] !== 'function') {
      throw new TypeError(
        `fromDns: resolver must have a method ${method}, received ${inspect(resolver)}`,
      );
    }
  }
}

function checkTransport(factory: string, transport: ConnectionOptions): void {
  connectionSettings(factory, known(factory, transport, CONNECTION_OPTIONS));
}

async function* listsOf(settings: Settings, signal: AbortSignal) {
  const { hostname, type, port, intervalMs } = settings;
  const given = settings.resolver;
  const resolver = given === undefined ? ownResolver(signal) : limitedResolver(given, signal);
  for (let last = ''; ; ) {
    const { endpoints, ttlMs } = await lookUp(resolver, type, hostname, port);
    const answer = JSON.stringify(endpoints);
    if (answer !== last) {
      last = answer;
      yield endpoints.map((endpoint) => upstreamAt(endpoint, settings));
    }
    // A resolver of the user's own may not know for how long its answer stands.
    const pause = ttlMs >= 0 ? Math.min(intervalMs, Math.max(ttlMs, MIN_TTL_MS)) : intervalMs;
    await delay(pause, undefined, { ref: false, signal });
  }
}

function ownResolver(signal: AbortSignal): Resolver {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  signal.addEventListener('abort', () => resolver.cancel(), { once: true });
  return resolver;
}

function upstreamAt(endpoint: Endpoint, { protocol, transport }: Settings): UpstreamOptions {
  const { address, port, weight, priority, name } = endpoint;
  const host = address.includes(':') ? `[${address}]` : address;
  const tls = { servername: name, ...transport?.tls };
  return {
    url: `${protocol}://${host}:${port}`,
    weight,
    priority,
    transport: protocol === 'https' ? { ...transport, tls } : transport,
  };
}

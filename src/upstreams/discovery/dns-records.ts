import type { RecordWithTtl, SrvRecord } from 'node:dns';

/** The kinds of records that upstreams can be taken from. */
export type RecordType = 'A' | 'AAAA' | 'SRV';

/** What is asked of a resolver; `Resolver` of `node:dns/promises` has it. */
export interface DnsResolver {
  resolve4(hostname: string, options: { ttl: true }): Promise<RecordWithTtl[]>;
  resolve6(hostname: string, options: { ttl: true }): Promise<RecordWithTtl[]>;
  resolveSrv(hostname: string): Promise<SrvRecord[]>;
}

/** Where an upstream is to be found. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly priority: number;
  /** The name that the address was found under. */
  readonly name: string;
}

/** An answer: in an order of its own, so that the same records always make the same answer. */
export interface Answer {
  readonly endpoints: readonly Endpoint[];
  /** The shortest time to live of its address records; node does not tell that of SRV records. */
  readonly ttlMs: number;
}

/** The share of the others' weights that goes to all records of weight 0 together, and its limit. */
const ZERO_SHARE = 0.01;
const ZERO_LIMIT = 1;

/** Asks for the endpoints behind a name. @throws when there are none, or they cannot be told. */
export async function lookUp(
  resolver: DnsResolver,
  type: RecordType,
  hostname: string,
  port: number,
): Promise<Answer> {
  const found =
    type === 'SRV'
      ? await serviceRecords(resolver, hostname)
      : await hostRecords(resolver, type, hostname, port);
  if (found.length === 0) throw new Error(`fromDns: ${hostname} has no ${type} records`);
  const ttl = Math.min(...found.map((record) => record.ttl));
  const endpoints = found.map(({ ttl: _, ...endpoint }) => endpoint).sort(byPriority);
  return { endpoints: withoutRepetitions(endpoints), ttlMs: ttl * 1_000 };
}

/** An endpoint, and for how long it stands, in seconds. */
interface Found extends Endpoint {
  readonly ttl: number;
}

async function hostRecords(
  resolver: DnsResolver,
  type: 'A' | 'AAAA',
  hostname: string,
  port: number,
): Promise<Found[]> {
  const records =
    type === 'A'
      ? await resolver.resolve4(hostname, { ttl: true })
      : await resolver.resolve6(hostname, { ttl: true });
  const name = withoutDot(hostname);
  return records.map(({ address, ttl }) => ({ address, port, weight: 1, priority: 0, name, ttl }));
}

/**
 * The addresses of the targets are asked of the same resolver: what knows the service knows its hosts,
 * and the resolver of the system may not.
 */
async function serviceRecords(resolver: DnsResolver, hostname: string): Promise<Found[]> {
  const records = weighed(await resolver.resolveSrv(hostname));
  const names = [...new Set(records.map(({ name }) => name))];
  const addresses = new Map(
    await Promise.all(
      names.map(async (name) => [name, await targetAddresses(resolver, name)] as const),
    ),
  );
  return records.flatMap(({ name, port, weight, priority }) => {
    const found = addresses.get(name) ?? [];
    return found.map(({ address, ttl }) => ({
      address,
      port,
      weight: weight / found.length,
      priority,
      name: withoutDot(name),
      ttl,
    }));
  });
}

/** The addresses of one target; none when it has none, which must not hold up the others. */
async function targetAddresses(resolver: DnsResolver, name: string): Promise<RecordWithTtl[]> {
  // A target of "." says that there is no such service (RFC 2782).
  if (withoutDot(name) === '') return [];
  const addresses = await resolver.resolve4(name, { ttl: true }).catch(noneWhenMissing);
  if (addresses.length > 0) return addresses;
  return resolver.resolve6(name, { ttl: true }).catch(noneWhenMissing);
}

function noneWhenMissing(error: unknown): RecordWithTtl[] {
  const { code } = error as { readonly code?: unknown };
  if (code === 'ENOTFOUND' || code === 'ENODATA') return [];
  throw error;
}

/**
 * The records with weights as a pool has them. A weight of 0 means "little" and not "nothing" (RFC 2782):
 * beside others, all of these get a hundredth together, and at most what a weight of 1 gets.
 */
export function weighed(records: readonly SrvRecord[]): SrvRecord[] {
  return records.map((record) => {
    if (record.weight > 0) return record;
    const peers = records.filter(({ priority }) => priority === record.priority);
    const sum = peers.reduce((total, { weight }) => total + weight, 0);
    if (sum === 0) return { ...record, weight: 1 };
    const zeros = peers.filter(({ weight }) => weight === 0).length;
    return { ...record, weight: Math.min(ZERO_LIMIT, sum * ZERO_SHARE) / zeros };
  });
}

function withoutDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

function byPriority(one: Endpoint, other: Endpoint): number {
  return (
    one.priority - other.priority ||
    compare(one.address, other.address) ||
    one.port - other.port ||
    other.weight - one.weight ||
    compare(one.name, other.name)
  );
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** Each address and port once: the first, which is of the better priority. */
function withoutRepetitions(endpoints: readonly Endpoint[]): Endpoint[] {
  const seen = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const key = `${endpoint.address} ${endpoint.port}`;
    if (!seen.has(key)) seen.set(key, endpoint);
  }
  return [...seen.values()];
}

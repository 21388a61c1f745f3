import type { IncomingMessage } from 'node:http';
import { type BlockList, isIP } from 'node:net';
import { isRange, rangeList } from '../exchange/ranges.js';
import { inspect, saidYes, wholeNumber } from '../options.js';
import { facesOf, holds, isPublic } from './address-guard.js';
import { canonicalHost, type RequestedTarget } from './requested-target.js';

/** What a rule that is a function is told of a target. */
export interface TargetFacts {
  /** The name in lower case, or the address that was asked for. */
  readonly host: string;
  readonly port: number;
  /** The address that would be connected to; each one that the name has is asked about. */
  readonly address: string;
  /** Whether the address belongs to the public Internet. */
  readonly isPublic: boolean;
  readonly req: IncomingMessage;
}

/** Decides about a target. */
export type TargetCheck = (facts: TargetFacts) => boolean | Promise<boolean>;

/**
 * One rule: a host (`example.com`, `*.example.com`, `*`), an address or a range (`10.0.0.0/8`), a host or
 * address with a port (`example.com:8443`, `[::1]:8080`), a port, or a function.
 */
export type TargetRule = string | number | TargetCheck;

/** A name, or the end of one behind `*`, and the port where the rule has one. */
interface NameRule {
  readonly name: string;
  readonly isSuffix: boolean;
  readonly port: number | undefined;
}

interface AddressRule {
  readonly list: BlockList;
  readonly port: number | undefined;
}

/** Rules, checked and sorted by what they look at. */
interface Rules {
  readonly names: readonly NameRule[];
  readonly addresses: readonly AddressRule[];
  readonly ports: ReadonlySet<number>;
  readonly checks: readonly TargetCheck[];
}

/** Which servers a forward proxy may connect to. */
export class TargetRules {
  readonly #allow: Rules;
  readonly #deny: Rules;

  /** @throws TypeError or RangeError that names factory and rule. */
  constructor(
    factory: string,
    allow: TargetRule | readonly TargetRule[],
    deny: TargetRule | readonly TargetRule[],
  ) {
    this.#allow = rules(`${factory}: allow`, allow);
    this.#deny = rules(`${factory}: deny`, deny);
  }

  /** Whether no address could make up for the name and the port: then it need not be resolved. */
  refusesUnresolved({ host, port }: RequestedTarget): boolean {
    if (named(this.#deny, host, port)) return true;
    const { addresses, checks } = this.#allow;
    return addresses.length === 0 && checks.length === 0 && !named(this.#allow, host, port);
  }

  /** Whether a target may be reached at one of its addresses. */
  async admit(
    { host, port }: RequestedTarget,
    address: string,
    req: IncomingMessage,
  ): Promise<boolean> {
    const faces = facesOf(address);
    const facts = { host, port, address: faces[0] as string, isPublic: isPublic(address), req };
    if (named(this.#deny, host, port)) return false;
    if (faces.some((face) => reached(this.#deny, face, port))) return false;
    if (await holdsGood(this.#deny, facts)) return false;
    if (reached(this.#allow, facts.address, port)) return true;
    // A name is no promise about addresses: whoever answers for it in DNS could let it be any.
    if (facts.isPublic && named(this.#allow, host, port)) return true;
    if (
      isLocalhost(facts) &&
      this.#allow.names.some((rule) => !rule.isSuffix && covers(rule, host, port))
    ) {
      return true;
    }
    return holdsGood(this.#allow, facts);
  }
}

/** Whether a rule for names or ports covers a target. */
function named({ names, ports }: Rules, host: string, port: number): boolean {
  return ports.has(port) || names.some((rule) => covers(rule, host, port));
}

function covers({ name, isSuffix, port: only }: NameRule, host: string, port: number): boolean {
  if (only !== undefined && only !== port) return false;
  return isSuffix ? host.endsWith(name) : host === name;
}

/** Whether a rule for addresses covers one. */
function reached({ addresses }: Rules, address: string, port: number): boolean {
  return addresses.some((rule) => {
    return (rule.port === undefined || rule.port === port) && holds(rule.list, address);
  });
}

async function holdsGood({ checks }: Rules, facts: TargetFacts): Promise<boolean> {
  for (const check of checks) if (await check(facts)) return true;
  return false;
}

/** RFC 6761, 6.3: this one name is a promise about its addresses. */
const LOCALHOST = 'localhost';

const loopback = rangeList(['127.0.0.0/8', '::1']);

function isLocalhost({ host, address }: TargetFacts): boolean {
  return host === LOCALHOST && holds(loopback, address);
}

function rules(path: string, given: TargetRule | readonly TargetRule[]): Rules {
  const names: NameRule[] = [];
  const addresses: AddressRule[] = [];
  const ports = new Set<number>();
  const checks: TargetCheck[] = [];
  const list = Array.isArray(given) ? (given as readonly TargetRule[]) : [given as TargetRule];
  for (const [i, rule] of list.entries()) {
    const at = Array.isArray(given) ? `${path}[${i}]` : path;
    if (typeof rule === 'function') {
      checks.push(async (facts) => saidYes(`${at}()`, await rule(facts)));
    } else if (typeof rule === 'number') {
      wholeNumber(at, rule, 1, MAX_PORT);
      ports.add(rule);
    } else {
      const parsed = typeof rule === 'string' ? textRule(rule) : undefined;
      if (parsed === undefined) {
        throw new TypeError(
          `${at} must be a host, an address, a range, a port or a function, received ${inspect(rule)}`,
        );
      }
      if ('list' in parsed) addresses.push(parsed);
      else names.push(parsed);
    }
  }
  return { names, addresses, ports, checks };
}

const MAX_PORT = 65_535;

/** A host without what would end it in a URL, and perhaps a port. */
const HOST_AND_PORT = /^(\[[^\]%]+\]|[^\s:/?#@%\\[\]]+)(?::([1-9]\d{0,4}))?$/;

function textRule(text: string): NameRule | AddressRule | undefined {
  if (isRange(text)) return { list: rangeList([unmapped(text)]), port: undefined };
  const [, host = '', digits] = HOST_AND_PORT.exec(text) ?? [];
  const port = digits === undefined ? undefined : Number(digits);
  if (host === '' || Number(port ?? 1) > MAX_PORT) return undefined;
  if (host === '*') return { name: '', isSuffix: true, port };
  const isSuffix = host.startsWith('*.');
  const name = canonicalHost(isSuffix ? host.slice(2) : host);
  if (name === undefined || (isSuffix && isIP(name) !== 0)) return undefined;
  if (isSuffix) return { name: `.${name}`, isSuffix, port };
  if (isIP(name) === 0) return { name, isSuffix, port };
  // `443` would be 0.0.1.187, which nobody means.
  const isWritten = host.startsWith('[') || isIP(host) !== 0;
  return isWritten ? { list: rangeList([name]), port } : undefined;
}

/** `::ffff:10.0.0.0/104` is compared as `10.0.0.0/8`, since that is what its addresses are. */
export function unmapped(range: string): string {
  const [address = '', bits = '128'] = range.split('/');
  const face = facesOf(address)[0] as string;
  if (isIP(address) === isIP(face) || Number(bits) < 96) return range;
  return `${face}/${Number(bits) - 96}`;
}

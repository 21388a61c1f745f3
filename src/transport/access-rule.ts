import { isIP } from 'node:net';
import { callable, inspect, isPlain, known } from '../options.js';
import type { AccessFacts, AccessRequest } from './access-request.js';
import { addressRanges, isIn, mayBeIn } from './address-ranges.js';
import { PathPattern } from './path-pattern.js';
import type { Reading } from './path-readings.js';

/** What a claim has to be: a value, one of several, or what a function says `true` to. */
export type ClaimCondition =
  | string
  | number
  | boolean
  | readonly (string | number | boolean)[]
  | ((value: unknown) => boolean);

/** A condition of one's own. It has to say `true` or `false`. */
export type AccessCheck = (facts: AccessFacts) => boolean | Promise<boolean>;

/** One rule of a policy. Every condition that it has must hold; it needs at least one. */
export interface AccessRule {
  /** Paths, with `*` for a part of a segment and `**` for any number of segments. */
  readonly path?: string | readonly string[];
  /** Methods. `GET` stands for `HEAD` as well. */
  readonly methods?: readonly string[];
  /**
   * Claims of the identity. A claim that is a list needs one element that fits; `{}` is any identity. Nobody
   * has no claims to show, which counts against them in rules that deny as well. Those ask functions about
   * claims that are missing, too, with `undefined`.
   */
  readonly claims?: Readonly<Record<string, ClaimCondition>>;
  /** Hosts that the client asks for: `example.com`, `*.example.com`. */
  readonly host?: string | readonly string[];
  /** Addresses and ranges of clients. */
  readonly address?: string | readonly string[];
  /** A condition of one's own, asked when all others hold. */
  readonly when?: AccessCheck;
}

/** Whether a rule lets through or keeps out. What cannot be told counts against the client in either. */
export type RuleKind = 'allow' | 'deny';

/** Says whether a condition holds. */
type Test = (request: AccessRequest) => boolean;

const CONDITIONS = ['path', 'methods', 'claims', 'host', 'address', 'when'] as const;

/** A rule, checked and compiled. */
export class CompiledRule {
  /** Where it stands in the policy. */
  readonly at: string;
  readonly when: AccessCheck | undefined;
  readonly #patterns: readonly PathPattern[] | undefined;
  readonly #isUniversal: boolean;
  readonly #ignoresCase: boolean;
  readonly #tests: readonly Test[];

  /** @throws TypeError that names `at` and the condition. */
  constructor(at: string, rule: AccessRule, kind: RuleKind, caseSensitive: boolean | undefined) {
    const { path, methods, claims, host, address, when } = known(at, rule, CONDITIONS);
    const given = Object.entries(rule) as [string, unknown][];
    if (given.length === 0) {
      throw new TypeError(`${at} needs a condition; { path: '/**' } is everything`);
    }
    for (const [name, value] of given) {
      // A setting that is missing must not make a rule wider.
      if (value === undefined) throw new TypeError(`${at}.${name} is there, and undefined`);
    }
    if (when !== undefined) callable(`${at}.when`, when);
    this.at = at;
    this.when = when;
    this.#patterns = patternsOf(`${at}.path`, path);
    this.#isUniversal = this.#patterns?.some(({ isUniversal }) => isUniversal) ?? true;
    this.#ignoresCase = !(caseSensitive ?? kind === 'allow');
    const denies = kind === 'deny';
    this.#tests = [
      methods === undefined ? undefined : methodTest(`${at}.methods`, methods),
      claims === undefined ? undefined : claimsTest(`${at}.claims`, claims, denies),
      host === undefined ? undefined : hostTest(`${at}.host`, host, denies),
      address === undefined ? undefined : addressTest(`${at}.address`, address, denies),
    ].filter((test) => test !== undefined);
  }

  /** Whether it may be about the path of a request, in any way in which that can be read. */
  mayCover(request: AccessRequest): boolean {
    if (this.#isUniversal) return true;
    const readings = this.#ignoresCase ? request.foldedReadings : request.readings;
    return readings === undefined || readings.some((_, i) => this.covers(request, i));
  }

  /** Whether it is about one reading of the path; about one that cannot be told when that is all there is. */
  covers(request: AccessRequest, reading: number): boolean {
    if (this.#isUniversal) return true;
    const ignoresCase = this.#ignoresCase;
    const one = (ignoresCase ? request.foldedReadings : request.readings)?.[reading] as
      | Reading
      | undefined;
    if (one === undefined) return false;
    return (this.#patterns as PathPattern[]).some((pattern) =>
      ignoresCase ? pattern.matchesFolded(one) : pattern.matches(one),
    );
  }

  /** Whether its conditions hold, but for `path` and `when`. */
  holds(request: AccessRequest): boolean {
    for (const test of this.#tests) if (!test(request)) return false;
    return true;
  }
}

/** A list with something in it, of text. */
function listOf(path: string, given: string | readonly string[]): readonly string[] {
  const list = typeof given === 'string' ? [given] : given;
  if (Array.isArray(list) && list.length > 0 && list.every((one) => typeof one === 'string')) {
    return list;
  }
  throw new TypeError(`${path} must be text or a list of it, received ${inspect(given)}`);
}

function patternsOf(path: string, given: AccessRule['path']): PathPattern[] | undefined {
  return given === undefined
    ? undefined
    : listOf(path, given).map((pattern) => new PathPattern(path, pattern));
}

function methodTest(path: string, given: readonly string[]): Test {
  const list = listOf(path, given).map((method) => method.toUpperCase());
  for (const [i, method] of list.entries()) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(method)) {
      throw new TypeError(`${path}[${i}] must be a method, received ${inspect(given[i])}`);
    }
  }
  const methods = new Set(list);
  // RFC 9110, 9.3.2: servers do for HEAD what they do for GET.
  if (methods.has('GET')) methods.add('HEAD');
  return ({ method }) => methods.has(method.toUpperCase());
}

function claimsTest(
  path: string,
  given: Readonly<Record<string, ClaimCondition>>,
  denies: boolean,
): Test {
  if (!isPlain(given)) {
    throw new TypeError(`${path} must be an object of claims, received ${inspect(given)}`);
  }
  const wanted = Object.entries(given).map(
    ([name, condition]) => [name, claimTest(`${path}.${name}`, condition)] as const,
  );
  return ({ identity }) => {
    if (identity === undefined) return denies;
    const { claims, subject } = identity;
    return wanted.every(([name, test]) => {
      if (Object.hasOwn(claims, name)) return test(claims[name]);
      if (name === 'sub' && subject !== undefined) return test(subject);
      // To have no groups is no way past a rule that denies by them; a function knows what it means.
      return denies && typeof given[name] === 'function' && test(undefined);
    });
  };
}

function claimTest(path: string, condition: ClaimCondition): (value: unknown) => boolean {
  if (typeof condition === 'function') return (value) => verdict(path, condition(value));
  const values: readonly unknown[] = Array.isArray(condition) ? condition : [condition];
  if (
    values.length === 0 ||
    !values.every((value) => ['string', 'number', 'boolean'].includes(typeof value))
  ) {
    throw new TypeError(
      `${path} must be a value, a list of values or a function, received ${inspect(condition)}`,
    );
  }
  return (value) =>
    Array.isArray(value) ? value.some((one) => values.includes(one)) : values.includes(value);
}

/** What a function has said. Anything but a plain yes or no, a promise among it, would be taken for a yes. */
export function verdict(path: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new TypeError(`${path} must return true or false, it returned ${inspect(value)}`);
}

const HOST = /^(?:\*\.)?[a-z0-9._~-]+$/;

function hostTest(path: string, given: string | readonly string[], whenUnknown: boolean): Test {
  const names = new Set<string>();
  const suffixes: string[] = [];
  for (const one of listOf(path, given)) {
    const host = one.toLowerCase().replace(/\.$/, '');
    if (!HOST.test(host) && !isIP(host.slice(1, -1))) {
      throw new TypeError(`${path} must be a host without a port, received ${inspect(one)}`);
    }
    if (host.startsWith('*.')) suffixes.push(host.slice(1));
    else names.add(host);
  }
  return ({ host }) => {
    if (host === undefined) return whenUnknown;
    return names.has(host) || suffixes.some((suffix) => host.endsWith(suffix));
  };
}

function addressTest(path: string, given: string | readonly string[], denies: boolean): Test {
  const list = addressRanges(path, listOf(path, given));
  const has = denies ? mayBeIn : isIn;
  return ({ address }) => (address === undefined ? denies : has(list, address));
}

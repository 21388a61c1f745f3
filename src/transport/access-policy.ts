import type { ForbiddenError } from '../exchange/errors.js';
import { inspect } from '../options.js';
import { isPromise } from '../promises.js';
import type { AccessRequest } from './access-request.js';
import {
  type AccessCheck,
  type AccessRule,
  CompiledRule,
  type RuleKind,
  verdict,
} from './access-rule.js';
import { forbidden } from './forbidden.js';

/** What a policy says of a request: nothing, when it may pass. */
export type Judgement = ForbiddenError | undefined;

/** Decides which requests may pass. */
export interface AccessPolicy {
  judge(request: AccessRequest): Judgement | Promise<Judgement>;
}

/** A policy that is a function of the user's. */
export function checkedBy(factory: string, check: AccessCheck): AccessPolicy {
  const conclude = (value: unknown): Judgement =>
    verdict(`${factory}: the policy`, value)
      ? undefined
      : forbidden('DENIED', `${factory}: the policy denies it`);
  return {
    judge(request) {
      const answer = check(request);
      return isPromise(answer) ? answer.then(conclude) : conclude(answer);
    },
  };
}

/**
 * A policy of rules: a request may pass when no rule denies it in any way in which its path can be read, and
 * rules allow it in each of them.
 */
export class RulePolicy implements AccessPolicy {
  readonly #factory: string;
  readonly #allow: readonly CompiledRule[];
  readonly #deny: readonly CompiledRule[];

  /** @throws TypeError that names factory, rule and condition. */
  constructor(
    factory: string,
    allow: readonly AccessRule[],
    deny: readonly AccessRule[],
    caseSensitive: boolean | undefined,
  ) {
    const compile = (kind: RuleKind, given: readonly AccessRule[]) =>
      rulesOf(`${factory}: ${kind}`, given).map(
        (rule, i) => new CompiledRule(`${factory}: ${kind}[${i}]`, rule, kind, caseSensitive),
      );
    this.#factory = factory;
    this.#allow = compile('allow', allow);
    this.#deny = compile('deny', deny);
  }

  judge(request: AccessRequest): Judgement | Promise<Judgement> {
    return this.#denied(request, 0);
  }

  #denied(request: AccessRequest, from: number): Judgement | Promise<Judgement> {
    for (let i = from; i < this.#deny.length; i++) {
      const rule = this.#deny[i] as CompiledRule;
      if (!rule.mayCover(request) || !rule.holds(request)) continue;
      const holds = whenOf(rule, request);
      if (typeof holds !== 'boolean') {
        return holds.then((late) => (late ? denial(rule) : this.#denied(request, i + 1)));
      }
      if (holds) return denial(rule);
    }
    return this.#allowed(request, 0, undefined);
  }

  /** Goes through the rules that allow. `open` are the readings that none has covered so far. */
  #allowed(
    request: AccessRequest,
    from: number,
    open: readonly number[] | undefined,
  ): Judgement | Promise<Judgement> {
    const { readings } = request;
    let left = open ?? readings?.map((_, i) => i) ?? [UNTOLD];
    for (let i = from; i < this.#allow.length; i++) {
      const rule = this.#allow[i] as CompiledRule;
      const rest = left.filter((reading) => !rule.covers(request, reading));
      if (rest.length === left.length || !rule.holds(request)) continue;
      const holds = whenOf(rule, request);
      if (typeof holds !== 'boolean') {
        const before = left;
        return holds.then((late) => {
          const now = late ? rest : before;
          return now.length === 0 ? undefined : this.#allowed(request, i + 1, now);
        });
      }
      if (holds) left = rest;
      if (left.length === 0) return undefined;
    }
    const { path } = request.exchange;
    return readings === undefined || left.length < readings.length
      ? forbidden('AMBIGUOUS_PATH', `${this.#factory}: ${path} is not allowed in every reading`)
      : forbidden('NOT_ALLOWED', `${this.#factory}: no rule allows it`);
  }
}

/** Stands for the readings of a path of which it cannot be told what they are. */
const UNTOLD = -1;

function whenOf({ when, at }: CompiledRule, request: AccessRequest): boolean | Promise<boolean> {
  if (when === undefined) return true;
  const answer = when(request);
  if (isPromise(answer)) return answer.then((value) => verdict(`${at}.when`, value));
  return verdict(`${at}.when`, answer);
}

function denial({ at }: CompiledRule): ForbiddenError {
  return forbidden('DENIED', `${at} denies it`);
}

function rulesOf(path: string, given: readonly AccessRule[]): readonly AccessRule[] {
  if (Array.isArray(given)) return given;
  throw new TypeError(`${path} must be a list of rules, received ${inspect(given)}`);
}

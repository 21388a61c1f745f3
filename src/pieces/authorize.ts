import { mountPath } from '../exchange/client.js';
import { type Exchange, exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { type Trust, trustFor } from '../exchange/trust.js';
import { flag, known } from '../options.js';
import { isPromise } from '../promises.js';
import {
  type AccessPolicy,
  checkedBy,
  type Judgement,
  RulePolicy,
} from '../transport/access-policy.js';
import { AccessRequest } from '../transport/access-request.js';
import type { AccessCheck, AccessRule } from '../transport/access-rule.js';
import { fail } from '../transport/deliver.js';
import { forbidden } from '../transport/forbidden.js';

/** A policy of rules, and the options of {@link authorize}. */
export interface AuthorizeOptions {
  /** Who may pass: a request that one of these rules covers. Required; an empty list lets nothing pass. */
  readonly allow: readonly AccessRule[];
  /** Who may not, whatever `allow` says. */
  readonly deny?: readonly AccessRule[] | undefined;
  /**
   * Whether the upstream tells `/Admin` from `/admin`. Not said, it counts in rules that allow and not in
   * those that deny, which errs on the safe side.
   */
  readonly caseSensitive?: boolean | undefined;
  /**
   * Whose word about the client's address and host counts, as in `forwardedFor()`.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
}

/**
 * Lets through what a policy allows; the rest get 403. `deny` wins, and nothing passes that no rule allows. It
 * judges the path that will be sent, so place it behind `authenticate()` and `rewriteUrl()`.
 *
 * @example
 * app.use(
 *   authorize({
 *     allow: [{ path: '/public/**' }, { path: '/admin/**', claims: { role: 'admin' } }],
 *     deny: [{ address: '192.0.2.0/24' }],
 *   }),
 * );
 *
 * @throws TypeError when a rule is not what it should be.
 */
export function authorize(policy: AuthorizeOptions | AccessCheck): Handler {
  const { trust = 'app', ...rules } =
    typeof policy === 'function'
      ? { check: policy }
      : known('authorize', policy, ['allow', 'deny', 'caseSensitive', 'trust']);
  const compiled = 'check' in rules ? checkedBy('authorize', rules.check) : policyOf(rules);
  const trusts = trustFor('authorize: trust', trust);
  const judge: Judge = (exchange) => compiled.judge(new AccessRequest(exchange, trusts));

  return function authorizeMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    let judgement: Judgement | Promise<Judgement>;
    try {
      judgement = judge(exchange);
    } catch (error) {
      return fail(exchange, error, next);
    }
    if (!isPromise(judgement)) return conclude(exchange, judgement, judge, next);
    judgement.then(
      (late) => conclude(exchange, late, judge, next),
      (error: unknown) => fail(exchange, error, next),
    );
  };
}

type Judge = (exchange: Exchange) => Judgement | Promise<Judgement>;

function policyOf({
  allow,
  deny = [],
  caseSensitive,
}: Omit<AuthorizeOptions, 'trust'>): AccessPolicy {
  if (allow === undefined) {
    throw new TypeError('authorize: allow is required; without it, nothing would pass');
  }
  if (caseSensitive !== undefined) flag('authorize: caseSensitive', caseSensitive);
  return new RulePolicy('authorize', allow, deny, caseSensitive);
}

function conclude(
  exchange: Exchange,
  judgement: Judgement,
  judge: Judge,
  next: Next | undefined,
): void {
  if (judgement !== undefined) return fail(exchange, judgement, next);
  keepTo(exchange, judge);
  next?.();
}

/** What was judged is what will be sent: a request that has become another one is judged once more. */
function keepTo(exchange: Exchange, judge: Judge): void {
  const { req, method, path } = exchange;
  const place = mountPath(req) + path;
  exchange.around(async (_, send) => {
    // A router that cuts off its mount path, and puts it back, does not change where a request goes.
    const isSame = exchange.path === path || mountPath(req) + exchange.path === place;
    if (isSame && exchange.method === method) return send();
    if ((await judge(exchange)) === undefined) return send();
    throw forbidden(
      'CHANGED',
      `authorize: ${method} ${path} became ${exchange.method} ${exchange.path}, which is not allowed: ` +
        'place authorize() behind what changes it',
    );
  });
}

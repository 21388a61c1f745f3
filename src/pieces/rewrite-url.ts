import type { IncomingMessage } from 'node:http';
import { backtracks } from '../backtracking.js';
import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import { type Callback, inspect, refuseRequest } from '../options.js';
import { fail } from '../transport/deliver.js';

/** A rewrite of one's own: gets path and query as they would be sent, returns what to send instead. */
export type RewriteFunction = Callback<[path: string, req: IncomingMessage], string>;

/**
 * What {@link rewriteUrl} goes by: patterns and replacements, of which the first that matches counts.
 * Keys of an object are regular expressions; in a list, a string is a prefix that ends at a slash.
 */
export type RewriteRules =
  | Readonly<Record<string, string>>
  | readonly (readonly [pattern: RegExp | string, to: string])[]
  | RewriteFunction;

/**
 * Changes the path that will be sent; `req.url` stays. Patterns see the path alone, so that the query
 * arrives byte for byte. A path that no rule matches is left as it is. `rewriteRedirects()` finds the way
 * back from prefixes that are plain text: `'^/api'` or `'/api'`, and not from other patterns or functions.
 *
 * @example
 * app.use(rewriteUrl({ '^/api': '' }), proxyPass('http://localhost:3000'));
 * // GET /api/users?page=2 → /users?page=2
 *
 * @throws TypeError when a rule is not one of the forms above, or its pattern could backtrack for seconds.
 */
export function rewriteUrl(rules: RewriteRules): Handler {
  refuseRequest('rewriteUrl', rules);
  const rewrite = typeof rules === 'function' ? byFunction(rules) : byRules(compile(rules));

  return function rewriteUrlMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    try {
      rewrite(exchange);
    } catch (error) {
      return fail(exchange, error, next);
    }
    next?.();
  };
}

/** Gives the new path, or `undefined` when the rule does not match. */
interface Rule {
  readonly apply: (path: string) => string | undefined;
  /** The prefixes that the rule exchanges, where it is as simple as that. */
  readonly prefix?: { readonly from: string; readonly to: string };
}

function byFunction(rewrite: RewriteFunction): (exchange: Exchange) => void {
  return (exchange) => {
    const path: unknown = rewrite(exchange.path, exchange.req);
    if (typeof path !== 'string') {
      throw new TypeError(
        `rewriteUrl: the function must return a path, it returned ${inspect(path)}`,
      );
    }
    exchange.path = withSlash(path);
  };
}

function byRules(rules: readonly Rule[]): (exchange: Exchange) => void {
  return (exchange) => {
    const { path } = exchange;
    const mark = path.indexOf('?');
    const bare = mark === -1 ? path : path.slice(0, mark);
    for (const rule of rules) {
      const rewritten = rule.apply(bare);
      if (rewritten === undefined) continue;
      exchange.path = withSlash(mark === -1 ? rewritten : joinQuery(rewritten, path.slice(mark)));
      if (rule.prefix === undefined) return;
      const { rewritten: before = [] } = exchange;
      exchange.rewritten = [...before, rule.prefix];
      return;
    }
  };
}

function withSlash(path: string): string {
  return path.charCodeAt(0) === 0x2f ? path : `/${path}`;
}

/** A replacement may bring a query of its own; the client's comes after it. */
function joinQuery(path: string, query: string): string {
  return path.includes('?') ? `${path}&${query.slice(1)}` : path + query;
}

function compile(rules: Exclude<RewriteRules, RewriteFunction>): Rule[] {
  if (Array.isArray(rules)) {
    return rules.map((rule: unknown, i) => {
      const at = `rewriteUrl: rules[${i}]`;
      if (!Array.isArray(rule) || rule.length !== 2) {
        throw new TypeError(
          `${at} must be a pair of pattern and replacement, received ${inspect(rule)}`,
        );
      }
      const [pattern, to] = rule as [unknown, unknown];
      return compileRule(at, pattern, to);
    });
  }
  // By its tag: an expression or a Map has no keys, and would be rules that never match.
  const tag = Object.prototype.toString.call(rules);
  if (tag !== '[object Object]') {
    const received = tag === '[object RegExp]' ? String(rules) : inspect(rules);
    throw new TypeError(
      `rewriteUrl: rules must be { '^/api': '' }, [[/^\\/api/, '']] or a function, received ${received}`,
    );
  }
  return Object.entries(rules).map(([key, to]) => {
    const at = `rewriteUrl: rules[${JSON.stringify(key)}]`;
    const from = /^\^(\/[\w/~-]*)$/.exec(key)?.[1];
    // An anchored plain text needs no regular expression, and the way back from it is known.
    if (from !== undefined) return textRule(from, replacement(at, to), false);
    return patternRule(at, toPattern(at, key), replacement(at, to));
  });
}

function compileRule(at: string, pattern: unknown, to: unknown): Rule {
  // A copy: matching with a sticky or global expression writes into it.
  if (pattern instanceof RegExp) return patternRule(at, new RegExp(pattern), replacement(at, to));
  if (typeof pattern !== 'string' || !pattern.startsWith('/')) {
    throw new TypeError(
      `${at} must begin with a RegExp or a prefix such as "/api", received ${inspect(pattern)}`,
    );
  }
  return textRule(pattern.replace(/\/$/, ''), replacement(at, to), true);
}

function replacement(at: string, to: unknown): string {
  if (typeof to === 'string') return to;
  throw new TypeError(`${at} must be replaced by a string, received ${inspect(to)}`);
}

function toPattern(at: string, source: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new TypeError(`${at} is not a regular expression`, { cause });
  }
}

function patternRule(at: string, pattern: RegExp, to: string): Rule {
  if (backtracks(pattern)) {
    throw new RangeError(
      `${at} can be tried in too many ways; a hostile path would keep it busy for seconds`,
    );
  }
  return {
    apply(path) {
      // A sticky or global expression remembers where it stopped, in this request or the last.
      pattern.lastIndex = 0;
      if (!pattern.test(path)) return undefined;
      pattern.lastIndex = 0;
      return path.replace(pattern, to);
    },
  };
}

/** Exchanges a text at the front; `whole` lets it end only where a segment of the path does. */
function textRule(from: string, to: string, whole: boolean): Rule {
  const apply = (path: string): string | undefined => {
    if (!path.startsWith(from)) return undefined;
    if (whole && path.length > from.length && path.charCodeAt(from.length) !== 0x2f)
      return undefined;
    const rest = path.slice(from.length);
    return to.endsWith('/') && rest.startsWith('/') ? to + rest.slice(1) : to + rest;
  };
  return { apply, prefix: { from: from.replace(/\/$/, ''), to: to.replace(/\/$/, '') } };
}

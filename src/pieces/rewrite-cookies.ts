import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { inspect, isPlain, known, oneOf } from '../options.js';

/**
 * What an attribute becomes: one value for all, a value by what it was (`'*'` for the rest), or what a
 * function returns. `false` takes the attribute out.
 */
export type CookieMapping =
  | string
  | false
  | Readonly<Record<string, string | false>>
  | ((value: string) => string | false);

/** Options for {@link rewriteCookies}. What is not given stays as the upstream sent it. */
export interface RewriteCookiesOptions {
  /** What `Domain` becomes, where a cookie has one. `false` binds the cookie to the gateway's host. */
  readonly domain?: CookieMapping | undefined;
  /** What `Path` becomes, where a cookie has one. */
  readonly path?: CookieMapping | undefined;
  /** Whether `Secure` is there. */
  readonly secure?: boolean | undefined;
  /** What `SameSite` is; `false` takes it out. `'none'` brings `Secure` with it. */
  readonly sameSite?: 'strict' | 'lax' | 'none' | false | undefined;
}

type Mapper = (value: string) => string | false;

interface Rewrite {
  readonly domain: Mapper | undefined;
  readonly path: Mapper | undefined;
  readonly secure: boolean | undefined;
  readonly sameSite: string | false | undefined;
}

/**
 * Maps `Domain`, `Path`, `Secure` and `SameSite` of each `Set-Cookie`, and nothing else in it. Cookies
 * named `__Host-` and `__Secure-` keep what makes them valid.
 *
 * @example
 * app.use('/shop', rewriteCookies({ domain: false, path: { '/': '/shop' } }), proxyPass('http://localhost:3000'));
 */
export function rewriteCookies(options: RewriteCookiesOptions): Handler {
  const { domain, path, secure, sameSite } = known('rewriteCookies', options, [
    'domain',
    'path',
    'secure',
    'sameSite',
  ]);
  if (secure !== undefined && typeof secure !== 'boolean') {
    throw new TypeError(
      `rewriteCookies: secure must be true or false, received ${inspect(secure)}`,
    );
  }
  if (sameSite !== undefined && sameSite !== false) {
    oneOf('rewriteCookies: sameSite', sameSite, ['strict', 'lax', 'none']);
  }
  if (secure === false && sameSite === 'none') {
    throw new TypeError(
      "rewriteCookies: sameSite 'none' needs Secure, which secure: false takes out",
    );
  }
  const rewrite: Rewrite = {
    domain: mapper('rewriteCookies: domain', domain, DOMAIN, canonicalDomain),
    path: mapper('rewriteCookies: path', path, PATH, String),
    secure,
    sameSite,
  };

  function editCookies(
    response: UpstreamResponse,
    _req: IncomingMessage,
    _res: ServerResponse,
  ): void {
    const cookies = response.headers.getAll('set-cookie');
    if (cookies.length === 0) return;
    response.headers.set(
      'Set-Cookie',
      cookies.map((cookie) => rewriteCookie(cookie, rewrite)),
    );
  }

  return function rewriteCookiesMiddleware(req, res, next) {
    exchangeOf(req, res).onResponse(editCookies);
    next?.();
  };
}

/** Attribute values end at a semicolon and hold no control characters (RFC 6265, 4.1.1). */
const ATTRIBUTE_VALUE = /^[\x20-\x3a\x3c-\x7e]*$/;

/** What the values of an attribute look like that is not ignored (RFC 6265, 5.2.3 and 5.2.4). */
interface Shape {
  readonly pattern: RegExp;
  readonly words: string;
}

const DOMAIN: Shape = { pattern: /^[^\s/:]+$/, words: 'the name of a host' };
const PATH: Shape = { pattern: /^\//, words: 'a path that begins with a slash' };

function mapper(
  at: string,
  mapping: CookieMapping | undefined,
  shape: Shape,
  canonical: (value: string) => string,
): Mapper | undefined {
  if (mapping === undefined) return undefined;
  if (mapping === false) return () => false;
  if (typeof mapping === 'function') return (value) => checked(at, mapping(value));
  if (typeof mapping === 'string') {
    shaped(at, mapping, shape);
    return () => mapping;
  }
  if (!isPlain(mapping)) {
    throw new TypeError(
      `${at} must be a string, false, an object or a function, received ${inspect(mapping)}`,
    );
  }
  const table = new Map<string, string | false>();
  for (const [key, value] of Object.entries(mapping)) {
    table.set(canonical(key), shaped(`${at}[${JSON.stringify(key)}]`, value, shape));
  }
  return (value) => table.get(canonical(value)) ?? table.get('*') ?? value;
}

/** RFC 6265, 5.2.3: neither its case nor a dot before it mean anything. */
function canonicalDomain(domain: string): string {
  return domain.replace(/^\./, '').toLowerCase();
}

function shaped(at: string, value: string | false, { pattern, words }: Shape): string | false {
  if (checked(at, value) === false || pattern.test(value as string)) return value;
  throw new TypeError(`${at} must be ${words}, or false for none, received ${inspect(value)}`);
}

function checked(at: string, value: string | false): string | false {
  if (value === false || (typeof value === 'string' && ATTRIBUTE_VALUE.test(value))) return value;
  throw new TypeError(
    `${at} must be a cookie attribute's value or false, received ${inspect(value)}`,
  );
}

/** One `Set-Cookie` with its attributes mapped; the text of all others stays byte for byte. */
function rewriteCookie(cookie: string, rewrite: Rewrite): string {
  const [pair = '', ...attributes] = cookie.split(';');
  const hostBound = /^\s*__Host-/i.test(pair);
  const mustBeSecure = hostBound || /^\s*__(?:Secure|Http)-/i.test(pair);
  const dropsSecure =
    rewrite.secure === false && !mustBeSecure && !needsSecure(attributes, rewrite.sameSite);
  const kept: string[] = [];
  for (const attribute of attributes) {
    const at = attribute.indexOf('=');
    const name = (at === -1 ? attribute : attribute.slice(0, at)).trim().toLowerCase();
    const value = at === -1 ? '' : attribute.slice(at + 1).trim();
    const map = name === 'domain' ? rewrite.domain : name === 'path' ? rewrite.path : undefined;
    if (map !== undefined && !hostBound) {
      const mapped = map(value);
      if (mapped === value) kept.push(attribute);
      else if (mapped !== false) kept.push(` ${capitalized(name)}=${mapped}`);
    } else if (
      !(name === 'secure' && dropsSecure) &&
      !(name === 'samesite' && rewrite.sameSite !== undefined)
    ) {
      kept.push(attribute);
    }
  }
  const secure = rewrite.secure === true || rewrite.sameSite === 'none';
  if (secure && !kept.some((attribute) => attribute.trim().toLowerCase() === 'secure'))
    kept.push(' Secure');
  if (rewrite.sameSite) kept.push(` SameSite=${capitalized(rewrite.sameSite)}`);
  return [pair, ...kept].join(';');
}

/** Browsers refuse `SameSite=None` and `Partitioned` without `Secure`. */
function needsSecure(attributes: readonly string[], sameSite: Rewrite['sameSite']): boolean {
  const pattern =
    sameSite === undefined
      ? /^\s*(?:samesite\s*=\s*none|partitioned)\s*$/i
      : /^\s*partitioned\s*$/i;
  return attributes.some((attribute) => pattern.test(attribute));
}

function capitalized(word: string): string {
  return (word[0] as string).toUpperCase() + word.slice(1);
}

import { inspect } from '../options.js';

/** What stands in a log in place of a secret. */
const MASK = '***';

/** Makes a URL or a path fit for a log. */
export type Redact = (url: string) => string;

/** Parameters whose values are secrets wherever they are used. */
export const SECRET_PARAMETERS: readonly string[] = [
  'access_token',
  'api_key',
  'apikey',
  'client_secret',
  'code',
  'id_token',
  'password',
  'refresh_token',
  'secret',
  'sig',
  'signature',
  'token',
  'x-amz-security-token',
  'x-amz-signature',
  'x-goog-signature',
];

/** Up to the last `@` of the authority, in absolute form and in that of CONNECT. */
const USERINFO = /^((?:[a-z][a-z0-9+.-]*:)?\/\/|)[^/?#]*@/i;

/**
 * Masks the values of these query parameters, and credentials before a host. Names are compared as a
 * server would read them: decoded, in any case, and as a part of `user[password]`.
 *
 * @throws TypeError that names `path` when there is something else than names.
 */
export function redactor(path: string, names: readonly string[]): Redact {
  const secrets = new Set(checked(path, names));
  const isSecret = (name: string): boolean =>
    secrets.has(name) || name.split(/[[\].]+/).some((part) => secrets.has(part));
  const masked = (pair: string): string => {
    const end = pair.indexOf('=');
    return end !== -1 && isSecret(decoded(pair.slice(0, end)))
      ? `${pair.slice(0, end)}=${MASK}`
      : pair;
  };
  // Nearly all URLs have neither a name of the list in them nor one that is written in disguise.
  const literal = [...secrets].map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  const suspicious = new RegExp([...literal, '%'].join('|'), 'i');

  return function redact(url) {
    const plain = url.charCodeAt(0) === 0x2f ? url : url.replace(USERINFO, '$1');
    // A fragment has tokens in it where somebody has copied what a browser shows.
    const query = plain.search(/[?#]/) + 1;
    if (query === 0 || !suspicious.test(plain)) return plain;
    return plain.slice(0, query) + plain.slice(query).replace(/[^&;#]+/g, masked);
  };
}

function checked(path: string, names: readonly string[]): string[] {
  if (!Array.isArray(names)) {
    throw new TypeError(`${path} must be an array of names, received ${inspect(names)}`);
  }
  return names.map((name: unknown, i) => {
    if (typeof name === 'string' && name !== '') return name.toLowerCase();
    throw new TypeError(`${path}[${i}] must be the name of a parameter, received ${inspect(name)}`);
  });
}

function decoded(name: string): string {
  const text = name.replaceAll('+', ' ').toLowerCase();
  if (!text.includes('%')) return text.trim();
  try {
    return decodeURIComponent(text).toLowerCase().trim();
  } catch {
    return text;
  }
}

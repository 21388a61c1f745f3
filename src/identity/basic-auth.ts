import { callable, flag, inspect, isPlain, known, wholeNumber } from '../options.js';
import { BasicVerifier } from './basic-verifier.js';
import { checkRealm } from './credentials.js';
import { PasswordFile, parseHtpasswd, type Users } from './password-file.js';
import { passwordCheck } from './passwords.js';
import type { Verifier } from './verifier.js';

/** Options for {@link basicAuth}. */
export interface BasicAuthOptions {
  /** Names, each with a hash of its password (bcrypt or argon2), or the password. This or `htpasswd` is required. */
  readonly users?: Readonly<Record<string, string>> | undefined;
  /** The path of a file that `htpasswd -B` writes, or its text. The file is read again when it changes. */
  readonly htpasswd?: string | URL | undefined;
  /**
   * How long a password that was right is not hashed again.
   *
   * @default 300_000
   */
  readonly cacheMs?: number | undefined;
  /**
   * How many passwords that were right are remembered.
   *
   * @default 1_000
   */
  readonly cacheSize?: number | undefined;
  /**
   * How many passwords may wait to be hashed. Clients beyond get 503.
   *
   * @default 64
   */
  readonly maxPending?: number | undefined;
  /**
   * Whether name and password go on to the upstream.
   *
   * @default false
   */
  readonly forward?: boolean | undefined;
  /**
   * @default 'gateway'
   */
  readonly realm?: string | undefined;
  /** Is told when the file has changed and cannot be read. */
  readonly onError?: ((error: Error) => void) | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/**
 * Knows clients by name and password (RFC 7617), for few users and simple tools. Hashes of bcrypt need the
 * package `@node-rs/bcrypt`, those of argon2 `@node-rs/argon2`.
 *
 * @example
 * app.use(authenticate(basicAuth({ htpasswd: '/etc/gateway/users' })), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be, or the file cannot be read.
 */
export function basicAuth(options: BasicAuthOptions): Verifier {
  const {
    users,
    htpasswd,
    cacheMs = 300_000,
    cacheSize = 1_000,
    maxPending = 64,
    forward = false,
    realm = 'gateway',
    onError,
    now = () => performance.now(),
  } = known('basicAuth', options, OPTIONS);
  wholeNumber('basicAuth: cacheMs', cacheMs);
  wholeNumber('basicAuth: cacheSize', cacheSize);
  wholeNumber('basicAuth: maxPending', maxPending, 1);
  flag('basicAuth: forward', forward);
  checkRealm('basicAuth: realm', realm);
  if (onError !== undefined) callable('basicAuth: onError', onError);
  callable('basicAuth: now', now);
  if ((users === undefined) === (htpasswd === undefined)) {
    throw new TypeError('basicAuth: needs users or htpasswd, and not both');
  }
  return new BasicVerifier(
    htpasswd === undefined ? usersOf(users) : usersIn(htpasswd, now, onError),
    { cacheMs, cacheSize, maxPending, forward, realm, now },
  );
}

const OPTIONS = [
  'users',
  'htpasswd',
  'cacheMs',
  'cacheSize',
  'maxPending',
  'forward',
  'realm',
  'onError',
  'now',
] as const;

/** Lines of name and hash, and not a path, which has neither. */
function isText(htpasswd: unknown): htpasswd is string {
  return typeof htpasswd === 'string' && /\n|^[^/\\:]+:[${]/.test(htpasswd);
}

function usersIn(
  htpasswd: unknown,
  now: () => number,
  onError: BasicAuthOptions['onError'],
): Users | PasswordFile {
  if (isText(htpasswd)) return parseHtpasswd(htpasswd);
  if (typeof htpasswd !== 'string' && !(htpasswd instanceof URL)) {
    throw new TypeError(`basicAuth: htpasswd must be a path, received ${inspect(htpasswd)}`);
  }
  return new PasswordFile(htpasswd, now, onError);
}

function usersOf(users: unknown): Users {
  if (!isPlain(users)) {
    throw new TypeError(`basicAuth: users must be an object of names, received ${inspect(users)}`);
  }
  const checks = Object.entries(users).map(([name, stored]) => {
    if (name === '' || name.includes(':')) {
      throw new TypeError(`basicAuth: users has a name that cannot be sent: ${inspect(name)}`);
    }
    return [name, passwordCheck(`basicAuth: users[${inspect(name)}]`, stored, true)] as const;
  });
  return new Map(checks);
}

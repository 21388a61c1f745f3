import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { inspect } from '../options.js';

const BCRYPT = /^\$2[aby]\$(?:0[4-9]|1\d|2\d|3[01])\$[./A-Za-z0-9]{53}$/;
const ARGON2 = /^\$argon2(?:id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$/;

/** Tells whether a password is the right one; hashes made for passwords take their time over it. */
export type PasswordCheck =
  | { readonly slow: false; readonly verify: (password: string) => boolean }
  | { readonly slow: true; readonly verify: (password: string) => Promise<boolean> };

/**
 * What checks passwords against a stored one: a hash of bcrypt or argon2, or, where `plain` may be, the
 * password itself.
 *
 * @throws TypeError when it is a hash of another kind: what is not understood must not be a password.
 */
export function passwordCheck(path: string, stored: unknown, plain: boolean): PasswordCheck {
  if (typeof stored !== 'string' || stored === '') {
    throw new TypeError(`${path} must be a hash of a password, received ${kindOf(stored)}`);
  }
  if (BCRYPT.test(stored)) return bcryptCheck(stored);
  if (ARGON2.test(stored)) return argon2Check(stored);
  if (!plain || /^(?:\$|\{[A-Z0-9]+\})/i.test(stored)) {
    throw new TypeError(
      `${path} must be a hash of bcrypt or argon2 (htpasswd -B), received ${kindOf(stored)}`,
    );
  }
  return plainCheck(stored);
}

/** What a stored password looks like, without giving it away. */
function kindOf(stored: unknown): string {
  if (typeof stored !== 'string') return inspect(stored);
  return /^(?:\$[a-z0-9]+\$|\{[A-Z0-9]+\})/i.exec(stored)?.[0] ?? 'something else';
}

/** Passwords of different lengths take the same time to compare once they are hashed. */
function plainCheck(stored: string): PasswordCheck {
  const salt = randomBytes(32).toString('base64');
  const digest = (password: string) => hash('sha256', salt + password, 'buffer');
  const expected = digest(stored);
  return { slow: false, verify: (password) => timingSafeEqual(digest(password), expected) };
}

function bcryptCheck(stored: string): PasswordCheck {
  const loaded = loadHasher<typeof import('@node-rs/bcrypt')>('@node-rs/bcrypt');
  return { slow: true, verify: async (password) => (await loaded).verify(password, stored) };
}

function argon2Check(stored: string): PasswordCheck {
  const loaded = loadHasher<typeof import('@node-rs/argon2')>('@node-rs/argon2');
  return { slow: true, verify: async (password) => (await loaded).verify(stored, password) };
}

/** By a name that no bundler sees: native code cannot be part of a bundle. */
function loadHasher<T>(name: string): Promise<T> {
  const loaded = (import(name) as Promise<T>).catch((cause: unknown) => {
    throw new Error(`basicAuth: needs the package "${name}": npm install ${name}`, { cause });
  });
  loaded.catch((error: Error) => {
    process.emitWarning(error.message, { type: 'HeadraceWarning', code: 'HEADRACE_PEER' });
  });
  return loaded;
}

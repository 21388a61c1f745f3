import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { callListener } from '../warnings.js';
import { type PasswordCheck, passwordCheck } from './passwords.js';

/** Users and what checks their passwords. */
export type Users = ReadonlyMap<string, PasswordCheck>;

/** How often a file is looked at, at most. */
const LOOK_MS = 1_000;

/**
 * The users of an `htpasswd` file, and whoever they have become since: the file is looked at again when
 * somebody comes, at most once a second. A file that cannot be read leaves the users as they were.
 */
export class PasswordFile {
  readonly #path: string | URL;
  readonly #now: () => number;
  readonly #onError: ((error: Error) => void) | undefined;
  #users: Users;
  #version: string;
  #lookedAt: number;

  constructor(
    path: string | URL,
    now: () => number,
    onError: ((error: Error) => void) | undefined,
  ) {
    this.#path = path;
    this.#now = now;
    this.#onError = onError;
    let text: string;
    try {
      this.#version = versionOf(statSync(path));
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      const { message } = cause as Error;
      throw new Error(`basicAuth: htpasswd cannot be read: ${message}`, { cause });
    }
    this.#users = parseHtpasswd(text);
    this.#lookedAt = now();
  }

  /** Whether it is time to {@link look} again. */
  get isDue(): boolean {
    return this.#now() - this.#lookedAt >= LOOK_MS;
  }

  /** The users as they were last read. */
  get users(): Users {
    return this.#users;
  }

  /** Reads the file again if it is another one; whether it was. */
  async look(): Promise<boolean> {
    this.#lookedAt = this.#now();
    try {
      const version = versionOf(await stat(this.#path));
      if (version === this.#version) return false;
      const users = parseHtpasswd(await readFile(this.#path, 'utf8'));
      this.#users = users;
      this.#version = version;
      return true;
    } catch (cause) {
      const error = new Error('basicAuth: htpasswd could not be read again', { cause });
      if (this.#onError !== undefined)
        callListener('basicAuth: onError() threw', this.#onError, error);
      return false;
    }
  }
}

function versionOf({ mtimeMs, size, ino }: { mtimeMs: number; size: number; ino: number }): string {
  return `${mtimeMs} ${size} ${ino}`;
}

/**
 * The users in a text of `name:hash` lines. Empty lines and comments are passed over.
 *
 * @throws TypeError for a line that is something else, by its number: it may hold a password.
 */
export function parseHtpasswd(text: string): Users {
  const users = new Map<string, PasswordCheck>();
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const path = `basicAuth: htpasswd, line ${i + 1}`;
    const colon = line.indexOf(':');
    if (colon < 1) throw new TypeError(`${path} must be name:hash`);
    const name = line.slice(0, colon);
    if (users.has(name)) throw new TypeError(`${path} has a name that an earlier line has`);
    // What follows a second colon is a comment: no hash has one in it.
    users.set(name, passwordCheck(path, line.slice(colon + 1).split(':')[0], false));
  }
  return users;
}

import { hash, randomBytes } from 'node:crypto';
import type { Exchange } from '../exchange/exchange.js';
import type { Identity } from '../exchange/identity.js';
import { credentialsOf, withhold } from './credentials.js';
import { frozen, KnownGood } from './known-good.js';
import { PasswordFile, type Users } from './password-file.js';
import type { PasswordCheck } from './passwords.js';
import { Turns } from './turns.js';
import type { Verdict, Verifier } from './verifier.js';

/** What a {@link BasicVerifier} goes by. */
export interface BasicSettings {
  readonly cacheMs: number;
  readonly cacheSize: number;
  readonly maxPending: number;
  readonly forward: boolean;
  readonly realm: string;
  readonly now: () => number;
}

/** Hashing takes one of the few threads that Node also reads files and resolves names with. */
const AT_ONCE = 2;
const MAX_LENGTH = 2_048;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
/** RFC 7617, 2: neither name nor password may hold control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const CONTROL = /[\u0000-\u001f\u007f]/;
const MALFORMED = { refused: 'malformed' };
const WRONG = { refused: 'wrong name or password' };

/** Checks names and passwords. A name that nobody has takes as long as a password that is wrong. */
export class BasicVerifier implements Verifier {
  readonly scheme = 'basic';
  readonly #users: Users | PasswordFile;
  readonly #settings: BasicSettings;
  readonly #known: KnownGood;
  readonly #hashing: Turns;
  readonly #salt = randomBytes(32).toString('base64');
  /** Counts changes of the file: what was right before one must not be remembered after it. */
  #changes = 0;

  constructor(users: Users | PasswordFile, settings: BasicSettings) {
    this.#users = users;
    this.#settings = settings;
    this.#known = new KnownGood(settings.cacheMs === 0 ? 0 : settings.cacheSize);
    this.#hashing = new Turns(AT_ONCE, settings.maxPending);
  }

  /** RFC 7617, 2.1: the one encoding that there is a word for. */
  challenge(): string {
    return `Basic realm="${this.#settings.realm}", charset="UTF-8"`;
  }

  /** Judges name and password of a request, if it has them. */
  verify(exchange: Exchange): Verdict | Promise<Verdict> {
    const encoded = credentialsOf(exchange, 'basic');
    if (encoded === undefined) return undefined;
    const users = this.#users;
    if (!(users instanceof PasswordFile)) return this.#judge(exchange, encoded, users);
    if (!users.isDue) return this.#judge(exchange, encoded, users.users);
    return users.look().then((isNew) => {
      if (isNew) {
        this.#changes += 1;
        this.#known.clear();
      }
      return this.#judge(exchange, encoded, users.users);
    });
  }

  #judge(exchange: Exchange, encoded: string, users: Users): Verdict | Promise<Verdict> {
    const key = this.#known.keyOf(encoded);
    const identity = this.#known.get(key, this.#settings.now());
    if (identity !== undefined) return this.#pass(exchange, identity);
    const [name, password] = decoded(encoded) ?? [];
    if (name === undefined || password === undefined) return MALFORMED;
    const own = users.get(name);
    const check = own ?? this.#decoy(users, name);
    if (check === undefined) return WRONG;
    if (check.slow)
      return this.#hash(exchange, key, name, check.verify, password, own !== undefined);
    const isRight = check.verify(password);
    return isRight && own !== undefined ? this.#pass(exchange, identityOf(name)) : WRONG;
  }

  async #hash(
    exchange: Exchange,
    key: string,
    name: string,
    verify: (password: string) => Promise<boolean>,
    password: string,
    isUser: boolean,
  ): Promise<Verdict> {
    const changes = this.#changes;
    const isRight = await this.#hashing.take(() => verify(password));
    if (!isRight || !isUser) return WRONG;
    const identity = identityOf(name);
    const { now, cacheMs } = this.#settings;
    if (changes === this.#changes) this.#known.set(key, identity, now() + cacheMs);
    return this.#pass(exchange, identity);
  }

  /**
   * Whose password is checked in place of that of a name that nobody has: always the same user's for
   * the same name, as hashes can take differently long. Only this process knows whose.
   */
  #decoy(users: Users, name: string): PasswordCheck | undefined {
    const at = hash('sha256', this.#salt + name, 'buffer').readUInt32BE() % users.size;
    return [...users.values()][at];
  }

  #pass(exchange: Exchange, identity: Identity): Identity {
    if (!this.#settings.forward) withhold(exchange);
    return identity;
  }
}

function identityOf(name: string): Identity {
  return frozen({ subject: name, claims: {}, scheme: 'basic' });
}

/** Name and password; `undefined` when they cannot be what a client was given. */
function decoded(encoded: string): [name: string, password: string] | undefined {
  if (encoded.length > MAX_LENGTH || !BASE64.test(encoded)) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon === -1 || CONTROL.test(text)) return undefined;
  return [text.slice(0, colon), text.slice(colon + 1)];
}

import type { KeyObject, webcrypto } from 'node:crypto';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import type { Exchange } from '../exchange/exchange.js';
import type { Identity } from '../exchange/identity.js';
import { credentialsOf, withhold } from './credentials.js';
import { type Jose, loadJose } from './jose.js';
import type { Jwk } from './jwt-keys.js';
import { frozen, KnownGood } from './known-good.js';
import { type KeyFinder, RemoteKeys, type RemoteKeysSettings } from './remote-keys.js';
import type { Verdict, Verifier } from './verifier.js';

/** Where the keys come from. */
export type JwtKeys =
  | { readonly at: 'secret'; readonly key: KeyObject }
  | { readonly at: 'set'; readonly set: { keys: Jwk[] } }
  | { readonly at: 'url'; readonly settings: Omit<RemoteKeysSettings, 'onChange'> };

/** What a {@link JwtVerifier} goes by. */
export interface JwtSettings {
  readonly keys: JwtKeys;
  /** What `jose` is to check beside the signature. */
  readonly expected: NonNullable<Parameters<Jose['jwtVerify']>[2]>;
  readonly maxTokenBytes: number;
  readonly cacheSize: number;
  readonly forward: boolean;
  readonly realm: string;
  readonly now: () => number;
}

/** Verifies tokens, and remembers those that were good. */
export class JwtVerifier implements Verifier {
  readonly scheme = 'bearer';
  readonly #settings: JwtSettings;
  readonly #known: KnownGood;
  readonly #remote: RemoteKeys | undefined;
  #jose: Jose | undefined = undefined;
  #loading: Promise<Jose> | undefined = undefined;
  #findInSet: KeyFinder | undefined = undefined;
  #findNameless: KeyFinder | undefined = undefined;
  /** Counts changes of the keys: what was verified before one must not be remembered after it. */
  #changes = 0;

  constructor(settings: JwtSettings) {
    this.#settings = settings;
    this.#known = new KnownGood(settings.cacheSize);
    const { keys } = settings;
    const onChange = () => {
      this.#changes += 1;
      this.#known.clear();
    };
    this.#remote = keys.at === 'url' ? new RemoteKeys({ ...keys.settings, onChange }) : undefined;
    // Asked for now, so that it is there with the first request, and a missing one is known at once.
    this.#load().catch((error: Error) => {
      process.emitWarning(error.message, { type: 'HeadraceWarning', code: 'HEADRACE_PEER' });
    });
  }

  /** RFC 6750, 3: nothing about the token but that it is none that will do. */
  challenge(wrong: boolean): string {
    return `Bearer realm="${this.#settings.realm}"${wrong ? ', error="invalid_token"' : ''}`;
  }

  /** Judges the token of a request, if it has one. */
  verify(exchange: Exchange): Verdict | Promise<Verdict> {
    const token = credentialsOf(exchange, 'bearer');
    if (token === undefined) return undefined;
    const { maxTokenBytes, forward, now } = this.#settings;
    if (token.length > maxTokenBytes) return { refused: 'too long' };
    const key = this.#known.keyOf(token);
    const identity = this.#known.get(key, now());
    if (identity === undefined) return this.#check(exchange, token, key);
    if (this.#jose !== undefined) this.#remote?.keepFresh(this.#jose);
    if (!forward) withhold(exchange);
    return identity;
  }

  async #check(exchange: Exchange, token: string, key: string): Promise<Verdict> {
    const jose = this.#jose ?? (await this.#load());
    let changes = 0;
    const find: KeyFinder = async (...header) => {
      const found = await this.#find(jose, header);
      changes = this.#changes;
      return found;
    };
    try {
      const { keys } = this.#settings;
      const claims = await this.#claims(jose, token, keys.at === 'secret' ? keys.key : find);
      const { sub: subject, exp } = claims;
      if (subject !== undefined && typeof subject !== 'string') return { refused: 'claim sub' };
      const identity: Identity = frozen({ subject, claims, scheme: this.scheme });
      if (changes === this.#changes) this.#known.set(key, identity, this.#expiry(exp));
      if (!this.#settings.forward) withhold(exchange);
      return identity;
    } catch (error) {
      return { refused: reasonOf(error) };
    }
  }

  /** The claims of a token, if any of the keys that it could be signed with has signed it. */
  async #claims(jose: Jose, token: string, key: KeyObject | KeyFinder): Promise<JWTPayload> {
    const options = { ...this.#settings.expected, currentDate: new Date(this.#settings.now()) };
    try {
      if (typeof key !== 'function') return (await jose.jwtVerify(token, key, options)).payload;
      return (await jose.jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (codeOf(error) !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') throw error;
      for await (const candidate of error as AsyncIterable<webcrypto.CryptoKey>) {
        try {
          return (await jose.jwtVerify(token, candidate, options)).payload;
        } catch (failure) {
          // A TypeError says that the key is not fit for the algorithm: RSA keys can be too short.
          const isOther = codeOf(failure) === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED';
          if (!isOther && !(failure instanceof TypeError)) throw failure;
        }
      }
      throw new jose.errors.JWSSignatureVerificationFailed();
    }
  }

  async #find(jose: Jose, [header, token]: Parameters<KeyFinder>): ReturnType<KeyFinder> {
    if (this.#remote !== undefined) return this.#remote.find(jose, header, token);
    const { set } = this.#settings.keys as Extract<JwtKeys, { at: 'set' }>;
    this.#findInSet ??= jose.createLocalJWKSet(set as JSONWebKeySet);
    try {
      return await this.#findInSet(header, token);
    } catch (error) {
      if (codeOf(error) !== 'ERR_JWKS_NO_MATCHING_KEY') throw error;
      // A key that was given without a name can have any.
      const nameless = { keys: set.keys.filter(({ kid }) => kid === undefined) };
      this.#findNameless ??= jose.createLocalJWKSet(nameless as JSONWebKeySet);
      return this.#findNameless(header && ({ ...header, kid: undefined } as never), token);
    }
  }

  #expiry(exp: number | undefined): number {
    if (exp === undefined) return Infinity;
    return (exp + Number(this.#settings.expected.clockTolerance ?? 0)) * 1_000;
  }

  #load(): Promise<Jose> {
    this.#loading ??= loadJose('bearerJwt').then((jose) => {
      this.#jose = jose;
      return jose;
    });
    return this.#loading;
  }
}

/** Why `jose` refuses a token, by its stable codes. */
const REASONS: Readonly<Record<string, string>> = {
  ERR_JWT_EXPIRED: 'expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm not allowed',
  ERR_JWKS_NO_MATCHING_KEY: 'unknown key',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'wrong signature',
  ERR_JWS_INVALID: 'malformed',
  ERR_JWT_INVALID: 'malformed',
  ERR_JOSE_NOT_SUPPORTED: 'not supported',
};

/**
 * What was wrong with a token.
 *
 * @throws the error itself when it is not the token's fault.
 */
function reasonOf(error: unknown): string {
  const { claim } = error as { claim?: unknown };
  const code = codeOf(error);
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') {
    return claim === 'nbf' ? 'not yet valid' : `claim ${String(claim)}`;
  }
  const reason = REASONS[code];
  if (reason === undefined) throw error;
  return reason;
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code);
}

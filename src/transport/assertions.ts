import { Signer, type SigningKey } from './signer.js';

/** Tokens that are kept to be sent again. Beyond, the oldest is signed anew when it is needed. */
const MAX_KEPT = 4_096;
/** What fits into a request head beside everything else. */
const MAX_BYTES = 8_192;

/** What all assertions of a piece have in common. */
export interface AssertionSettings {
  readonly issuer: string;
  readonly audience: string | undefined;
  readonly ttlMs: number;
  readonly now: () => number;
}

/** A token, and until when it is sent. */
interface Kept {
  readonly token: string;
  readonly until: number;
}

/** Signs what is said of clients. The same is signed once for half of the time for which it holds good. */
export class Assertions {
  readonly #settings: AssertionSettings;
  readonly #kept = new Map<string, Kept>();
  #signer: Signer;
  #jwks: string;

  /** @throws TypeError that names `path`, when a key is none. */
  constructor(path: string, keys: SigningKey | readonly SigningKey[], settings: AssertionSettings) {
    this.#settings = settings;
    const signers = signersOf(path, keys);
    this.#signer = signers[0] as Signer;
    this.#jwks = jwksOf(signers);
  }

  /** The public halves of all keys, as JSON. */
  get jwks(): string {
    return this.#jwks;
  }

  /** Takes other keys: the first one signs from now on. */
  rotate(path: string, keys: SigningKey | readonly SigningKey[]): void {
    const signers = signersOf(path, keys);
    this.#signer = signers[0] as Signer;
    this.#jwks = jwksOf(signers);
    this.#kept.clear();
  }

  /**
   * A token that says these things of a client.
   *
   * @throws RangeError when it would be too long for a header.
   */
  about(subject: string | undefined, claims: object): string {
    const { issuer, audience, ttlMs, now } = this.#settings;
    const said = { ...claims, iss: issuer, aud: audience, sub: subject };
    const key = JSON.stringify(said);
    const at = now();
    const kept = this.#kept.get(key);
    if (kept !== undefined && at < kept.until) return kept.token;
    const token = this.#signer.sign({
      ...said,
      iat: Math.floor(at / 1_000),
      exp: Math.ceil((at + ttlMs) / 1_000),
    });
    if (token.length > MAX_BYTES) {
      throw new RangeError(
        `The assertion has ${token.length} bytes, at most ${MAX_BYTES} can be sent`,
      );
    }
    this.#keep(key, { token, until: at + ttlMs / 2 });
    return token;
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size <= MAX_KEPT) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }
}

function signersOf(path: string, keys: SigningKey | readonly SigningKey[]): Signer[] {
  if (!Array.isArray(keys)) return [new Signer(path, keys as SigningKey)];
  if (keys.length === 0) throw new TypeError(`${path} must have a key, received an empty list`);
  return keys.map((key, i) => new Signer(`${path}[${i}]`, key));
}

function jwksOf(signers: readonly Signer[]): string {
  return JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });
}

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type JsonWebKey,
  KeyObject,
  sign,
} from 'node:crypto';

/** A private key: Node's own object, PEM, or a JWK. P-256 signs with ES256, Ed25519 with EdDSA. */
export type SigningKey = KeyObject | string | JsonWebKey;

/** Signs JSON Web Tokens with one key. */
export class Signer {
  /** The public half, as a JWKS has it. */
  readonly jwk: JsonWebKey;
  // Private, so that nothing that prints or spreads a signer shows the key.
  readonly #key: KeyObject;
  readonly #head: string;
  readonly #hash: 'sha256' | null;

  /** @throws TypeError that names `path`, and shows nothing of the key. */
  constructor(path: string, given: SigningKey) {
    const key = privateKey(path, given);
    const alg = algorithmOf(key);
    if (alg === undefined) {
      throw new TypeError(`${path} must be a key of P-256 or Ed25519, received ${kindOf(key)}`);
    }
    const jwk = createPublicKey(key).export({ format: 'jwk' });
    const own = given instanceof KeyObject || typeof given === 'string' ? undefined : given.kid;
    const kid = typeof own === 'string' ? own : thumbprint(jwk);
    this.jwk = { ...jwk, kid, alg, use: 'sig' };
    this.#key = key;
    this.#hash = alg === 'ES256' ? 'sha256' : null;
    this.#head = base64url({ alg, typ: 'JWT', kid });
  }

  /** A signed token with these claims. */
  sign(claims: object): string {
    const text = `${this.#head}.${base64url(claims)}`;
    // RFC 7518, 3.4: the two numbers as they are, without the wrapping that OpenSSL gives them.
    const key = { key: this.#key, dsaEncoding: 'ieee-p1363' } as const;
    return `${text}.${sign(this.#hash, Buffer.from(text), key).toString('base64url')}`;
  }
}

function privateKey(path: string, given: SigningKey): KeyObject {
  let key: KeyObject | undefined;
  let cause: unknown;
  try {
    if (isKeyObject(given)) key = given;
    else if (typeof given === 'string') key = createPrivateKey(given);
    else if (typeof given === 'object' && given !== null)
      key = createPrivateKey({ key: given, format: 'jwk' });
  } catch (error) {
    cause = error;
  }
  if (key?.type === 'private') return key;
  throw new TypeError(`${path} must be a private key, as KeyObject, PEM or JWK`, { cause });
}

function isKeyObject(value: unknown): value is KeyObject {
  return value instanceof KeyObject;
}

function algorithmOf(key: KeyObject): 'ES256' | 'EdDSA' | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA';
  const isP256 = key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
  return key.asymmetricKeyType === 'ec' && isP256 ? 'ES256' : undefined;
}

function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  return [asymmetricKeyType, asymmetricKeyDetails?.namedCurve].filter(Boolean).join(' ');
}

/** RFC 7638: a name that everybody finds for the same key. */
function thumbprint({ crv, kty, x, y }: JsonWebKey): string {
  const members = JSON.stringify({ crv, kty, x, y });
  return createHash('sha256').update(members).digest('base64url');
}

function base64url(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

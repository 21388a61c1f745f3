import {
  createPublicKey,
  createSecretKey,
  type JsonWebKey,
  KeyObject,
  type webcrypto,
} from 'node:crypto';
import { inspect } from '../options.js';

/** A public key: a JWK, PEM text, or a key object. */
export type PublicKey = JsonWebKey | string | KeyObject | webcrypto.CryptoKey;

/** A JWK with the fields by which a token finds its key. */
export interface Jwk extends JsonWebKey {
  kid?: string;
  alg?: string;
  use?: string;
}

/** Algorithms, by the kind of key that they need. `none` is no algorithm. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  oct: ['HS256', 'HS384', 'HS512'],
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  EC: ['ES256', 'ES384', 'ES512'],
  OKP: ['EdDSA', 'Ed25519'],
};

/** The kind of key that an algorithm needs. */
function kindOf(algorithm: unknown): string | undefined {
  return Object.keys(ALGORITHMS).find((kind) => ALGORITHMS[kind]?.includes(algorithm as string));
}

/**
 * Throws unless all algorithms are known and of the right sort: with a secret, those that sign with one,
 * and otherwise those that verify with a public key. A list with both is what key confusion needs.
 */
export function checkAlgorithms(path: string, algorithms: unknown, isSecret: boolean): void {
  if (!Array.isArray(algorithms) || algorithms.length === 0) {
    throw new TypeError(
      `${path} must be an array of algorithms, such as ["ES256"], received ${inspect(algorithms)}`,
    );
  }
  for (const [i, algorithm] of algorithms.entries()) {
    const kind = kindOf(algorithm);
    if (kind !== undefined && (kind === 'oct') === isSecret) continue;
    const kinds = isSecret ? ['oct'] : ['RSA', 'EC', 'OKP'];
    const list = kinds.flatMap((one) => ALGORITHMS[one] ?? []).join(', ');
    const whose = isSecret ? 'a secret' : 'public keys';
    throw new TypeError(
      `${path}[${i}] must be one for ${whose} (${list}), received ${inspect(algorithm)}`,
    );
  }
}

/**
 * The key object of a shared secret.
 *
 * @throws TypeError or RangeError when it is none, is a public key, or is shorter than RFC 7518, 3.2 asks.
 */
export function secretKey(path: string, secret: unknown, algorithms: readonly string[]): KeyObject {
  const key = secret instanceof KeyObject ? secret : keyOfBytes(path, secret);
  if (key.type !== 'secret') {
    throw new TypeError(`${path} must be a secret, received a ${key.type} key`);
  }
  const needed = Math.max(...algorithms.map((name) => Number(name.slice(2)) / 8));
  if ((key.symmetricKeySize ?? 0) < needed) {
    throw new RangeError(
      `${path} must have at least ${needed} bytes for ${algorithms.join(', ')}, received ${key.symmetricKeySize}`,
    );
  }
  return key;
}

function keyOfBytes(path: string, secret: unknown): KeyObject {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw new TypeError(
      `${path} must be a string, bytes or a key object, received ${typeof secret}`,
    );
  }
  const bytes = Buffer.from(secret as Uint8Array);
  // Everybody has a public key: whoever signs with its text would be believed.
  if (bytes.includes('-----BEGIN')) {
    throw new TypeError(`${path} is a key in PEM; give public keys as "keys"`);
  }
  return createSecretKey(bytes);
}

/**
 * Public keys as a JWK set that fits the algorithms.
 *
 * @throws TypeError when one is not a public key, or none is of use.
 */
export function publicKeySet(
  path: string,
  keys: unknown,
  algorithms: readonly string[],
): { keys: Jwk[] } {
  const list = (Array.isArray(keys) ? keys : (keys as { keys?: unknown } | null)?.keys) as unknown;
  if (!Array.isArray(list) || list.length === 0) {
    throw new TypeError(`${path} must be an array of public keys, received ${inspect(keys)}`);
  }
  const jwks = list.map((key, i) => publicJwk(`${path}[${i}]`, key));
  const kinds = new Set(algorithms.map(kindOf));
  if (!jwks.some(({ kty }) => kinds.has(kty))) {
    throw new TypeError(`${path} must have a key for ${algorithms.join(', ')}, received none`);
  }
  return { keys: jwks };
}

function publicJwk(path: string, key: unknown): Jwk {
  const isText = typeof key === 'string';
  if (isText ? key.includes('PRIVATE KEY') : isPrivate(key)) {
    throw new TypeError(`${path} is a private key or a secret; give the public key`);
  }
  try {
    if (isText) return createPublicKey(key).export({ format: 'jwk' });
    if (key instanceof KeyObject) return key.export({ format: 'jwk' });
    if (Object.prototype.toString.call(key) === '[object CryptoKey]') {
      return KeyObject.from(key as webcrypto.CryptoKey).export({ format: 'jwk' });
    }
    const { kid, alg, use } = key as Jwk;
    const jwk: Jwk = createPublicKey({ key: key as Jwk, format: 'jwk' }).export({ format: 'jwk' });
    for (const [name, value] of Object.entries({ kid, alg, use })) {
      if (typeof value === 'string') jwk[name] = value;
    }
    return jwk;
  } catch (cause) {
    throw new TypeError(`${path} must be a public key as a JWK, PEM or key object`, { cause });
  }
}

/** Whether a key object or JWK is more than public. */
function isPrivate(key: unknown): boolean {
  if (typeof key !== 'object' || key === null) return false;
  const { type, d, kty } = key as { type?: unknown; d?: unknown; kty?: unknown };
  return type === 'private' || type === 'secret' || d !== undefined || kty === 'oct';
}

const MAX_KEYS = 100;
/** RSA keys of 2,048 bits, as RFC 7518, 3.3 asks for: `jose` throws at shorter ones. */
const MIN_MODULUS_LENGTH = 342;
/** Enough for RSA keys of 8,192 bits: verifying with longer ones takes too long for anybody's request. */
const MAX_MODULUS_LENGTH = 1_400;

/**
 * What is of use in a JWK set that came over the network: public keys of sensible size.
 *
 * @throws Error when it is no JWK set, or has nothing of use.
 */
export function usableKeys(document: unknown): { keys: Jwk[] } {
  const list = (document as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(list)) throw new Error('answered with something that is no JWK set');
  if (list.length > MAX_KEYS) throw new Error(`answered with ${list.length} keys`);
  const keys = list.filter(isUsable);
  if (keys.length === 0) throw new Error('answered with no usable key');
  return { keys };
}

function isUsable(key: unknown): key is Jwk {
  if (typeof key !== 'object' || key === null) return false;
  const { kty, d, n } = key as Jwk;
  if (d !== undefined || (typeof n === 'string' && n.length > MAX_MODULUS_LENGTH)) return false;
  if (kty === 'RSA' && (typeof n !== 'string' || n.length < MIN_MODULUS_LENGTH)) return false;
  return kty === 'RSA' || kty === 'EC' || kty === 'OKP';
}

import { hash, randomBytes } from 'node:crypto';
import type { Exchange } from '../exchange/exchange.js';
import { isForProxy } from '../exchange/for-proxy.js';
import type { Identity } from '../exchange/identity.js';
import { queryValue, withoutQuery } from '../exchange/query.js';
import { fieldNames, flag, inspect, isPlain, known } from '../options.js';
import { isPromise } from '../promises.js';
import { checkRealm, fieldOf } from './credentials.js';
import { frozen } from './known-good.js';
import type { Verdict, Verifier } from './verifier.js';

/** Whose key it is: a name, or a name and what else is to be known. */
export type ApiKeyOwner =
  | string
  | { readonly subject: string; readonly claims?: Readonly<Record<string, unknown>> | undefined };

/** Finds the owner of a key by its SHA-256, in lower-case hex; nothing when there is none. */
export type ApiKeyLookup = (
  hash: string,
) => ApiKeyOwner | null | undefined | Promise<ApiKeyOwner | null | undefined>;

/** Options for {@link apiKey}. */
export interface ApiKeyOptions {
  /** Owners by the SHA-256 of their key in hex, or a function that finds them. Required. */
  readonly lookup: ApiKeyLookup | Readonly<Record<string, ApiKeyOwner>>;
  /**
   * The field that the key is sent in.
   *
   * @default 'x-api-key'
   */
  readonly header?: string | undefined;
  /** The query parameter that the key is sent in, in place of a field. */
  readonly query?: string | undefined;
  /**
   * Whether the key goes on to the upstream.
   *
   * @default false
   */
  readonly forward?: boolean | undefined;
  /**
   * @default 'gateway'
   */
  readonly realm?: string | undefined;
}

/**
 * Knows clients by a key that they were given. Only hashes of keys are kept and compared, so keys must be
 * random and long, as those are that nobody has to type: `randomBytes(32).toString('base64url')`.
 *
 * @example
 * const keys = { 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855': 'billing' };
 * app.use(authenticate(apiKey({ lookup: keys })), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError when an option is not what it should be.
 */
export function apiKey(options: ApiKeyOptions): Verifier {
  const {
    lookup,
    header,
    query,
    forward = false,
    realm = 'gateway',
  } = known('apiKey', options, ['lookup', 'header', 'query', 'forward', 'realm']);
  if (header !== undefined && query !== undefined) {
    throw new TypeError('apiKey: takes header or query; for both, use two verifiers');
  }
  if (query !== undefined && (typeof query !== 'string' || query === '')) {
    throw new TypeError(`apiKey: query must be a name, received ${inspect(query)}`);
  }
  const [field = ''] = fieldNames('apiKey: header', [header === undefined ? 'x-api-key' : header]);
  flag('apiKey: forward', forward);
  checkRealm('apiKey: realm', realm);
  const find = typeof lookup === 'function' ? lookup : listLookup(lookup);
  return query === undefined
    ? new ApiKeyVerifier(find, realm, new HeaderPlace(field, forward))
    : new ApiKeyVerifier(find, realm, new QueryPlace(query, forward));
}

/** Where keys are sent. */
interface Place {
  /** The word for it in a challenge. */
  readonly hint: string;
  /** The key; `null` when there is none that could be one. */
  read(exchange: Exchange): string | null | undefined;
  /** Takes it out of what is sent on, unless it is to be there. */
  clear(exchange: Exchange): void;
}

class HeaderPlace implements Place {
  readonly hint: string;
  readonly #name: string;
  readonly #forward: boolean;

  constructor(name: string, forward: boolean) {
    this.hint = `header="${name}"`;
    this.#name = name;
    this.#forward = forward;
  }

  read(exchange: Exchange): string | undefined {
    return fieldOf(exchange, this.#name);
  }

  clear(exchange: Exchange): void {
    if (!this.#forward) exchange.headers.delete(this.#name);
  }
}

class QueryPlace implements Place {
  readonly hint = 'query';
  readonly #name: string;
  readonly #forward: boolean;

  constructor(name: string, forward: boolean) {
    this.#name = name;
    this.#forward = forward;
  }

  read(exchange: Exchange): string | null | undefined {
    // What stands in the query of another server's URL was meant for that server.
    return isForProxy(exchange.req) ? undefined : queryValue(exchange.path, this.#name);
  }

  clear(exchange: Exchange): void {
    if (this.#forward) return;
    // Where nobody has said otherwise, the path stays what routers make of it.
    exchange.withheld = [...(exchange.withheld ?? []), this.#name];
    if (queryValue(exchange.path, this.#name) !== undefined) {
      exchange.path = withoutQuery(exchange.path, this.#name);
    }
  }
}

const MAX_LENGTH = 1_024;
const UNKNOWN = { refused: 'unknown key' };

class ApiKeyVerifier implements Verifier {
  readonly scheme = 'api-key';
  readonly #find: ApiKeyLookup;
  readonly #realm: string;
  readonly #place: Place;

  constructor(find: ApiKeyLookup, realm: string, place: Place) {
    this.#find = find;
    this.#realm = realm;
    this.#place = place;
  }

  challenge(): string {
    return `ApiKey realm="${this.#realm}"`;
  }

  verify(exchange: Exchange): Verdict | Promise<Verdict> {
    const key = this.#place.read(exchange);
    if (key === undefined) return undefined;
    if (key === null || key === '' || key.length > MAX_LENGTH) return { refused: 'malformed' };
    const owner = this.#find(hash('sha256', key, 'hex'));
    if (isPromise(owner)) return owner.then((found) => this.#verdict(exchange, found));
    return this.#verdict(exchange, owner);
  }

  #verdict(exchange: Exchange, owner: ApiKeyOwner | null | undefined): Verdict {
    if (!owner) return UNKNOWN;
    const identity = identityOf('apiKey: lookup()', owner);
    this.#place.clear(exchange);
    return identity;
  }
}

function identityOf(path: string, owner: ApiKeyOwner): Identity {
  const { subject, claims = {} } = typeof owner === 'string' ? { subject: owner } : owner;
  const hasClaims = typeof claims === 'object' && claims !== null && !Array.isArray(claims);
  if (typeof subject !== 'string' || subject === '' || !hasClaims) {
    throw new TypeError(
      `${path} must give a name or { subject, claims }, received ${inspect(owner)}`,
    );
  }
  return { subject, claims, scheme: 'api-key' };
}

/**
 * Finds owners in a list, by hashes of the hashes that nobody outside this process can make: how long it
 * takes tells nothing of what is in the list.
 */
function listLookup(list: unknown): ApiKeyLookup {
  if (!isPlain(list)) {
    throw new TypeError(
      `apiKey: lookup must be an object or a function, received ${inspect(list)}`,
    );
  }
  const salt = randomBytes(32).toString('base64');
  const blind = (digest: string) => hash('sha256', salt + digest, 'base64');
  const owners = new Map<string, ApiKeyOwner>();
  for (const [digest, owner] of Object.entries(list)) {
    if (!/^[0-9a-f]{64}$/i.test(digest)) {
      // It may be a key in clear, which must not come into a log.
      throw new TypeError(
        'apiKey: lookup must have keys by their SHA-256 in hex, received another',
      );
    }
    identityOf('apiKey: lookup', owner as ApiKeyOwner);
    owners.set(blind(digest.toLowerCase()), frozen(structuredClone(owner as ApiKeyOwner)));
  }
  return (digest) => owners.get(blind(digest));
}

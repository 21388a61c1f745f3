import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf, type ResponseEdit } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { flag, inspect, known, oneOf, wholeNumber } from '../options.js';
import type { Upstream } from './upstream.js';

/** How a client is kept with one upstream. */
export interface StickyOptions {
  /** Signs the cookie: at least 16 characters, the same for all gateways that share clients. Required. */
  readonly secret: string;
  /**
   * @default 'headrace_upstream'
   */
  readonly name?: string | undefined;
  /**
   * How long a client is kept, in milliseconds; without it, until the browser is closed.
   */
  readonly ttlMs?: number | undefined;
  /**
   * @default '/'
   */
  readonly path?: string | undefined;
  /** Which hosts the cookie goes back to; without it, the one that the client asked. */
  readonly domain?: string | undefined;
  /**
   * @default true where the client came by TLS
   */
  readonly secure?: boolean | undefined;
  /**
   * @default true
   */
  readonly httpOnly?: boolean | undefined;
  /**
   * @default 'lax'
   */
  readonly sameSite?: 'strict' | 'lax' | 'none' | undefined;
}

/** Where the upstreams are listed: a pool. */
interface Listing {
  readonly upstreams: readonly Upstream[];
}

const COOKIE_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
/** Browsers take another path for none. */
const PATH = /^\/[\x21-\x3a\x3c-\x7e]*$/;
const ATTRIBUTE = /^[\x21-\x3a\x3c-\x7e]+$/;
const ID_LENGTH = 22;

/**
 * Writes and reads the cookie that names an upstream. It holds a keyed hash in place of the address,
 * the time of issue, and a signature over both: nothing can be read from it, and nothing made up.
 */
export class Sticky {
  readonly #secret: string;
  readonly #name: string;
  readonly #ttlMs: number | undefined;
  readonly #attributes: string;
  readonly #secure: boolean | undefined;
  readonly #listing: Listing;
  #listed: readonly Upstream[] | undefined = undefined;
  #byId = new Map<string, Upstream>();

  constructor(factory: string, options: StickyOptions, listing: Listing) {
    const {
      secret,
      name = 'headrace_upstream',
      ttlMs,
      path = '/',
      domain,
      secure,
      httpOnly = true,
      sameSite = 'lax',
    } = known(factory, options, [
      'secret',
      'name',
      'ttlMs',
      'path',
      'domain',
      'secure',
      'httpOnly',
      'sameSite',
    ]);
    if (typeof secret !== 'string' || secret.length < 16) {
      throw new TypeError(`${factory}.secret must be a string of at least 16 characters`);
    }
    matches(`${factory}.name`, name, COOKIE_NAME);
    matches(`${factory}.path`, path, PATH);
    if (domain !== undefined) matches(`${factory}.domain`, domain, ATTRIBUTE);
    if (ttlMs !== undefined) wholeNumber(`${factory}.ttlMs`, ttlMs, 1_000);
    if (secure !== undefined) flag(`${factory}.secure`, secure);
    flag(`${factory}.httpOnly`, httpOnly);
    oneOf(`${factory}.sameSite`, sameSite, ['strict', 'lax', 'none']);
    if (sameSite === 'none' && secure === false) {
      throw new TypeError(`${factory}.sameSite 'none' needs Secure, which secure: false rules out`);
    }
    this.#secret = secret;
    this.#name = name;
    this.#ttlMs = ttlMs;
    this.#secure = sameSite === 'none' ? true : secure;
    this.#listing = listing;
    this.#attributes = [
      `Path=${path}`,
      ...(domain === undefined ? [] : [`Domain=${domain}`]),
      ...(ttlMs === undefined ? [] : [`Max-Age=${Math.floor(ttlMs / 1_000)}`]),
      ...(httpOnly ? ['HttpOnly'] : []),
      `SameSite=${sameSite[0]?.toUpperCase()}${sameSite.slice(1)}`,
    ].join('; ');
  }

  /** The upstream a client's cookies name, when it can be chosen and the cookie is genuine and fresh. */
  upstreamOf(cookies: string | undefined): Upstream | undefined {
    const value = cookies === undefined ? undefined : cookieValue(cookies, this.#name);
    if (value === undefined) return undefined;
    const [id = '', issued = '', signature = ''] = value.split('.');
    if (!this.#isGenuine(`${id}.${issued}`, signature)) return undefined;
    const age = Date.now() - Number.parseInt(issued, 36) * 1_000;
    if (this.#ttlMs !== undefined && !(age < this.#ttlMs)) return undefined;
    const upstream = this.#ids().get(id);
    return upstream?.usable ? upstream : undefined;
  }

  /** Issues a cookie when the response comes from another upstream than the client's cookie names. */
  readonly edit: ResponseEdit = (
    response: UpstreamResponse,
    req: IncomingMessage,
    res: ServerResponse,
  ): void => {
    const { upstream } = exchangeOf(req, res);
    if (upstream === undefined || this.upstreamOf(req.headers.cookie) === upstream) return;
    // A fallback has sent it to one that is not of this pool, and nobody could be brought back there.
    if (this.#ids().get(this.#idOf(upstream)) !== upstream) return;
    response.headers.append('Set-Cookie', this.#cookieFor(upstream, 'encrypted' in req.socket));
  };

  #cookieFor(upstream: Upstream, encrypted: boolean): string {
    const payload = `${this.#idOf(upstream)}.${Math.floor(Date.now() / 1_000).toString(36)}`;
    const secure = (this.#secure ?? encrypted) ? '; Secure' : '';
    return `${this.#name}=${payload}.${this.#sign(payload)}; ${this.#attributes}${secure}`;
  }

  #isGenuine(payload: string, signature: string): boolean {
    const own = Buffer.from(this.#sign(payload));
    const given = Buffer.from(signature);
    return own.length === given.length && timingSafeEqual(own, given);
  }

  #sign(payload: string): string {
    return this.#hash(`cookie:${this.#name}:${payload}`);
  }

  #idOf(upstream: Upstream): string {
    return this.#hash(`upstream:${upstream.url}`);
  }

  #hash(text: string): string {
    const hash = createHmac('sha256', this.#secret).update(text).digest('base64url');
    return hash.slice(0, ID_LENGTH);
  }

  #ids(): Map<string, Upstream> {
    const { upstreams } = this.#listing;
    if (upstreams !== this.#listed) {
      this.#listed = upstreams;
      this.#byId = new Map(upstreams.map((upstream) => [this.#idOf(upstream), upstream]));
    }
    return this.#byId;
  }
}

function matches(at: string, value: unknown, pattern: RegExp): void {
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw new TypeError(`${at} cannot stand in a cookie, received ${inspect(value)}`);
  }
}

function cookieValue(cookies: string, name: string): string | undefined {
  for (const pair of cookies.split(';')) {
    const at = pair.indexOf('=');
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

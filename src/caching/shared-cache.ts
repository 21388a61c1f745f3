import type { Exchange, Send } from '../exchange/exchange.js';
import { HeaderList } from '../exchange/header-list.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import { type Asked, askedOf, isRead, restore, whereTo } from './asked.js';
import { timeIn } from './directives.js';
import { type Flight, Flights } from './flights.js';
import { type Defaults, freshnessOf } from './freshness.js';
import type { ResponseStore } from './response-store.js';
import { StoredResponse } from './stored-response.js';
import { variantOf } from './variants.js';

/** What a shared cache goes by. */
export interface SharedCacheSettings {
  readonly store: ResponseStore;
  readonly maxBodyBytes: number;
  readonly defaults: Defaults;
  readonly waitMs: number;
  readonly now: () => number;
  readonly keyOf: (exchange: Exchange) => string;
  /** Says on an answer what the cache had to do with it (RFC 9211). */
  readonly tell: (response: UpstreamResponse, what: string) => void;
}

/** How often a cache had an answer, and how often not. */
export interface CacheCounts {
  hits: number;
  misses: number;
  /** Answers that an upstream has confirmed with 304. */
  revalidated: number;
  /** Answers in the place of an error. */
  stale: number;
}

/** Methods that change nothing (RFC 9110, 9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY', 'REPORT']);
/** An upstream that fails in one of these ways may have its old answer stand in. */
const FAILED = new Set([500, 502, 503, 504]);

/** A cache between clients and upstreams that all clients share (RFC 9111). */
export class SharedCache {
  readonly counts: CacheCounts = { hits: 0, misses: 0, revalidated: 0, stale: 0 };
  readonly #settings: SharedCacheSettings;
  readonly #flights: Flights;
  /** Bytes that copies under way may take: a body waits in memory for a slow client. */
  #copying = 0;

  constructor(settings: SharedCacheSettings) {
    this.#settings = settings;
    this.#flights = new Flights(settings.waitMs, settings.now);
  }

  /** Answers from what is kept, or sends the request and keeps what comes. */
  async send(exchange: Exchange, send: Send): Promise<UpstreamResponse> {
    if (!isRead(exchange)) return this.#sendOther(exchange, send);
    const asked = askedOf(exchange, this.#settings.keyOf(exchange));
    if (asked === undefined) return this.#pass(send, 'bypass');
    return this.#hit(asked) ?? (await this.#afterOthers(asked)) ?? this.#fetch(asked, send);
  }

  /** An answer in the place of an error, where one is kept that may be. */
  instead(exchange: Exchange): UpstreamResponse | undefined {
    if (!isRead(exchange)) return undefined;
    const asked = askedOf(exchange, this.#settings.keyOf(exchange));
    return asked && this.#standIn(this.#find(asked), asked);
  }

  /** Drops what matches, and keeps nothing of what is under way; says how many there were. */
  purge(matches: (response: StoredResponse) => boolean): number {
    this.#flights.outdate();
    return this.#settings.store.purge(matches);
  }

  /** Sends a request that the cache has nothing to do with. */
  async #pass(send: Send, why: string): Promise<UpstreamResponse> {
    const response = await send();
    this.#settings.tell(response, `fwd=${why}`);
    return response;
  }

  /** What changes something has its answers forgotten (RFC 9111, 4.4). */
  async #sendOther(exchange: Exchange, send: Send): Promise<UpstreamResponse> {
    const key = this.#settings.keyOf(exchange);
    const response = await this.#pass(send, 'method');
    if (!SAFE.has(exchange.method) && response.status < 400) {
      this.#settings.store.delete(key);
      this.#flights.outdate(key);
    }
    return response;
  }

  /** What is kept of it, fresh or not. */
  #find({ exchange, key, isPersonal }: Asked): StoredResponse | undefined {
    const stored = this.#settings.store.find(key, exchange.headers);
    return isPersonal && stored?.isForAll === false ? undefined : stored;
  }

  /** An answer that is there, and fresh enough. */
  #hit(asked: Asked): UpstreamResponse | undefined {
    const { exchange, directives, conditions } = asked;
    const { now, tell } = this.#settings;
    const stored = this.#find(asked);
    if (stored === undefined) return undefined;
    const at = now();
    const maxAge = directives.has('no-cache') ? 0 : timeIn(directives, 'max-age');
    const left = stored.ttlAt(at);
    if (left <= (timeIn(directives, 'min-fresh') ?? 0)) return undefined;
    if (maxAge !== undefined && stored.ageAt(at) >= maxAge) return undefined;
    this.counts.hits += 1;
    const answer = stored.answer(at, exchange.method, conditions);
    tell(answer, `hit; ttl=${Math.floor(left / 1_000)}`);
    return answer;
  }

  /** What somebody else brings who has asked for the same before, and an end for who wants nothing else. */
  async #afterOthers(asked: Asked): Promise<UpstreamResponse | undefined> {
    const { directives, key, isPersonal, exchange } = asked;
    if (directives.has('only-if-cached')) return new UpstreamResponse({ status: 504 });
    if (isPersonal || exchange.method !== 'GET') return undefined;
    const landed = this.#flights.wait(key);
    if (landed === undefined) return undefined;
    await landed;
    return this.#hit(asked);
  }

  async #fetch(asked: Asked, send: Send): Promise<UpstreamResponse> {
    const { exchange, key, isPersonal } = asked;
    const { now, tell } = this.#settings;
    const isGet = exchange.method === 'GET';
    const flight = this.#flights.begin(key, isGet && !isPersonal);
    const stored = this.#find(asked);
    const isConditional = stored?.makeConditional(exchange.headers) ?? false;
    const requestedAt = now();
    let response: UpstreamResponse;
    try {
      response = await send();
    } catch (error) {
      flight.land();
      throw error;
    } finally {
      if (isConditional) restore(exchange.headers, asked.conditions);
    }
    const { status } = response;
    const instead = FAILED.has(status) ? this.#standIn(stored, asked, status) : undefined;
    if (instead !== undefined) {
      flight.land();
      response.discard();
      return instead;
    }
    if (stored !== undefined && isConditional && status === 304) {
      return this.#confirm(stored, response, asked, flight, requestedAt);
    }
    this.counts.misses += 1;
    const isKept = isGet && this.#keep(response, asked, flight, requestedAt);
    if (!isKept) flight.land();
    // What a client has already, an error, and a lack of room say nothing of what others would get.
    const says = isGet && status !== 304 && status < 500 && isKept !== undefined;
    if (says) this.#flights.note(key, isKept);
    const why = stored === undefined ? 'uri-miss' : 'stale';
    tell(response, `fwd=${why}; fwd-status=${status}${isKept ? '; stored' : ''}`);
    return response;
  }

  /** Has a response kept once it is whole; false when it must not be, and nothing when there is no room now. */
  #keep(
    response: UpstreamResponse,
    asked: Asked,
    flight: Flight,
    requestedAt: number,
  ): boolean | undefined {
    const { exchange, key, isPersonal } = asked;
    const { store, maxBodyBytes, now } = this.#settings;
    const { status, statusText } = response;
    // What somebody else has put there, or changed, is theirs to keep.
    if (response.attempt === undefined || response.content.at !== 'wire') return false;
    if (response.hasBody && !response.isDelimited) return false;
    if (response.headers.has('trailer')) return false;
    const receivedAt = now();
    const freshness = freshnessOf(status, response.headers, receivedAt, this.#defaults(exchange));
    if (freshness === undefined || (isPersonal && !freshness.isForAll)) return false;
    const variant = variantOf(response.headers, exchange.headers);
    if (variant === undefined) return false;
    const length = Number(response.headers.get('content-length') ?? maxBodyBytes);
    if (length > maxBodyBytes) return false;
    if (this.#copying + length > store.maxBytes) return undefined;
    const { upstream, attempt } = response;
    const sent = { upstream, sentHost: attempt.host };
    const origin = { ...whereTo(exchange), ...sent, variant, requestedAt, receivedAt };
    // As it is now: edits are for each client anew.
    const head = { status, statusText, headers: new HeaderList([...response.headers.flat()]) };
    this.#copying += length;
    exchange.onOutcome(() => {
      this.#copying -= length;
      // Nobody waits for what nobody has read to its end.
      flight.land();
    });
    response.copyBody(maxBodyBytes, (body) => {
      if (body !== undefined && !flight.isOutdated) {
        store.keep(key, new StoredResponse(head, body, origin, freshness));
      }
      flight.land();
    });
    return true;
  }

  /** What is kept is still the answer. */
  #confirm(
    stored: StoredResponse,
    response: UpstreamResponse,
    { exchange, key, conditions }: Asked,
    flight: Flight,
    requestedAt: number,
  ): UpstreamResponse {
    const { store, now, tell } = this.#settings;
    const receivedAt = now();
    const origin = { ...stored.origin, requestedAt, receivedAt };
    const renewed = stored.confirmed(response.headers, origin, this.#defaults(exchange));
    if (renewed === undefined) store.delete(key);
    else if (!flight.isOutdated) store.keep(key, renewed);
    flight.land();
    this.counts.revalidated += 1;
    const answer = (renewed ?? stored).answer(receivedAt, exchange.method, conditions);
    for (const cookie of response.headers.getAll('set-cookie')) {
      answer.headers.append('Set-Cookie', cookie);
    }
    response.discard();
    tell(answer, 'fwd=stale; fwd-status=304');
    return answer;
  }

  /** An old answer in the place of an error, where that may be. */
  #standIn(
    stored: StoredResponse | undefined,
    { exchange, conditions }: Asked,
    status?: number,
  ): UpstreamResponse | undefined {
    const { now, tell } = this.#settings;
    const at = now();
    if (!stored?.mayStandInAt(at)) return undefined;
    this.counts.stale += 1;
    const answer = stored.answer(at, exchange.method, conditions);
    const failed = status === undefined ? '' : `; fwd-status=${status}`;
    tell(answer, `fwd=stale${failed}; detail=stale-if-error`);
    return answer;
  }

  /** An answer to somebody with a session may be theirs alone, unless it says otherwise. */
  #defaults({ headers }: Exchange): Defaults {
    const { defaults } = this.#settings;
    return headers.has('cookie') ? { ...defaults, ttlMs: 0 } : defaults;
  }
}

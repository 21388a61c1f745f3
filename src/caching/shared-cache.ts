import { BadResponseError } from '../exchange/errors.js';
import type { Exchange, Send } from '../exchange/exchange.js';
import { comeBack, stepBack } from '../exchange/step-back.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import { type Asked, askedOf, isRead, maxAgeOf, placeOf, restore } from './asked.js';
import { timeIn } from './directives.js';
import { Flights, type Landing } from './flights.js';
import { Keeper, type KeeperSettings, type Sent } from './keeper.js';
import type { StoredResponse } from './stored-response.js';

/** What a shared cache goes by. */
export interface SharedCacheSettings extends KeeperSettings {
  readonly waitMs: number;
  /** What tells answers apart beside the URL, its host and what they vary by. */
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

/** What is not there is so for all; other errors of 400 and more may be of the client's making. */
const GONE = new Set([404, 410, 451]);

/** How often one waits. Each landing wakes all who wait, and those who lead may leave one after the other. */
const MAX_LANDINGS = 4;

/** A cache between clients and upstreams that all clients share (RFC 9111). */
export class SharedCache {
  readonly counts: CacheCounts = { hits: 0, misses: 0, revalidated: 0, stale: 0 };
  readonly #settings: SharedCacheSettings;
  readonly #flights: Flights;
  readonly #keeper: Keeper;

  constructor(settings: SharedCacheSettings) {
    this.#settings = settings;
    this.#flights = new Flights(settings.now);
    this.#keeper = new Keeper(settings);
  }

  /** Answers from what is kept, or sends the request and keeps what comes. */
  async send(exchange: Exchange, send: Send): Promise<UpstreamResponse> {
    if (!isRead(exchange)) return this.#sendOther(exchange, send);
    const asked = askedOf(exchange, this.#settings.keyOf(exchange));
    const { isPlain, isPersonal, directives } = asked;
    const mayWait = !isPersonal && exchange.method === 'GET' && maxAgeOf(asked) > 0;
    const until = performance.now() + this.#settings.waitMs;
    let landing: Landing = 'one goes';
    let landings = 0;
    // Whoever goes sets out before the next one looks: nothing is awaited between.
    for (;;) {
      const hit = isPlain ? this.#hit(asked) : undefined;
      if (hit !== undefined) return hit;
      if (directives.has('only-if-cached')) return new UpstreamResponse({ status: 504 });
      if (!isPlain) return this.#pass(send, 'bypass');
      const key = this.#keyOf(asked);
      const isPatient: boolean = mayWait && landing === 'one goes' && landings++ < MAX_LANDINGS;
      const landed: Promise<Landing> | undefined = isPatient
        ? this.#flights.wait(key, until)
        : undefined;
      if (landed === undefined) return this.#fetch(asked, key, send);
      stepBack(exchange);
      landing = await landed;
      comeBack(exchange);
    }
  }

  /** An answer in the place of an error, where one is kept that may be. */
  instead(exchange: Exchange): UpstreamResponse | undefined {
    if (!isRead(exchange)) return undefined;
    const asked = askedOf(exchange, this.#settings.keyOf(exchange));
    if (!asked.isPlain) return undefined;
    return this.#hit(asked) ?? this.#standIn(this.#find(asked), asked);
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
    const place = placeOf(exchange);
    const response = await this.#pass(send, 'method');
    if (!SAFE.has(exchange.method) && response.status < 400) {
      this.#settings.store.delete(place);
      this.#flights.outdate(place);
    }
    return response;
  }

  /** What is kept of it, fresh or not. */
  #find({ exchange, place, key, isPersonal, hasCookie }: Asked): StoredResponse | undefined {
    const stored = this.#settings.store.find(place, key, exchange.headers);
    if (stored === undefined || (isPersonal && !stored.isForAll)) return undefined;
    return hasCookie && !stored.isSaid ? undefined : stored;
  }

  /** What tells apart those who could wait for each other, as far as is known what the answer varies by. */
  #keyOf({ exchange, place, key }: Asked): string {
    return this.#settings.store.findLike(place, key)?.keyOf(exchange.headers) ?? key;
  }

  /** An answer that is there, and fresh enough. */
  #hit(asked: Asked): UpstreamResponse | undefined {
    const { exchange, directives, conditions } = asked;
    const { now, tell } = this.#settings;
    const stored = this.#find(asked);
    if (stored === undefined) return undefined;
    const at = now();
    const left = stored.ttlAt(at);
    if (left <= (timeIn(directives, 'min-fresh') ?? 0)) return undefined;
    if (stored.ageAt(at) >= maxAgeOf(asked)) return undefined;
    this.counts.hits += 1;
    const answer = stored.answer(at, exchange.method, conditions);
    tell(answer, `hit; ttl=${Math.floor(left / 1_000)}`);
    return answer;
  }

  async #fetch(asked: Asked, key: string, send: Send): Promise<UpstreamResponse> {
    const { exchange, place, isPersonal } = asked;
    const { now, tell } = this.#settings;
    const isGet = exchange.method === 'GET';
    const flight = this.#flights.begin(place, isGet && !isPersonal ? key : undefined);
    const stored = this.#find(asked);
    const why = this.#whyAsked(asked, stored);
    const isConditional = stored?.makeConditional(exchange.headers) ?? false;
    const requestedAt = now();
    let response: UpstreamResponse;
    try {
      response = await send();
    } catch (error) {
      // Of what somebody has not waited for, others know nothing.
      flight.land(exchange.open ? 'all go' : 'one goes');
      throw error;
    } finally {
      if (isConditional) restore(exchange.headers, asked.conditions);
    }
    const { status } = response;
    if (FAILED.has(status)) {
      flight.land();
      const instead = this.#standIn(stored, asked, response);
      if (instead !== undefined) return instead;
    }
    const settle = (isKept: boolean): void => this.#settle(asked, key, stored, status, isKept);
    const sent: Sent = { asked, flight, requestedAt, settle };
    if (stored !== undefined && isConditional && status === 304) {
      return this.#confirm(stored, response, sent, why);
    }
    this.counts.misses += 1;
    const isKept = isGet && this.#keeper.keep(response, sent);
    if (!isKept) flight.land();
    // What a client has already, an error, and a lack of room say nothing of what others would get.
    if (isGet && isKept === false && status !== 304 && status < 500) settle(false);
    tell(response, `fwd=${why}; fwd-status=${status}${isKept ? '; stored' : ''}`);
    return response;
  }

  /** Has what was kept before make way for what is not kept, and remembers not to wait for that. */
  #settle(
    { place, isPersonal }: Asked,
    key: string,
    stored: StoredResponse | undefined,
    status: number,
    isKept: boolean,
  ): void {
    if (isPersonal) return;
    // What one client has done wrong, others have not.
    const isFault = status >= 400 && !GONE.has(status);
    if (!isFault) this.#flights.note(key, isKept);
    if (isKept || stored === undefined) return;
    const { store, now } = this.#settings;
    if (!isFault || stored.ttlAt(now()) <= 0) store.remove(place, stored);
  }

  /** Why the upstream is asked, in the words of RFC 9211. */
  #whyAsked(
    { place, key, isPersonal, hasCookie }: Asked,
    stored: StoredResponse | undefined,
  ): string {
    const { store, now } = this.#settings;
    if (stored !== undefined) return stored.ttlAt(now()) > 0 ? 'request' : 'stale';
    if (store.findLike(place, key) === undefined) return 'uri-miss';
    return isPersonal || hasCookie ? 'miss' : 'vary-miss';
  }

  /** What is kept is still the answer. */
  #confirm(
    stored: StoredResponse,
    response: UpstreamResponse,
    { asked, flight, requestedAt }: Sent,
    why: string,
  ): UpstreamResponse {
    const { exchange, place, conditions } = asked;
    const { store, now, tell } = this.#settings;
    const receivedAt = now();
    const renewed = stored.confirmed(
      response.headers,
      exchange.headers,
      { requestedAt, receivedAt },
      this.#keeper.defaultsFor(asked),
    );
    if (store.has(place, stored)) {
      store.remove(place, stored);
      if (renewed !== undefined && !flight.isOutdated) store.keep(place, renewed);
    }
    flight.land(renewed === undefined ? 'all go' : 'one goes');
    this.counts.revalidated += 1;
    const answer = (renewed ?? stored).answer(receivedAt, exchange.method, conditions);
    for (const cookie of response.headers.getAll('set-cookie')) {
      answer.headers.append('Set-Cookie', cookie);
    }
    response.discard();
    tell(answer, `fwd=${why}; fwd-status=304`);
    return answer;
  }

  /** An old answer in the place of an error, or of a response that is one, where that may be. */
  #standIn(
    stored: StoredResponse | undefined,
    { exchange, conditions }: Asked,
    failed?: UpstreamResponse,
  ): UpstreamResponse | undefined {
    const { now, tell } = this.#settings;
    const at = now();
    if (!stored?.mayStandInAt(at)) return undefined;
    this.counts.stale += 1;
    const answer = stored.answer(at, exchange.method, conditions);
    const status = failed === undefined ? '' : `; fwd-status=${failed.status}`;
    tell(answer, `fwd=stale${status}; detail=stale-if-error`);
    if (failed !== undefined) {
      const { upstream } = failed;
      const cause = new Error(`The upstream has answered ${failed.status}`);
      exchange.degrade(new BadResponseError({ cause, upstream }), undefined);
      failed.discard();
    }
    return answer;
  }
}

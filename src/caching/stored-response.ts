import { isDeepStrictEqual } from 'node:util';
import { HeaderList } from '../exchange/header-list.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import { httpDate } from '../exchange/http-date.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import type { Upstream } from '../upstreams/upstream.js';
import { areOthers, type Conditions, describesBody, isKnown } from './conditions.js';
import { digest } from './digest.js';
import { ageOf, type Defaults, type Freshness, freshnessOf } from './freshness.js';
import { fits, type Variant, variantOf } from './variants.js';

/** What an entry takes beside its body and its lines: objects, and their places in maps. */
const OVERHEAD_BYTES = 512;

/** What a response is the answer to, and when that was asked and answered. */
export interface Origin {
  readonly host: string;
  readonly url: string;
  /** What else was asked with it, and of whom. */
  readonly key: string;
  readonly variant: Variant;
  readonly upstream: Upstream | undefined;
  /** The `Host` that it was sent. */
  readonly sentHost: string | undefined;
  readonly requestedAt: number;
  readonly receivedAt: number;
}

/** The head of a response, as it came. */
export type Head = Pick<UpstreamResponse, 'status' | 'statusText' | 'headers'>;

/** A response that is kept. */
export class StoredResponse {
  readonly origin: Origin;
  readonly status: number;
  /** About how much memory it takes. */
  readonly bytes: number;
  readonly #statusText: string;
  readonly #body: Buffer;
  readonly #lines: readonly string[];
  readonly #freshness: Freshness;
  /** How old it was when it came. */
  readonly #ageThen: number;

  constructor(head: Head, body: Buffer, origin: Origin, freshness: Freshness) {
    this.origin = origin;
    this.status = head.status;
    this.#statusText = head.statusText;
    const headers = new HeaderList([...head.headers.flat()]);
    // RFC 9110, 6.6.1: by it, whoever is further down the way knows how old it is.
    if (httpDate(headers.get('date')) === undefined) headers.set('Date', utc(origin.receivedAt));
    this.#lines = headers.flat();
    this.#body = body;
    this.#freshness = freshness;
    this.#ageThen = ageOf(headers, origin.requestedAt, origin.receivedAt);
    const texts = [origin.host, origin.url, ...this.#lines, ...origin.variant.flat()];
    const length = texts.reduce((sum, text) => sum + (text?.length ?? 0), 0);
    this.bytes = body.length + length + OVERHEAD_BYTES;
  }

  /** Whether it says itself for how long it is fresh. */
  get isSaid(): boolean {
    return this.#freshness.isSaid;
  }

  /** Whether it may answer those who are somebody: who they are has no part in it. */
  get isForAll(): boolean {
    return this.#freshness.isForAll;
  }

  /** How old it is, in milliseconds. */
  ageAt(now: number): number {
    return this.#ageThen + Math.max(0, now - this.origin.receivedAt);
  }

  /** For how long it is still fresh; nothing, or less, once it is stale. */
  ttlAt(now: number): number {
    return this.#freshness.lifetimeMs - this.ageAt(now);
  }

  /** Whether it may stand in for an upstream that fails. */
  mayStandInAt(now: number): boolean {
    return this.ttlAt(now) + this.#freshness.staleIfErrorMs > 0;
  }

  /** Whether it answers a request of such fields. */
  fits(headers: HeaderOverlay): boolean {
    return fits(this.origin.variant, headers);
  }

  /** Whether it answers such requests as another one does. */
  isLike({ origin }: StoredResponse): boolean {
    const { key, variant } = this.origin;
    return key === origin.key && isDeepStrictEqual(variant, origin.variant);
  }

  /** What such a request is told apart by from others for the same that this one does not answer. */
  keyOf(headers: HeaderOverlay): string {
    const { key, variant } = this.origin;
    if (variant.length === 0) return key;
    return digest([key, ...variant.map(([name]) => headers.get(name))]);
  }

  /** Has the upstream asked whether it still stands; false when there is nothing to ask by. */
  makeConditional(headers: HeaderOverlay): boolean {
    const head = this.#head();
    const [tag, date] = [head.get('etag'), head.get('last-modified')];
    if (tag === undefined && date === undefined) return false;
    if (tag === undefined) headers.delete('if-none-match');
    else headers.set('if-none-match', tag);
    if (date === undefined) headers.delete('if-modified-since');
    else headers.set('if-modified-since', date);
    return true;
  }

  /**
   * What it is behind a 304 to such a request (RFC 9111, 3.2); `undefined` when that must not be kept any longer, or
   * is about another one.
   */
  confirmed(
    fields: HeaderList,
    headers: HeaderOverlay,
    times: Pick<Origin, 'requestedAt' | 'receivedAt'>,
    defaults: Defaults,
  ): StoredResponse | undefined {
    const head = this.#head();
    if (areOthers(head.get('etag'), fields.get('etag'))) return undefined;
    // How old it was before says nothing of now.
    head.delete('age');
    head.delete('date');
    const renewed = new Set<string>();
    for (const [name, value] of fields) {
      const lower = name.toLowerCase();
      if (describesBody(lower) || lower === 'set-cookie') continue;
      if (!renewed.has(lower)) head.delete(name);
      renewed.add(lower);
      head.append(name, value);
    }
    const freshness = freshnessOf(this.status, head, times.receivedAt, defaults);
    const variant = variantOf(head, headers);
    if (freshness === undefined || variant === undefined) return undefined;
    const same = { status: this.status, statusText: this.#statusText, headers: head };
    return new StoredResponse(same, this.#body, { ...this.origin, ...times, variant }, freshness);
  }

  /** The answer to a client, which may have it already. */
  answer(now: number, method: string, conditions: Conditions): UpstreamResponse {
    const head = this.#head();
    head.set('Age', Math.floor(this.ageAt(now) / 1_000));
    const isNews = this.status !== 200 || !isKnown(head, conditions);
    const { upstream, sentHost } = this.origin;
    const response = new UpstreamResponse({ status: isNews ? this.status : 304, upstream });
    response.sentHost = sentHost;
    if (!isNews) {
      for (const [name] of [...head]) if (describesBody(name.toLowerCase())) head.delete(name);
    } else {
      response.statusText = this.#statusText;
    }
    if (response.hasBody) {
      response.lendBody(this.#body);
      head.set('Content-Length', this.#body.length);
      response.hasBody = method !== 'HEAD';
    }
    response.headers = head;
    return response;
  }

  #head(): HeaderList {
    return new HeaderList([...this.#lines]);
  }
}

function utc(time: number): string {
  return new Date(time).toUTCString();
}

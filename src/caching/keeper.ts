import type { TakeRoom } from '../exchange/copied-body.js';
import type { Exchange } from '../exchange/exchange.js';
import { HeaderList } from '../exchange/header-list.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { type Asked, whereTo } from './asked.js';
import { CopyRoom } from './copy-room.js';
import type { Flight } from './flights.js';
import { type Defaults, type Freshness, freshnessOf } from './freshness.js';
import type { ResponseStore } from './response-store.js';
import { StoredResponse } from './stored-response.js';
import { type Variant, variantOf } from './variants.js';

/** What a keeper goes by. */
export interface KeeperSettings {
  readonly store: ResponseStore;
  readonly maxBodyBytes: number;
  readonly defaults: Defaults;
  readonly now: () => number;
}

/** A request that was sent, of which the response may be kept. */
export interface Sent {
  readonly asked: Asked;
  readonly flight: Flight;
  readonly requestedAt: number;
  /** Hears whether a response that could have been kept by its head was. */
  readonly settle: (isKept: boolean) => void;
}

/** How a response may be kept. */
interface Terms {
  readonly freshness: Freshness;
  readonly variant: Variant;
  /** How long its body is, where the head says so. */
  readonly length: number;
}

/** Says which responses are kept, and makes copies of them on their way to the client. */
export class Keeper {
  readonly #settings: KeeperSettings;
  readonly #room: CopyRoom;

  constructor(settings: KeeperSettings) {
    this.#settings = settings;
    this.#room = new CopyRoom(settings.store.maxBytes);
  }

  /** What counts for a request where the response says nothing: to a session, it may be for that alone. */
  defaultsFor({ hasCookie }: Asked): Defaults {
    const { defaults } = this.#settings;
    return hasCookie ? { ...defaults, ttlMs: 0 } : defaults;
  }

  /** Has a response kept once it is whole; false when it must not be, and nothing when there is no room now. */
  keep(response: UpstreamResponse, sent: Sent): boolean | undefined {
    const receivedAt = this.#settings.now();
    const terms = this.#termsFor(response, sent.asked, receivedAt);
    if (terms === undefined) return false;
    if (!this.#room.take(terms.length)) return undefined;
    this.#copy(response, terms, sent, receivedAt);
    return true;
  }

  #termsFor(response: UpstreamResponse, asked: Asked, receivedAt: number): Terms | undefined {
    const { headers, status } = response;
    // What somebody else has put there, or changed, is theirs to keep.
    if (response.attempt === undefined || response.content.at !== 'wire') return undefined;
    if (response.hasBody && !response.isDelimited) return undefined;
    if (headers.has('trailer')) return undefined;
    const length = response.hasBody ? Number(headers.get('content-length') ?? 0) : 0;
    if (length > this.#settings.maxBodyBytes) return undefined;
    const freshness = freshnessOf(status, headers, receivedAt, this.defaultsFor(asked));
    const variant = variantOf(headers, asked.exchange.headers);
    if (freshness === undefined || variant === undefined) return undefined;
    return asked.isPersonal && !freshness.isForAll ? undefined : { freshness, variant, length };
  }

  #copy(
    response: UpstreamResponse,
    { freshness, variant, length }: Terms,
    { asked, flight, requestedAt, settle }: Sent,
    receivedAt: number,
  ): void {
    const { exchange, place, key } = asked;
    const { status, statusText, upstream, attempt } = response;
    const times = { requestedAt, receivedAt };
    const origin = {
      ...{ ...whereTo(exchange), key, variant, ...times },
      ...{ upstream, sentHost: attempt?.host },
    };
    // As it is now: edits are for each client anew.
    const head = { status, statusText, headers: new HeaderList([...response.headers.flat()]) };
    const take = this.#limited(exchange, length, () => settle(false));
    // Nobody waits for what nobody has read to its end.
    exchange.onOutcome(({ outcome }) =>
      flight.land(outcome.type === 'client-closed' ? 'one goes' : 'all go'),
    );
    const keepIt = (body: Buffer): boolean => {
      if (response.trailers !== undefined || flight.isOutdated) return false;
      const { store } = this.#settings;
      return store.keep(place, new StoredResponse(head, body, origin, freshness));
    };
    response.copyBody(take, (body) => {
      const isKept = body !== undefined && keepIt(body);
      if (body !== undefined && !flight.isOutdated) settle(isKept);
      // Who has left has not found out what others would get.
      flight.land(isKept || !exchange.open ? 'one goes' : 'all go');
    });
  }

  /** Takes what room a copy needs beyond its `length`. All is given back with the copy, or when its client has it. */
  #limited(exchange: Exchange, length: number, tooLong: () => void): TakeRoom {
    let copied = 0;
    let taken = length;
    let isOver = false;
    const giveUp = (): false => {
      if (!isOver) this.#room.giveBack(taken);
      isOver = true;
      return false;
    };
    exchange.onOutcome(giveUp);
    return (bytes) => {
      if (isOver) return false;
      copied += bytes;
      if (copied > this.#settings.maxBodyBytes) {
        tooLong();
        return giveUp();
      }
      if (copied <= taken) return true;
      if (!this.#room.take(copied - taken)) return giveUp();
      taken = copied;
      return true;
    };
  }
}

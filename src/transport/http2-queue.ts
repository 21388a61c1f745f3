import type { Http2Request } from './http2-request.js';
import type { Http2Session } from './http2-session.js';

/** What waits for a session. Sets, and no lists: whoever is given up leaves from the middle. */
export class Http2Queue {
  /** Those that have waited before, and those that must not. */
  readonly #first = new Set<Http2Request>();
  /** The others, in the order in which they came. */
  readonly #rest = new Set<Http2Request>();

  get size(): number {
    return this.#first.size + this.#rest.size;
  }

  add(request: Http2Request): void {
    this.#rest.add(request);
  }

  /** Adds one before all the others. */
  addFirst(request: Http2Request): void {
    this.#first.add(request);
  }

  /** Takes one out; false when it is not in it. */
  delete(request: Http2Request): boolean {
    return this.#first.delete(request) || this.#rest.delete(request);
  }

  /** Has those that wait for a newer session take any; false when there are none. */
  takeAny(): boolean {
    let changed = false;
    for (const request of this.#first) {
      changed ||= request.newerThan > 0;
      request.newerThan = 0;
    }
    return changed;
  }

  /** Takes out all there are. */
  clear(): Http2Request[] {
    const all = [...this.#first, ...this.#rest];
    this.#first.clear();
    this.#rest.clear();
    return all;
  }

  /** Hands on what sessions have room for. */
  place(sessions: readonly Http2Session[]): void {
    // One that has to wait for a newer session must not have the others wait with it.
    for (const request of this.#first) {
      const session = withRoom(sessions, request.newerThan);
      if (session === undefined) continue;
      this.#first.delete(request);
      session.send(request);
    }
    for (const request of this.#rest) {
      const session = withRoom(sessions, 0);
      if (session === undefined) return;
      this.#rest.delete(request);
      session.send(request);
    }
  }
}

function withRoom(sessions: readonly Http2Session[], newerThan: number): Http2Session | undefined {
  return sessions.find((one) => one.number > newerThan && one.room > 0);
}

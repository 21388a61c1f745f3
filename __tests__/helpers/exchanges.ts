import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { type Exchange, exchangeOf } from 'headrace';

/** An exchange of its own, without a connection: for what chooses and counts, but sends nothing. */
export function anExchange(headers: Readonly<Record<string, string>> = {}): Exchange {
  const req = new IncomingMessage(new Socket());
  Object.assign(req.headers, headers);
  return exchangeOf(req, new ServerResponse(req));
}

/** Numbers from 0 to 1 that look random and are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A clock that stands still until it is moved. */
export interface TestClock {
  (): number;
  advance(ms: number): void;
}

export function testClock(): TestClock {
  let time = 1_000;
  const advance = (ms: number): void => {
    time += ms;
  };
  return Object.assign(() => time, { advance });
}

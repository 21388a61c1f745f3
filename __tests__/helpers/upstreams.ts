import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Exchange } from '../../src/exchange/exchange.js';
import type { Strategy } from '../../src/upstreams/strategy.js';
import { Upstream } from '../../src/upstreams/upstream.js';

/** Upstreams `http://a.test`, `http://b.test` and so on, of these weights. */
export function upstreamsOf(...weights: number[]): Upstream[] {
  return weights.map(
    (weight, i) => new Upstream({ url: `http://${String.fromCharCode(97 + i)}.test`, weight }),
  );
}

/** So many upstreams, told apart by their port. */
export function manyUpstreams(count: number, weightOf = (_: number) => 1): Upstream[] {
  return Array.from(
    { length: count },
    (_, i) => new Upstream({ url: `http://10.0.0.1:${10_000 + i}`, weight: weightOf(i) }),
  );
}

/** An exchange that has not come over the network; its client has no address. */
export function exchangeWith(headers: Record<string, string> = {}): Exchange {
  const req = new IncomingMessage(new Socket());
  Object.assign(req.headers, headers);
  return new Exchange(req, new ServerResponse(req));
}

/** The names of the upstreams that so many picks bring: `A` for `http://a.test`. */
export function picks(strategy: Strategy, candidates: readonly Upstream[], count: number): string {
  const exchange = exchangeWith();
  return Array.from({ length: count }, () => nameOf(strategy.pick(candidates, exchange))).join(' ');
}

/** How often each candidate is picked, in their order. */
export function shares(
  strategy: Strategy,
  candidates: readonly Upstream[],
  count: number,
): number[] {
  const exchange = exchangeWith();
  const taken = new Map<Upstream | undefined, number>();
  for (let i = 0; i < count; i++) {
    const upstream = strategy.pick(candidates, exchange);
    taken.set(upstream, (taken.get(upstream) ?? 0) + 1);
  }
  return candidates.map((upstream) => taken.get(upstream) ?? 0);
}

/** The letter of an upstream of {@link upstreamsOf}; a dash for none. */
export function nameOf(upstream: Upstream | undefined): string {
  return upstream?.hostname.charAt(0).toUpperCase() ?? '-';
}

/** Random numbers from 0 to 1 that are the same in every run: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How far counts are from what the weights make likely: Pearson's statistic. */
export function chiSquared(counts: readonly number[], weights: readonly number[]): number {
  const total = sum(counts);
  const totalWeight = sum(weights);
  return sum(
    counts.map((count, i) => {
      const likely = (total * (weights[i] as number)) / totalWeight;
      return (count - likely) ** 2 / likely;
    }),
  );
}

/** The sum of numbers. */
function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

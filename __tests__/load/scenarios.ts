import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { loadBalancer, proxyErrors, proxyPass, retry, type UpstreamPool } from 'headrace';
import { type LoadOptions, type LoadResult, load } from '../helpers/load.js';

const servers: Server[] = [];

async function listen(listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function named(name: string): Promise<string> {
  return `http://127.0.0.1:${await listen((_req, res) => res.end(name))}`;
}

/** A URL that refuses connections. */
async function dead(): Promise<string> {
  const url = await named('dead');
  servers.pop()?.close();
  return url;
}

/** What clients and the pool saw. */
interface Seen extends LoadResult {
  readonly tries: number;
  readonly usable: readonly boolean[];
  readonly inFlight: number;
}

async function seenBy(
  upstreams: readonly string[],
  options: LoadOptions,
  { random = Math.random, meanwhile = (_pool: UpstreamPool): void => {} } = {},
): Promise<Seen> {
  const balancer = loadBalancer({ upstreams });
  // The clock stands still, so that no retry is free but those of the first second.
  const piece = retry({ random, now: () => 0 });
  const port = await listen(express().use(balancer, piece, proxyPass(), proxyErrors()));
  meanwhile(balancer.upstreams);
  const result = await load(port, options);
  const stats = balancer.upstreams.stats();
  const tries = stats.reduce((sum, { requests }) => sum + requests, 0);
  const inFlight = stats.reduce((sum, one) => sum + one.inFlight, 0);
  await balancer.close();
  for (const server of servers.splice(0)) server.close().closeAllConnections();
  return { ...result, tries, inFlight, usable: stats.map(({ usable }) => usable) };
}

/** 10,000 requests to three upstreams of which one is dead. */
export async function oneDead(): Promise<Seen> {
  return seenBy([await named('A'), await dead(), await named('C')], {
    more: (sent) => sent < 10_000,
  });
}

/** 1,000 requests to three upstreams that are all dead. */
export async function allDead(): Promise<Seen> {
  const upstreams = [await dead(), await dead(), await dead()];
  return seenBy(upstreams, { more: (sent) => sent < 1_000 }, { random: () => 0 });
}

/** A second and a half of requests, or longer until there are enough, to a pool whose list changes every ten milliseconds. */
export async function manyUpdates(): Promise<Seen & { readonly updates: number }> {
  const urls = await Promise.all(['A', 'B', 'C', 'D', 'E'].map(named));
  const until = performance.now() + 1_500;
  let updates = 0;
  let requests = 0;
  const goesOn = (): boolean => performance.now() < until || requests <= 200 || updates <= 50;
  const meanwhile = (pool: UpstreamPool): void => {
    const timer = setInterval(() => {
      pool.update(urls.filter((_url, i) => i === updates % 5 || (updates >> i) % 2 === 0));
      updates++;
      if (!goesOn()) clearInterval(timer);
    }, 10);
  };
  const more = (sent: number): boolean => {
    requests = sent;
    return goesOn();
  };
  const seen = await seenBy(urls, { more }, { meanwhile });
  return { ...seen, updates };
}

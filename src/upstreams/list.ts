import { isDeepStrictEqual } from 'node:util';
import type { ConnectionSettings } from '../connection-settings.js';
import { NoUpstreamError, type ProxyError } from '../exchange/errors.js';
import { inspect } from '../options.js';
import { circuitOpenError } from './circuit.js';
import type { Discovery } from './discovery/discovery.js';
import { Upstream, type UpstreamInit } from './upstream.js';

/** Whether a list comes from a source. */
export function isDiscovery(list: readonly UpstreamInit[] | Discovery): list is Discovery {
  return typeof list === 'object' && list !== null && Symbol.asyncIterator in list;
}

/** The upstreams of a list. @throws TypeError that names the entry that is none, or is there twice. */
export function parseList(
  list: readonly UpstreamInit[],
  factory: string,
  settings: ConnectionSettings | undefined,
): Upstream[] {
  if (!Array.isArray(list)) {
    throw new TypeError(`${factory}: upstreams must be an array, received ${inspect(list)}`);
  }
  const seen = new Set<string>();
  return list.map((init: UpstreamInit, i) => {
    const path = `${factory}: upstreams[${i}].url`;
    const upstream = new Upstream(init, path, settings);
    if (seen.has(upstream.url)) {
      throw new TypeError(`${path} is listed twice: ${inspect(upstream.url)}`);
    }
    seen.add(upstream.url);
    return upstream;
  });
}

/** Whether what is known of one holds for the other: their URLs tell neither credentials nor transport. */
export function connectAlike(one: Upstream, other: Upstream): boolean {
  return (
    one.authorization === other.authorization && isDeepStrictEqual(one.settings, other.settings)
  );
}

/** Lets probes pass to those that it is time for. */
export function halfOpenDue(upstreams: readonly Upstream[]): void {
  for (const upstream of upstreams) if (upstream.bars.has('open')) upstream.halfOpenDue();
}

/** Why none of these can be chosen: with open circuits among them, for as long as the first of them waits. */
export function refusalOf(upstreams: readonly Upstream[]): ProxyError {
  let waitMs = Number.POSITIVE_INFINITY;
  let first: Upstream | undefined;
  for (const upstream of upstreams) {
    if (!upstream.bars.has('open') || upstream.circuitWaitMs >= waitMs) continue;
    first = upstream;
    waitMs = upstream.circuitWaitMs;
  }
  return first === undefined ? new NoUpstreamError() : circuitOpenError(waitMs, first);
}

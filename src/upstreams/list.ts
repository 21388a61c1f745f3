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

/** The usable ones of the lowest priority number that has any. */
export function eligibleOf(upstreams: readonly Upstream[]): readonly Upstream[] {
  const usable = upstreams.filter((upstream) => upstream.usable);
  let priority = Number.POSITIVE_INFINITY;
  let mixed = false;
  for (const upstream of usable) {
    mixed ||= priority !== Number.POSITIVE_INFINITY && upstream.priority !== priority;
    priority = Math.min(priority, upstream.priority);
  }
  return mixed ? usable.filter((upstream) => upstream.priority === priority) : usable;
}

/** What is left of the eligible ones without some; all of them where that would be none. */
export function others(
  eligible: readonly Upstream[],
  except: readonly Upstream[],
): readonly Upstream[] {
  const left = eligible.filter((upstream) => !except.includes(upstream));
  return left.length > 0 ? left : eligible;
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

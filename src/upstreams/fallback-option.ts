import type { IncomingMessage } from 'node:http';
import { isStream } from '../exchange/body-bytes.js';
import type { ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { FailureHandler, Substitute } from '../exchange/fallback.js';
import { HeaderList } from '../exchange/header-list.js';
import { isUpstream } from '../exchange/is-upstream.js';
import { type ResponseInit, UpstreamResponse } from '../exchange/upstream-response.js';
import { type Callback, inspect, isPlain } from '../options.js';
import { Targets } from './targets.js';

/**
 * Decides what a client gets instead of an error: a response, an upstream to try (a URL, an `Upstream`,
 * a pool), or nothing to let the error go on.
 */
export type FallbackHandler = Callback<
  [error: ProxyError, req: IncomingMessage, exchange: Exchange],
  | Substitute
  | URL
  | string
  | undefined
  | void
  | Promise<Substitute | URL | string | undefined>
  | Promise<void>
>;

/** A `fallback` option in place. */
export interface FallbackOption {
  readonly handler: FailureHandler;
  /** Closes the connections to upstreams that it named by URL. */
  close(): Promise<void>;
}

/**
 * Checks a `fallback` option. A response that is given as it is stands in for failures alone: what the
 * client did wrong (4xx), it should hear.
 */
export function fallbackOption(
  path: string,
  given: FallbackHandler | ResponseInit,
): FallbackOption {
  const targets = new Targets();
  const decide = typeof given === 'function' ? given : always(path, given);
  return {
    handler: async (error, req, exchange) => {
      const instead = (await decide(error, req, exchange)) ?? undefined;
      const isUrl = typeof instead === 'string' || instead instanceof URL;
      return isUrl ? targets.get(instead, `${path}()`) : instead;
    },
    close: () => targets.close(),
  };
}

function always(path: string, given: ResponseInit): FallbackHandler {
  if (!isPlain(given)) {
    throw new TypeError(`${path} must be a function or a response, received ${inspect(given)}`);
  }
  if (isStream(given.body)) {
    throw new TypeError(`${path}.body is a stream, which can be sent once: make it in a function`);
  }
  checkParts(path, given);
  try {
    // An iterator could be read once, and this is sent many times.
    const response = { ...given, headers: HeaderList.from(given.headers) };
    new UpstreamResponse(response);
    return (error) => (error.status < 500 ? undefined : response);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`${path} is no response: ${reason}`, { cause });
  }
}

/** Throws for what would fail with words about something else, or be sent as nobody has meant it. */
function checkParts(path: string, given: ResponseInit): void {
  if ('relayTo' in given) {
    throw new TypeError(`${path} is an UpstreamResponse: give what it is made of, or a function`);
  }
  if (Object.keys(given).length === 0) {
    throw new TypeError(`${path} is an empty object, which would be sent as a 200 without a body`);
  }
  const { status, statusText, headers, upstream } = given;
  const check = (name: keyof ResponseInit, isFit: boolean, wanted: string): void => {
    const received = inspect(given[name]);
    if (!isFit) throw new TypeError(`${path}.${name} must be ${wanted}, received ${received}`);
  };
  check('status', status === undefined || typeof status === 'number', 'a number');
  check('statusText', statusText === undefined || typeof statusText === 'string', 'a string');
  check('headers', headers === undefined || areHeaders(headers), 'an object or a list of pairs');
  check('upstream', upstream === undefined || isUpstream(upstream), 'an Upstream');
}

function areHeaders(headers: unknown): boolean {
  if (typeof headers !== 'object' || headers === null) return false;
  return !Array.isArray(headers) || headers.every((pair) => Array.isArray(pair));
}

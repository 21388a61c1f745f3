import { isProxyError, type ProxyError } from '../exchange/errors.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { yesOrNo } from './yes-or-no.js';

/** What came of a call: the head of a response, or the error in place of one. Both have a `status`. */
export type CallResult = UpstreamResponse | ProxyError;

/** Failures that are the upstream's. What a client or another piece has done says nothing about it. */
const FAILURES: ReadonlySet<string> = new Set([
  'ERR_PROXY_CONNECT',
  'ERR_PROXY_RESET',
  'ERR_PROXY_BAD_RESPONSE',
  'ERR_PROXY_UPGRADE',
  'ERR_PROXY_CONNECT_TIMEOUT',
  'ERR_PROXY_HEADERS_TIMEOUT',
  'ERR_PROXY_BODY_TIMEOUT',
]);

/** Says which calls count as failures of the upstream, and which say nothing about it. */
export class Judge {
  readonly #isFailure: (result: CallResult) => boolean;

  /** By default, answers from 500 on are failures, and all errors that are the upstream's. */
  constructor(isFailure: ((result: CallResult) => boolean) | undefined) {
    this.#isFailure =
      isFailure === undefined
        ? isUsualFailure
        : yesOrNo('circuitBreaker: isFailure', isFailure, isUsualFailure);
  }

  /** Whether a response is a good one. */
  ofResponse(response: UpstreamResponse): boolean {
    return !this.#isFailure(response);
  }

  /** Whether a call that came to an error was a good one; `undefined` when that says nothing about the upstream. */
  ofError(error: unknown): boolean | undefined {
    if (!isProxyError(error) || error.status < 500 || !FAILURES.has(error.code)) return undefined;
    return !this.#isFailure(error);
  }
}

function isUsualFailure(result: CallResult): boolean {
  return result.status >= 500;
}

import { isProxyError, type ProxyError } from '../exchange/errors.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { inspect } from '../options.js';
import { warnOfThrown } from '../warnings.js';

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
  readonly #isFailure: ((result: CallResult) => boolean) | undefined;
  /** A fault of `isFailure` is told once: it would be so of every call. */
  #warned = false;

  /** By default, answers from 500 on are failures, and all errors that are the upstream's. */
  constructor(isFailure: ((result: CallResult) => boolean) | undefined) {
    this.#isFailure = isFailure;
  }

  /** Whether a response is a good one. */
  ofResponse(response: UpstreamResponse): boolean {
    return this.#isGood(response);
  }

  /** Whether a call that came to an error was a good one; `undefined` when that says nothing about the upstream. */
  ofError(error: unknown): boolean | undefined {
    if (!isProxyError(error) || error.status < 500 || !FAILURES.has(error.code)) return undefined;
    return this.#isGood(error);
  }

  #isGood(result: CallResult): boolean {
    const failed = result.status >= 500;
    if (this.#isFailure === undefined) return !failed;
    try {
      const answer: unknown = this.#isFailure(result);
      if (typeof answer === 'boolean') return !answer;
      throw new TypeError(`it must return true or false, received ${inspect(answer)}`);
    } catch (error) {
      if (!this.#warned) warn(error);
      this.#warned = true;
      return !failed;
    }
  }
}

/** An `isFailure` that throws must not keep the response from the client, nor a probe in its place. */
function warn(error: unknown): void {
  warnOfThrown('circuitBreaker: isFailure has failed', error);
}

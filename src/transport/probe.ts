import { StringDecoder } from 'node:string_decoder';
import type { Dispatcher } from 'undici';
import { connectionSettings } from '../connection-settings.js';
import { Deadline } from '../deadline.js';
import type { ProbeResult } from '../upstreams/active-health.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { SendOptions } from './carrier.js';
import { connectionsTo } from './connections.js';
import { joinPath } from './join-path.js';
import { ownRequest } from './own-request.js';

/** How much of a probe's body is looked at. */
const MAX_BODY_BYTES = 65_536;

/** For upstreams that bring no settings of their own. */
const usualSettings = connectionSettings('probe', {});

/** Asks an upstream for a path over its own connections: a GET with a limit of time and bytes. */
export function probe(
  upstream: Upstream,
  path: string,
  timeoutMs: number,
  needsBody: boolean,
): Promise<ProbeResult> {
  return new Promise((resolve, reject) => {
    const handler = new ProbeHandler(needsBody, resolve, reject);
    const whole = joinPath(upstream, path);
    const request = ownRequest(upstream, whole, headersFor(upstream), timeoutMs);
    handler.limit(timeoutMs, request);
    const connections = connectionsTo(upstream, upstream.settings ?? usualSettings);
    const { open = 0, idle = 0 } = connections.counts?.() ?? {};
    // Where all are busy, it must not wait in line with requests, and be taken for unanswered.
    if (open > 0 && idle === 0) connections.dispatchFresh(request, handler);
    else connections.dispatch(request, handler);
  });
}

function headersFor(upstream: Upstream): string[] {
  const headers = ['User-Agent', 'headrace-health'];
  if (upstream.authorization !== undefined) headers.push('Authorization', upstream.authorization);
  return headers;
}

class ProbeHandler implements Dispatcher.DispatchHandler {
  readonly #needsBody: boolean;
  readonly #resolve: (result: ProbeResult) => void;
  readonly #reject: (error: Error) => void;
  #controller: Dispatcher.DispatchController | undefined = undefined;
  #deadline: Deadline | undefined = undefined;
  #status = 0;
  /** A character may come in two chunks. */
  readonly #decoder = new StringDecoder('utf8');
  #body = '';
  #over = false;

  constructor(
    needsBody: boolean,
    resolve: (result: ProbeResult) => void,
    reject: (error: Error) => void,
  ) {
    this.#needsBody = needsBody;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  limit(timeoutMs: number, request: SendOptions): void {
    this.#deadline = new Deadline(timeoutMs, () => {
      const error = new Error(`no answer within ${timeoutMs} ms`);
      this.onResponseError(undefined, error);
      if (this.#controller === undefined) request.connection?.leave?.(error);
      else this.#controller.abort(error);
    });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#over) controller.abort(new Error('the probe is over'));
  }

  onResponseStart(_controller: unknown, status: number): void {
    if (status < 200) return;
    this.#status = status;
    if (!this.#needsBody) this.#done();
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    if (this.#body.length < MAX_BODY_BYTES) this.#body += this.#decoder.write(chunk);
    else if (this.#over) this.#controller?.abort(new Error('the body of the probe is too long'));
    else this.#done();
  }

  onResponseEnd(): void {
    this.#deadline?.end();
    this.#done();
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#deadline?.end();
    if (this.#over) return;
    this.#over = true;
    this.#reject(error);
  }

  #done(): void {
    if (this.#over) return;
    this.#over = true;
    // The limit stands: what has been judged by its head may still be coming.
    this.#resolve({ status: this.#status, body: this.#body });
  }
}

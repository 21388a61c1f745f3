import type { Dispatcher } from 'undici';
import { Deadline } from '../deadline.js';
import type { InFlight } from '../exchange/exchange.js';
import { emptyList } from '../lists.js';
import type { SendOptions } from './carrier.js';
import type { Connections } from './connections.js';
import { rawFields, responseHead } from './response-head.js';

/** The longest body that is kept; what comes behind it is an error. */
const MAX_BODY_BYTES = 65_536;
const MAX_FIELDS = 256;
/** Nothing but end-to-end fields comes back. */
const POLICY = { keep: [], also: [] };

/** The answer to a {@link Subrequest}. */
export interface SubrequestAnswer {
  readonly status: number;
  /** End-to-end fields, as flat names and values. */
  readonly lines: readonly string[];
  /** The body; empty when the answer is a yes, of which nobody wants it. */
  readonly body: Buffer;
}

/** What a {@link Subrequest} is settled by. */
export interface SubrequestEnd {
  readonly resolve: (answer: SubrequestAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** An answer whose head has come, but not the rest of it. */
export class BrokenAnswerError extends Error {
  readonly status: number;

  constructor(status: number, cause: Error) {
    super(`it answered ${status}, and then failed: ${cause.message}`, { cause });
    this.status = status;
  }
}

/** A request of our own on behalf of another one: without a body, and with a limit of time and bytes. */
export class Subrequest implements Dispatcher.DispatchHandler, InFlight {
  readonly #connections: Connections;
  #options: SendOptions;
  readonly #end: SubrequestEnd;
  #controller: Dispatcher.DispatchController | undefined = undefined;
  #deadline: Deadline | undefined = undefined;
  #again = false;
  #status = 0;
  #lines: readonly string[] = [];
  #chunks: Buffer[] = emptyList();
  #length = 0;
  #over = false;

  constructor(connections: Connections, options: SendOptions, end: SubrequestEnd) {
    this.#connections = connections;
    this.#options = options;
    this.#end = end;
  }

  /** Sends it. Whatever happens, it has ended after `timeoutMs`. */
  send(timeoutMs: number): void {
    this.#deadline = new Deadline(timeoutMs, () => {
      this.#stop(new Error(`no answer within ${timeoutMs} ms`));
    });
    try {
      this.#connections.dispatch(this.#options, this);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  abandon(): void {
    this.#stop(new Error('nobody waits for the answer any more'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#over) throw new Error('the request is over');
    this.#controller = controller;
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return;
    this.#status = status;
    const head = responseHead(rawFields(controller.rawHeaders), POLICY, MAX_FIELDS);
    if (typeof head === 'string') return this.#stop(new Error(`an unfit answer: ${head}`));
    this.#lines = head.lines;
    // The limit stands: the rest of a yes must not keep the connection for ever.
    if (status < 300) this.#done();
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#length > MAX_BODY_BYTES) {
      this.#stop(new Error(`the answer has more than ${MAX_BODY_BYTES} bytes`));
    } else if (!this.#over) {
      this.#chunks.push(chunk);
    }
  }

  onResponseEnd(): void {
    this.#deadline?.end();
    this.#done();
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#over) return this.#deadline?.end();
    // The keep-alive race: the server has closed an idle connection as we sent.
    const wasLost =
      'code' in error && ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(String(error.code));
    if (this.#again || !wasLost || this.#status !== 0 || this.#controller === undefined) {
      return this.#fail(error);
    }
    this.#again = true;
    this.#controller = undefined;
    this.#options = { ...this.#options, connection: undefined };
    this.#connections.dispatchFresh(this.#options, this);
  }

  #done(): void {
    if (this.#over) return;
    this.#over = true;
    this.#end.resolve({
      status: this.#status,
      lines: this.#lines,
      body: Buffer.concat(this.#chunks),
    });
  }

  #fail(error: Error): void {
    this.#deadline?.end();
    if (this.#over) return;
    this.#over = true;
    this.#end.reject(this.#status === 0 ? error : new BrokenAnswerError(this.#status, error));
  }

  /** Ends what is under way, or waits for its turn. */
  #stop(error: Error): void {
    this.#fail(error);
    if (this.#controller === undefined) this.#options.connection?.leave?.(error);
    else this.#controller.abort(error);
  }
}

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { peerAddress } from '../exchange/client.js';
import { exchangeOf, type Handler } from '../exchange/exchange.js';
import { headHook } from '../exchange/head-hook.js';
import { ownFieldNames } from '../exchange/own-fields.js';
import { type RequestTrusts, type Trust, trustFor } from '../exchange/trust.js';
import { type Callback, callable, inspect, known } from '../options.js';
import { fail } from '../transport/deliver.js';

/** Options for {@link requestId}. */
export interface RequestIdOptions {
  /**
   * The field that carries it, in both directions.
   *
   * @default 'X-Request-Id'
   */
  readonly header?: string | undefined;
  /**
   * From whom an id is taken over, as in `forwardedFor()`. Everybody else gets a new one.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
  /**
   * Makes one.
   *
   * @default crypto.randomUUID
   */
  readonly generate?: Callback<[req: IncomingMessage], string> | undefined;
}

/** What is fit for a log and a URL, and cannot be taken for anything else there. */
const ID = /^[\w.~:/+=@-]{1,128}$/;

/**
 * Gives each request a name for the logs on both sides: a new one, or the one that a trusted proxy has
 * given it. It goes to the upstream and back to the client, on answers to errors as well. Place it first.
 *
 * @example
 * app.use(requestId(), accessLog({ logger: console }), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError when an option is not what it should be.
 */
export function requestId(options: RequestIdOptions = {}): Handler {
  const {
    header = 'X-Request-Id',
    trust = 'app',
    generate = newId,
  } = known('requestId', options, ['header', 'trust', 'generate']);
  const [lower = ''] = ownFieldNames('requestId: header', [header]);
  const trusts = trustFor('requestId: trust', trust);
  callable('requestId: generate', generate);
  const hook = headHook((res) => setId(res, header));

  return function requestIdMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    try {
      exchange.requestId ??= inbound(req, lower, trusts) ?? made(generate(req));
    } catch (error) {
      return fail(exchange, error, next);
    }
    exchange.headers.write(lower, header, exchange.requestId);
    hook(res);
    next?.();
  };
}

/** Not the function itself: it takes its argument for options. */
function newId(): string {
  return randomUUID();
}

/** The id that a trusted peer has given. Several, or what could be read as something else, count as none. */
function inbound(req: IncomingMessage, lower: string, trusts: RequestTrusts): string | undefined {
  const id = req.headers[lower];
  if (typeof id !== 'string' || !ID.test(id)) return undefined;
  const peer = peerAddress(req);
  return peer !== undefined && trusts(req, peer, 0) ? id : undefined;
}

function made(id: unknown): string {
  if (typeof id === 'string' && ID.test(id)) return id;
  throw new TypeError(
    `requestId: generate() must return 1 to 128 of the characters A-Z a-z 0-9 _ . ~ : / + = @ -, received ${inspect(id)}`,
  );
}

/** When the head is written, which may be that of an error page. */
function setId(res: ServerResponse, header: string): void {
  const { requestId } = exchangeOf(res.req, res);
  if (requestId !== undefined && !res.headersSent) res.setHeader(header, requestId);
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Exchange,
  exchangeOf,
  type Handler,
  type Next,
  type ResponseEdit,
} from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import { callable, known, refuseRequest, wholeNumber } from '../options.js';
import { editThen } from '../transport/deliver.js';

/** Options for {@link modifyResponse}. */
export interface ModifyResponseOptions {
  /**
   * The longest body that `text()`, `json()` and `buffer()` take, in bytes, before and after decoding.
   *
   * @default 10_485_760
   */
  readonly maxBodyBytes?: number | undefined;
}

/**
 * Edits the response: before `proxyPass()` it registers the edit, behind `proxyPass({ hold: true })`
 * it runs it on the held response. An edit that leaves the body alone leaves it streaming.
 *
 * @example
 * app.use(modifyResponse((response) => response.headers.set('x-proxy', 'magical')));
 */
export function modifyResponse(edit: ResponseEdit, options: ModifyResponseOptions = {}): Handler {
  refuseRequest('modifyResponse', edit);
  callable('modifyResponse: edit', edit);
  const { maxBodyBytes = 10_485_760 } = known('modifyResponse', options, ['maxBodyBytes']);
  wholeNumber('modifyResponse: maxBodyBytes', maxBodyBytes, 1);

  function boundedEdit(
    response: UpstreamResponse,
    req: IncomingMessage,
    res: ServerResponse,
  ): unknown {
    response.maxBodyBytes = maxBodyBytes;
    return edit(response, req, res);
  }

  return function modifyResponseMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.onResponse(boundedEdit);
    const held = exchange.response;
    if (held === undefined) next?.();
    else editThen(exchange, held, next, holdEdited);
  };
}

/** What has been edited, or what a fallback gives in its place, is held on. */
function holdEdited(exchange: Exchange, response: UpstreamResponse, next: Next | undefined): void {
  exchange.response = response;
  next?.();
}

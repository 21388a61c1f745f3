import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { fail } from './deliver.js';

/** Runs pieces in turn; the last one gets the `next` of the whole, and so does whatever error one has. */
export function runInTurn(
  pieces: readonly Handler[],
  req: IncomingMessage,
  res: ServerResponse,
  next: Next | undefined,
  i = 0,
): void {
  const piece = pieces[i] as Handler;
  if (i === pieces.length - 1) return piece(req, res, next);
  piece(req, res, (error) => {
    if (error === undefined) runInTurn(pieces, req, res, next, i + 1);
    else if (next !== undefined) next(error);
    else fail(exchangeOf(req, res), error, undefined);
  });
}

import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../exchange/exchange.js';

/** Up to here, an upload is cheaper in the same write as its head than as a stream behind it. */
const ONE_WRITE_BYTES = 16_384;

/** Whether an upload is so short that it may be there as a whole once what has been received is parsed. */
export function mayComeWhole(req: IncomingMessage): boolean {
  const length = shortLength(req);
  return length > 0 && length !== req.readableLength && !req.readableDidRead;
}

/** A short upload that is there as a whole; `undefined` where some of it is still to come. */
export function wholeUpload(exchange: Exchange): Buffer | undefined {
  const { req } = exchange;
  if (exchange.unsentUpload !== undefined) return exchange.unsentUpload;
  const length = shortLength(req);
  if (length === 0 || length !== req.readableLength || req.readableEncoding !== null)
    return undefined;
  // Unless it is told how much, one read gives one packet of it: while it flows, and always since Node 26.
  exchange.unsentUpload = req.read(length) as Buffer;
  // Its end may still have to be heard, by those who wait for it.
  req.resume();
  return exchange.unsentUpload;
}

/** The length of an upload, if it is short, and known; otherwise 0. */
function shortLength({ headers }: IncomingMessage): number {
  const text = headers['content-length'];
  if (text === undefined) return 0;
  const length = Number(text);
  return length <= ONE_WRITE_BYTES ? length : 0;
}

import type { ServerResponse } from 'node:http';
import type { Exchange } from './exchange.js';

/**
 * Where an answer keeps its exchange for the pieces, the same in every copy of this package. `res.locals`
 * alone would not do: it is the app's, which may put another object in its place between two pieces.
 */
export const EXCHANGE: unique symbol = Symbol.for('headrace.exchange');

/** An answer, and what it carries through the pipeline. */
export interface Carrier extends ServerResponse {
  [EXCHANGE]?: Exchange;
  locals?: { proxy?: Exchange };
}

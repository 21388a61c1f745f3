/** How an exchange can end. */
export type OutcomeType = 'completed' | 'failed' | 'client-closed' | 'upgraded';

/** How an exchange ended. It reads as its type: `` `${exchange.outcome}` `` is `completed`. */
export class Outcome {
  constructor(
    readonly type: OutcomeType,
    /** Body bytes that went from the client to the upstream. */
    readonly bytesSent: number,
    /** Body bytes that came from the upstream. */
    readonly bytesReceived: number,
    /** From the making of the exchange to its end. */
    readonly durationMs: number,
    /** Why it did not complete; of a degraded one, what the fallback made up for. */
    readonly error: unknown = undefined,
    /** Whether the client got what a fallback put in place of an error. */
    readonly degraded = false,
  ) {}

  toString(): OutcomeType {
    return this.type;
  }
}

/** The fields of W3C Trace Context and Baggage, in lower case. */
export const TRACE_FIELDS: readonly string[] = ['traceparent', 'tracestate', 'baggage'];

const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(-.*)?$/;

/**
 * The trace id in a `traceparent`; `undefined` when the field cannot be trusted to mean anything
 * (Trace Context, 3.2.2). Later versions may have more at the end, the present one may not.
 */
export function traceIdIn(traceparent: string): string | undefined {
  const [, version, traceId, more] = TRACEPARENT.exec(traceparent) ?? [];
  return version === '00' && more !== undefined ? undefined : traceId;
}

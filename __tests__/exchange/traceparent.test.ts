import { describe, expect, it } from '@jest/globals';
import { traceIdIn } from '../../src/exchange/traceparent.js';

const TRACE = '12345678901234567890123456789012';
const PARENT = '1234567890123456';

// The cases of the W3C's own test suite (w3c/trace-context, test/test.py).
describe('traceIdIn', () => {
  it.each([
    `00-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-00`,
    `00-${TRACE}-${PARENT}-ff`,
    `cc-${TRACE}-${PARENT}-01`,
    `cc-${TRACE}-${PARENT}-01-what-the-future-will-be-like`,
    `cc-${TRACE}-${PARENT}-01-`,
    `fe-${TRACE}-${PARENT}-01`,
  ])('reads %s', (traceparent) => {
    expect(traceIdIn(traceparent)).toBe(TRACE);
  });

  it.each([
    '',
    `00-${TRACE}-${PARENT}-01-`,
    `00-${TRACE}-${PARENT}-01.`,
    `00-${TRACE}-${PARENT}-01-what-the-future-will-not-be-like`,
    `cc-${TRACE}-${PARENT}-01.what-the-future-will-not-be-like`,
    `ff-${TRACE}-${PARENT}-01`,
    `.0-${TRACE}-${PARENT}-01`,
    `0.-${TRACE}-${PARENT}-01`,
    `000-${TRACE}-${PARENT}-01`,
    `0-${TRACE}-${PARENT}-01`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-.${TRACE.slice(1)}-${PARENT}-01`,
    `00-${TRACE}0-${PARENT}-01`,
    `00-${TRACE.slice(1)}-${PARENT}-01`,
    `00-ABCDEF${TRACE.slice(6)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-.${PARENT.slice(1)}-01`,
    `00-${TRACE}-${PARENT}0-01`,
    `00-${TRACE}-${PARENT.slice(1)}-01`,
    `00-${TRACE}-${PARENT}-.0`,
    `00-${TRACE}-${PARENT}-001`,
    `00-${TRACE}-${PARENT}-1`,
    `00-${TRACE}-${PARENT}`,
    `00-${TRACE}-${PARENT}-01, 00-${TRACE}-${PARENT}-01`,
    `traceparent=00-${TRACE}-${PARENT}-01`,
  ])('takes nothing from %p', (traceparent) => {
    expect(traceIdIn(traceparent)).toBeUndefined();
  });
});

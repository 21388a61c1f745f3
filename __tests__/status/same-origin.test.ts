import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { isSameOrigin } from '../../src/status/same-origin.js';

const host = 'status.example:8080';
const origin = `http://${host}`;

describe('a request of the same origin', () => {
  it.each([
    [{ host, origin }],
    [{ host, origin, 'sec-fetch-site': 'same-origin' }],
    [{ host, 'sec-fetch-site': 'same-origin' }],
    [{ host: 'STATUS.example:443', origin: 'https://status.example' }],
    [{ ':authority': host, origin }],
  ])('is %j', (headers) => {
    expect(isSameOrigin({ headers } as unknown as IncomingMessage)).toBe(true);
  });

  it.each([
    [{ host }],
    [{ origin }],
    [{ host, origin: 'null' }],
    [{ host, origin: '' }],
    [{ host, origin: 'http://status.example' }],
    [{ host, origin: `http://${host}.evil.example` }],
    [{ host, origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' }],
    [{ host, origin, 'sec-fetch-site': 'same-site' }],
    [{ host, origin, 'sec-fetch-site': 'cross-site' }],
    [{ host, origin, 'sec-fetch-site': 'none' }],
    [{ host: 'a b', origin: 'http://a b' }],
  ])('is not %j', (headers) => {
    expect(isSameOrigin({ headers } as unknown as IncomingMessage)).toBe(false);
  });
});

import { describe, expect, it } from '@jest/globals';
import { combinedLine, commonLine, escaped, summary } from '../../src/exchange/access-line.js';
import { type AccessRecord, accessRecord } from '../../src/exchange/access-record.js';
import { anExchange } from '../helpers/exchanges.js';

const record: AccessRecord = {
  ...accessRecord(anExchange(), (url) => url),
  startedAt: Date.UTC(2026, 10, 21, 9, 5, 7),
  client: '203.0.113.7',
  method: 'GET',
  url: '/users?page=2',
  httpVersion: '1.1',
  status: 200,
};

describe('lines', () => {
  it('are in the Common and the Combined Log Format', () => {
    const common = '203.0.113.7 - - [21/Nov/2026:09:05:07 +0000] "GET /users?page=2 HTTP/1.1" 200';
    expect(commonLine(record, 12)).toBe(`${common} 12`);
    expect(commonLine(record, 0)).toBe(`${common} -`);
    const known = { ...record, referer: 'http://a/', userAgent: 'curl/8.14.1' };
    expect(combinedLine(known, 12)).toBe(`${common} 12 "http://a/" "curl/8.14.1"`);
    expect(combinedLine(record, 12)).toBe(`${common} 12 "-" "-"`);
  });

  it('have the time of each', () => {
    const at = (startedAt: number) => commonLine({ ...record, startedAt }, 0).split(/[[\]]/)[1];
    expect(at(Date.UTC(2026, 0, 1, 23, 59, 59, 999))).toBe('01/Jan/2026:23:59:59 +0000');
    expect(at(Date.UTC(2026, 0, 2))).toBe('02/Jan/2026:00:00:00 +0000');
    expect(at(Date.UTC(2026, 0, 1, 23, 59, 59))).toBe('01/Jan/2026:23:59:59 +0000');
  });

  it('have as many fields for a user without a name', () => {
    expect(commonLine({ ...record, user: '' }, 1)).toMatch(/^203\.0\.113\.7 - "" \[/);
  });

  it('stay single lines with the fields they have, whatever a client sends', () => {
    const hostile = 'a" 200 1\r\n203.0.113.9 - - \\ \u001b[31m\u0085\u2028é';
    const safe = 'a\\x22 200 1\\x0D\\x0A203.0.113.9 - - \\x5C \\x1B[31m\\x85\\u2028\\xE9';
    expect(escaped(hostile)).toBe(safe);
    const evil = { ...record, url: hostile, userAgent: hostile, referer: hostile, user: 'a b"' };
    expect(combinedLine(evil, 1)).toBe(
      `203.0.113.7 - a\\x20b\\x22 [21/Nov/2026:09:05:07 +0000] "GET ${safe} HTTP/1.1" 200 1 "${safe}" "${safe}"`,
    );
    expect(summary(evil)).toBe(`GET ${safe} 200`);
  });
});

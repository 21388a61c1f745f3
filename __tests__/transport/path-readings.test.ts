import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readingsOf } from '../../src/transport/path-readings.js';
import { cpuMilliseconds } from '../helpers/cpu-time.js';

/** The readings as paths; `undefined` when they cannot be told. */
const paths = (path: string) => readingsOf(path)?.map((segments) => `/${segments.join('/')}`);

describe('a path', () => {
  it.each([
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/b/', '/a/b'],
    ['/a/b//', '/a/b'],
    ['/a?/../b', '/a'],
    ['/a#/../b', '/a'],
    ['/%61dmin', '/admin'],
    ['/%61%2Dmin', '/a-min'],
    ['/a%20b', '/a b'],
    ['/caf%C3%A9', '/café'],
    ['/caf\xc3\xa9', '/café'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a..b/...c', '/a..b/...c'],
    ['/a:b@c,d+e=f&g', '/a:b@c,d+e=f&g'],
    ['/{a}|^"<>[]`', '/{a}|^"<>[]`'],
  ])('%p has one reading', (path, reading) => {
    expect(new Set(paths(path))).toEqual(new Set([reading]));
  });

  it.each([
    ['/x//admin', ['/x//admin', '/x/admin']],
    ['/admin;x=1/y', ['/admin;x=1/y', '/admin/y']],
    ['/admin%2fy', ['/admin%2Fy', '/admin/y']],
    ['/admin\\y', ['/admin\\y', '/admin/y']],
    ['/admin%5cy', ['/admin%5Cy', '/admin\\y', '/admin/y']],
    ['/admin%3bx', ['/admin%3Bx', '/admin;x', '/admin']],
    ['/admin%3fx', ['/admin%3Fx', '/admin?x', '/admin']],
    ['/admin%23x', ['/admin%23x', '/admin#x', '/admin']],
    ['/admin%3f%E2%80%A8', ['/admin%3F\u2028', '/admin?\u2028', '/admin']],
    ['/%2561dmin', ['/%2561dmin', '/%61dmin', '/admin']],
    ['/100%25', ['/100%25', '/100%']],
    ['/admin.', ['/admin.', '/admin']],
    ['/admin%20/x', ['/admin /x', '/admin/x']],
    ['/admin::$DATA', ['/admin::$DATA', '/admin']],
    ['/%EF%BD%81dmin', ['/ａdmin', '/admin']],
    ['/cafe%CC%81', ['/cafe\u0301', '/café']],
    ['/a;%2fb/x%2fy', ['/a;%2Fb/x%2Fy', '/a;/b/x/y', '/a/x%2Fy', '/a/x/y', '/a/b/x/y']],
  ])('%p has several', (path, readings) => {
    expect(new Set(paths(path))).toEqual(new Set(readings));
  });

  it.each([
    'admin',
    '*',
    'host:443',
    '//admin',
    '//host/admin',
    '/\\admin',
    '/;/admin',
    '/%2fadmin',
    '/%5cadmin',
    '/.',
    '/..',
    '/x/../admin',
    '/x/./admin',
    '/x/%2e%2e/admin',
    '/x/.%2E/admin',
    '/x/..%2fadmin',
    '/x/..%5cadmin',
    '/x/..\\admin',
    '/x/..;/admin',
    '/x/..;a=b/admin',
    '/x/%2e%2e%3b/admin',
    '/x/%252e%252e/admin',
    '/x/%25252e%25252e/admin',
    '/x/... /admin',
    '/x/..%20/admin',
    '/x/%EF%BC%8E%EF%BC%8E/admin',
    '/x%EF%BC%8F..%EF%BC%8Fadmin',
    '/admin%00',
    '/admin%2500',
    '/admin%0a',
    '/admin%7f',
    '/%',
    '/%zz',
    '/%u0061dmin',
    '/%c0%afadmin',
    '/%e9',
    '/\u0101',
    '/a%25252525252525252525252525252525252525b',
    '/;a//b%3b%2fc%255c%20/d%3f%23.\\;',
  ])('cannot be told of %p', (path) => {
    expect(paths(path)).toBeUndefined();
  });

  it('is read in bounded time, whatever it is', () => {
    const parts = ['%2f', ';', '\\', '//', '%25', '.', '%20', ':$', '%EF%BC%8F', 'a'];
    for (const part of parts) {
      for (const more of parts) {
        const path = `/${(part + more).repeat(16_000 / (part.length + more.length))}`;
        expect(cpuMilliseconds(() => readingsOf(path))).toBeLessThan(250);
      }
    }
  });

  it('has what servers make of it among its readings', () => {
    const strip = (text: string) => text.replace(/;[^/]*/g, '');
    const merge = (text: string) => text.replace(/\/+/g, '/').replace(/(?<=.)\/$/, '');
    const servers = [
      (text: string) => merge(decodeURIComponent(text)),
      (text: string) => merge(strip(decodeURIComponent(text))),
      (text: string) => merge(decodeURIComponent(strip(text))),
      (text: string) => merge(decodeURIComponent(text).replaceAll('\\', '/')),
    ];
    const pieces = ['a', '/', '.', '..', ';', '\\', '%2f', '%5c', '%2e', '%25', '%3b', '%20', ':$'];
    let told = 0;
    const some = fc.array(fc.constantFrom(...pieces), { maxLength: 10 });
    fc.assert(
      fc.property(some, (parts) => {
        const path = `/${parts.join('')}`;
        const readings = paths(path);
        if (readings === undefined) return;
        told++;
        for (const server of servers) expect(readings).toContain(server(path));
        expect(readings.join('\n')).not.toMatch(/\/\.{1,2}(?:\/|$)/m);
      }),
      { numRuns: 500 },
    );
    expect(told).toBeGreaterThan(100);
  });
});

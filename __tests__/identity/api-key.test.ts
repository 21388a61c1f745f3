import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  type ApiKeyOptions,
  apiKey,
  authenticate,
  forwardProxy,
  type Handler,
  rewriteUrl,
} from 'headrace';
import { queryValue, withoutQuery } from '../../src/exchange/query.js';
import { rawRequest } from '../helpers/client.js';
import { guarded, show } from '../helpers/identity.js';
import { request } from '../helpers/requests.js';
import { gateway, type Middleware } from '../helpers/servers.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const lookup = { [sha256('k-123')]: { subject: 'billing', claims: { plan: 'gold' } } };

describe('apiKey', () => {
  it.each([
    [{}, 'apiKey: lookup must be an object or a function, received undefined'],
    [{ lookup: ['x'] }, 'apiKey: lookup must be an object or a function, received an array of 1'],
    [{ lookup: { 'k-123': 'a' } }, 'apiKey: lookup must have keys by their SHA-256 in hex, rece'],
    [{ lookup: { [sha256('a')]: {} } }, 'apiKey: lookup must give a name or { subject, claims }'],
    [
      { lookup: { [sha256('a')]: { subject: 'a', claims: 'admin' } } },
      'apiKey: lookup must give a name or { subject, claims }',
    ],
    [{ lookup, header: 'a', query: 'b' }, 'apiKey: takes header or query'],
    [{ lookup, header: null }, 'apiKey: header[0] must be a field name, received null'],
    [{ lookup, header: 'a b' }, 'apiKey: header[0] must be a field name, received "a b"'],
    [{ lookup, query: '' }, 'apiKey: query must be a name, received ""'],
    [{ lookup, forward: 1 }, 'apiKey: forward must be true or false, received 1'],
    [{ lookup, querry: 'a' }, 'apiKey: unknown option "querry", did you mean "query"?'],
  ])('refuses %j', (options, message) => {
    expect(() => apiKey(options as unknown as ApiKeyOptions)).toThrow(message);
  });

  it('knows a client by the key in a field, and keeps it to itself', async () => {
    const { pass, get } = await guarded([apiKey({ lookup })]);
    const { identity, headers } = await pass('X-API-Key: k-123');
    expect(identity).toEqual({
      subject: 'billing',
      claims: { plan: 'gold' },
      scheme: 'api-key',
    });
    expect(headers).not.toHaveProperty('x-api-key');
    for (const line of [
      'X-API-Key: k-124',
      'X-API-Key: K-123',
      'X-API-Key:',
      `X-API-Key: ${sha256('k-123')}`,
      `X-API-Key: ${'x'.repeat(1_025)}`,
      'X_API_Key: k-123',
      'X-API-Key: k-123\r\nX-API-Key: k-123',
      'X-API-Key: k-123\r\nConnection: x-api-key',
    ]) {
      const { status, header } = await get(line);
      expect([status, header('www-authenticate')]).toEqual([401, 'ApiKey realm="gateway"']);
    }
  });

  it.each<[string, ApiKeyOptions['lookup'], number]>([
    ['a name', () => 'billing', 200],
    ['an owner', async () => ({ subject: 'billing' }), 200],
    ['nothing', () => undefined, 401],
    ['nothing later', async () => null, 401],
    ['something else', () => ({}) as never, 503],
    ['a failure', () => Promise.reject(new Error('down')), 503],
  ])('asks a function by the hash of the key: %s', async (_what, find, expected) => {
    const asked: string[] = [];
    const ask: ApiKeyOptions['lookup'] = (hash) => {
      asked.push(hash);
      return (find as (hash: string) => undefined)(hash);
    };
    const { get } = await guarded([apiKey({ lookup: ask, header: 'X-Key' })]);
    expect((await get('x-key: k-123')).status).toBe(expected);
    expect(asked).toEqual([sha256('k-123')]);
  });

  it('takes the key in the query out of the path that is forwarded', async () => {
    const { port } = await guarded([apiKey({ lookup, query: 'key' })]);
    const send = async (path: string) => rawRequest(port, request(`GET ${path}`));
    const pathOf = async (path: string) => JSON.parse((await send(path)).body).path;
    expect(await pathOf('/a?key=k-123')).toBe('/a');
    expect(await pathOf('/a?b=%2f&key=k-123&c')).toBe('/a?b=%2f&c');
    expect(await pathOf('/a?%6bey=k%2D123&b')).toBe('/a?b');
    expect((await send('/a?key=k-123&key=k-123')).status).toBe(401);
    expect((await send('/a?key=k-123&k%65y=')).status).toBe(401);
    expect((await send('/a?key=%ff')).status).toBe(401);
    expect((await send('/a?KEY=k-123')).status).toBe(401);
    expect(await pathOf('http://gateway/a?key=k-123')).toBe('/a');
    // Of a forward proxy, it is another server's.
    forwardProxy();
    expect((await send('http://origin.example/a?key=k-123')).status).toBe(407);
  });

  it('leaves the path to routers, wherever it stands', async () => {
    const gate = authenticate(apiKey({ lookup, query: 'key' }));
    const mounted = (mount: string, piece: Handler) => express().use(mount, piece);
    const rename: Handler = (req, _res, next) => {
      req.url = req.url?.replace('users', 'people');
      next?.();
    };
    const pathOf = async (...pieces: Middleware[]) => {
      const { port } = await gateway('express 5', ...pieces, show);
      const { body } = await rawRequest(port, request('GET /api/users?key=k-123&b=c'));
      return JSON.parse(body).path;
    };
    expect(await pathOf(mounted('/api', gate))).toBe('/api/users?b=c');
    expect(await pathOf(gate, mounted('/api', show))).toBe('/users?b=c');
    expect(await pathOf(gate, rename)).toBe('/api/people?b=c');
    expect(await pathOf(rewriteUrl({ '^/api': '' }), gate)).toBe('/users?b=c');
    expect(await pathOf(gate, rewriteUrl({ '^/api': '' }))).toBe('/users?b=c');
  });

  it('forwards the key when asked to', async () => {
    const inField = await guarded([apiKey({ lookup, forward: true })]);
    expect((await inField.pass('X-API-Key: k-123')).headers['x-api-key']).toBe('k-123');
    const { port } = await guarded([apiKey({ lookup, query: 'key', forward: true })]);
    const { body } = await rawRequest(port, request('GET /a?key=k-123'));
    expect(JSON.parse(body).path).toBe('/a?key=k-123');
  });
});

describe('a query parameter', () => {
  it.each([
    ['/a', undefined, '/a'],
    ['/a?', undefined, '/a'],
    ['/a?k', '', '/a'],
    ['/a?k=', '', '/a'],
    ['/a?k=a+b%20c', 'a b c', '/a'],
    ['/a?k=1&k=2', null, '/a'],
    ['/a?k=%', null, '/a'],
    ['/a?%=1&k=2', '2', '/a?%=1'],
    ['/a?b&&k=1&', '1', '/a?b&&'],
    ['/a?x=?k=1', undefined, '/a?x=?k=1'],
    ['/a?kk=1', undefined, '/a?kk=1'],
    ['/a?k=1#k=2', '1', '/a'],
  ])('in %s', (path, value, rest) => {
    expect(queryValue(path, 'k')).toBe(value);
    if (value !== undefined) expect(withoutQuery(path, 'k')).toBe(rest);
  });
});

import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  type AssertIdentityOptions,
  assertIdentity,
  exchangeOf,
  type Handler,
  type Identity,
  proxyPass,
} from 'headrace';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { rawRequest } from '../helpers/client.js';
import { testClock } from '../helpers/exchanges.js';
import { request as bytesOf, onlyRequest, requestsOf } from '../helpers/requests.js';
import {
  closeAfter,
  frameworks,
  gateway,
  type Middleware,
  rawUpstream,
} from '../helpers/servers.js';

const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const ed25519 = () => generateKeyPairSync('ed25519').privateKey;
const keys = { ec: p256(), ed: ed25519() };

const ada: Identity = {
  subject: 'ada',
  claims: {
    groups: ['admin', 'a, b'],
    name: 'Ada Lovelace',
    city: '東京 100%',
    deep: { a: 1 },
    level: 3,
  },
  scheme: 'bearer',
};

/** Stands for `authenticate()`. */
const identify =
  (identity: Identity | undefined): Handler =>
  (req, res, next) => {
    exchangeOf(req, res).identity = identity;
    next?.();
  };

async function asserting(
  options: Partial<AssertIdentityOptions> = {},
  {
    identity = ada as Identity | null,
    framework = 'express 5' as (typeof frameworks)[number],
  } = {},
) {
  const upstream = await rawUpstream();
  const assertion = assertIdentity({ signingKey: keys.ed, ...options });
  const pass = proxyPass(upstream.url);
  closeAfter(() => pass.close());
  const serveKeys: Middleware = (req, res, next) =>
    req.url === '/jwks' ? assertion.jwksHandler()(req, res) : next();
  const { port, url } = await gateway(
    framework,
    serveKeys,
    identify(identity ?? undefined),
    assertion,
    pass,
  );
  const ask = (...headers: string[]) => rawRequest(port, bytesOf('GET /', headers));
  return { upstream, assertion, ask, port, jwks: new URL(`${url}/jwks`) };
}

const claimsOf = (token = '') =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

describe('assertIdentity', () => {
  const signingKey = keys.ed;
  it.each<[unknown, string]>([
    [undefined, 'assertIdentity: options must be an object, received undefined'],
    [{}, 'assertIdentity: signingKey must be a private key, as KeyObject, PEM or JWK'],
    [
      { signingKey: 'secret' },
      'assertIdentity: signingKey must be a private key, as KeyObject, PEM or JWK',
    ],
    [{ signingKey: [] }, 'assertIdentity: signingKey must have a key, received an empty list'],
    [{ signingKey: [signingKey, {}] }, 'assertIdentity: signingKey[1] must be a private key'],
    [
      { signingKey: generateKeyPairSync('ed25519').publicKey },
      'assertIdentity: signingKey must be a private key',
    ],
    [
      { signingKey: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey },
      'assertIdentity: signingKey must be a key of P-256 or Ed25519, received ec secp384r1',
    ],
    [{ signingKey, header: 'x_user' }, 'assertIdentity: header cannot have "x_user"'],
    [{ signingKey, header: 'Connection' }, 'assertIdentity: header cannot have "connection"'],
    [{ signingKey, headers: { host: 'sub' } }, 'assertIdentity: headers cannot have "host"'],
    [
      { signingKey, headers: { 'x-a': 'a', 'X-A': 'b' } },
      'assertIdentity: headers has "x-a", which is taken',
    ],
    [
      { signingKey, headers: { 'x-a': 5 } },
      'assertIdentity: headers["x-a"] must be text, received 5',
    ],
    [{ signingKey, headers: [] }, 'assertIdentity: headers must be an object of fields and claims'],
    [
      { signingKey, headers: new Map([['x-user', 'sub']]) },
      'assertIdentity: headers must be an object of fields and claims, received an instance of Map',
    ],
    [
      { signingKey, claims: 'a' },
      'assertIdentity: claims must be names or a function, received "a"',
    ],
    [{ signingKey, claims: ['exp'] }, 'assertIdentity: claims[0] must be a claim of the client'],
    [{ signingKey, issuer: '' }, 'assertIdentity: issuer must be text, received ""'],
    [{ signingKey, audience: 5 }, 'assertIdentity: audience must be text, received 5'],
    [{ signingKey, ttlMs: 5 }, 'assertIdentity: ttlMs must be a whole number from 1000'],
    [{ signingKey, now: 5 }, 'assertIdentity: now must be a function, received 5'],
    [{ signingKey, key: 5 }, 'assertIdentity: unknown option "key"'],
  ])('refuses %#', (options, message) => {
    expect(() => assertIdentity(options as AssertIdentityOptions)).toThrow(message);
  });

  it('shows nothing of a key that is none', () => {
    const pem = keys.ec.export({ format: 'pem', type: 'pkcs8' }).toString();
    const { d = '', ...jwk } = keys.ec.export({ format: 'jwk' });
    for (const bad of [pem.slice(0, -60), { ...jwk, d, x: 'AA' }, { kty: 'oct', k: d }]) {
      let message = '';
      try {
        assertIdentity({ signingKey: bad });
      } catch (error) {
        message = String(error);
      }
      expect(message).toMatch(/must be a private key/);
      expect(message).not.toContain(pem.slice(40, 60));
      expect(message).not.toContain(String(d).slice(0, 10));
    }
  });

  it.each<[string, KeyObject, (key: KeyObject) => AssertIdentityOptions['signingKey']]>([
    ['ES256', keys.ec, (key) => key],
    ['EdDSA', keys.ed, (key) => key.export({ format: 'pem', type: 'pkcs8' }).toString()],
    ['ES256', keys.ec, (key) => ({ ...key.export({ format: 'jwk' }), kid: 'mine' })],
  ])('signs with %s what the keys it serves verify', async (alg, key, form) => {
    const options = { claims: ['groups', 'none'], issuer: 'edge', audience: 'shop' };
    const { upstream, ask, jwks } = await asserting({ signingKey: form(key), ...options });
    await ask();

    const [token = ''] = onlyRequest(upstream).lines('x-headrace-assertion');
    const checks = { issuer: 'edge', audience: 'shop', algorithms: [alg] };
    const { payload, protectedHeader } = await jwtVerify(token, createRemoteJWKSet(jwks), checks);
    const { iat = 0, exp = 0, ...claims } = payload;
    expect(claims).toEqual({ iss: 'edge', aud: 'shop', sub: 'ada', groups: ['admin', 'a, b'] });
    expect(Math.abs(iat - Date.now() / 1_000)).toBeLessThan(30);
    expect([60, 61]).toContain(exp - iat);
    expect(protectedHeader).toMatchObject({ alg, typ: 'JWT', kid: expect.any(String) });
  });

  it('serves public keys alone, to those that only read', async () => {
    const { port, jwks } = await asserting({ signingKey: [keys.ed, keys.ec] });
    const response = await fetch(jwks);
    expect(response.headers.get('cache-control')).toBe('public, max-age=300');
    const { keys: served } = (await response.json()) as { keys: Record<string, string>[] };
    expect(served.map(({ alg, use, d }) => [alg, use, d])).toEqual([
      ['EdDSA', 'sig', undefined],
      ['ES256', 'sig', undefined],
    ]);
    const refused = await rawRequest(port, bytesOf('POST /jwks'));
    expect([refused.status, refused.header('allow')]).toEqual([405, 'GET, HEAD']);
  });

  it.each(frameworks)(
    'lets nothing of the client through under its names, in %s',
    async (framework) => {
      const headers = { 'x-user': 'sub', 'X-Groups': 'groups', 'x-none': 'none' };
      const forged = [
        'X-Headrace-Assertion: forged.a.b',
        'x-headrace-assertion: forged.c.d',
        'X_Headrace_Assertion: forged.e.f',
        'X-HEADRACE_ASSERTION: forged.e.f',
        'X.Headrace.Assertion: forged.e.f',
        'X-User: forged',
        'x_user: forged',
        'X-User: forged',
        'X-Groups: forged',
        'X-None: forged',
        'X_None: forged',
        'Connection: X-User, X-Headrace-Assertion, X-Groups',
        'Connection: x-user',
      ];
      const known = await asserting({ headers }, { framework });
      await known.ask(...forged);
      const unknown = await asserting({ headers }, { framework, identity: null });
      await unknown.ask(...forged);

      expect(known.upstream.received() + unknown.upstream.received()).not.toContain('forged');
      const request = onlyRequest(known.upstream);
      expect(request.lines('x-user')).toEqual(['ada']);
      expect(request.lines('x-groups')).toEqual(['admin,a%2C b']);
      expect(claimsOf(request.lines('x-headrace-assertion')[0])).toMatchObject({ sub: 'ada' });
      expect(request.lines('x-headrace-assertion')).toHaveLength(1);
      const names = onlyRequest(unknown.upstream).headers.map(([name]) => name.toLowerCase());
      expect(names.filter((name) => /user|groups|none|assertion/.test(name))).toEqual([]);
    },
  );

  it('puts claims into fields so that they can be taken out again', async () => {
    const headers = { 'x-city': 'city', 'x-name': 'name', 'x-level': 'level', 'x-deep': 'deep' };
    const { upstream, ask } = await asserting({ headers: { ...headers, 'x-own': 'constructor' } });
    await ask('X-Deep: 1', 'X-Own: 1');

    const request = onlyRequest(upstream);
    expect(decodeURIComponent(request.header('x-city') ?? '')).toBe('東京 100%');
    expect(request.header('x-city')).toMatch(/^[\x21-\x7e ]+$/);
    expect(request.header('x-name')).toBe('Ada Lovelace');
    expect(request.header('x-level')).toBe('3');
    expect([request.header('x-deep'), request.header('x-own')]).toEqual([undefined, undefined]);
  });

  it('cannot be made to send another field by what a claim has in it', async () => {
    const subject = ' a\r\nX-Evil: 1\u0000\ud800 ';
    const identity = { ...ada, subject };
    const { upstream, ask } = await asserting({ headers: { 'x-user': 'sub' } }, { identity });
    await ask();
    expect(onlyRequest(upstream).header('x-user')).toBe('%20a%0D%0AX-Evil: 1%00%EF%BF%BD%20');
  });

  it('says one and the same of who the client is', async () => {
    const identity = { ...ada, claims: { ...ada.claims, sub: '7f3e-root' } };
    const { upstream, ask } = await asserting({ headers: { 'x-user': 'sub' } }, { identity });
    await ask();
    const sent = onlyRequest(upstream);
    const [, payload = ''] = sent.header('x-headrace-assertion')?.split('.') ?? [];
    const { sub } = JSON.parse(Buffer.from(payload, 'base64url').toString());
    expect([sent.header('x-user'), sub]).toEqual(['ada', 'ada']);
  });

  it.each<[string, () => unknown]>([
    ['a promise', async () => ({ role: 'admin' })],
    ['a promise that rejects', async () => Promise.reject(new Error('of the user'))],
    ['a Map', () => new Map([['role', 'admin']])],
    ['nothing', () => undefined],
  ])('signs nothing where the function for claims gives %s', async (_what, claims) => {
    const { upstream, ask } = await asserting({ claims: claims as never });
    expect((await ask()).status).toBe(500);
    expect(upstream.received()).toBe('');
  });

  it('sends one assertion for half of the time for which it holds good', async () => {
    const now = testClock();
    const { upstream, ask } = await asserting({ now, ttlMs: 10_000 });
    await ask();
    now.advance(4_999);
    await ask();
    now.advance(1);
    await ask();

    const tokens = requestsOf(upstream).map((one) => one.header('x-headrace-assertion'));
    expect(tokens[1]).toBe(tokens[0]);
    expect(claimsOf(tokens[0])).toMatchObject({ iat: 1, exp: 11 });
    expect(claimsOf(tokens[2])).toMatchObject({ iat: 6, exp: 16 });
  });

  it('signs for each client by itself, and for what has changed', async () => {
    const claims = ({ subject }: Identity, req: { url?: string }) => ({
      subject,
      at: req.url,
      sub: 'x',
      exp: 1,
    });
    const { upstream, ask, port } = await asserting({ claims: claims as never });
    await ask();
    await rawRequest(port, bytesOf('GET /other'));
    const said = requestsOf(upstream).map((one) => claimsOf(one.header('x-headrace-assertion')));
    expect(said.map(({ sub, at, exp }) => [sub, at, exp > 1])).toEqual([
      ['ada', '/', true],
      ['ada', '/other', true],
    ]);
  });

  it('signs with the new key once it is told to, and goes on to publish the old one', async () => {
    const { upstream, assertion, ask, jwks } = await asserting({ signingKey: keys.ed });
    await ask();
    assertion.rotate([keys.ec, keys.ed]);
    await ask();

    const tokens = requestsOf(upstream).map((one) => one.header('x-headrace-assertion') ?? '');
    const heads = tokens.map((one) =>
      JSON.parse(Buffer.from(one.split('.')[0] ?? '', 'base64url').toString()),
    );
    expect(heads.map(({ alg }) => alg)).toEqual(['EdDSA', 'ES256']);
    for (const token of tokens) await jwtVerify(token, createRemoteJWKSet(jwks));
    expect(() => assertion.rotate([])).toThrow('assertIdentity: rotate() must have a key');
  });

  it('refuses the request when there is too much to say, or the function fails', async () => {
    const long = await asserting({ claims: () => ({ groups: 'x'.repeat(9_000) }) });
    const failing = await asserting({
      claims: () => {
        throw new Error('oops');
      },
    });
    expect((await long.ask()).status).toBe(500);
    expect((await failing.ask()).status).toBe(500);
    expect(long.upstream.received() + failing.upstream.received()).toBe('');
  });
});

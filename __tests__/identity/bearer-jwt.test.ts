import { createHmac, generateKeyPairSync, webcrypto } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { type BearerJwtOptions, bearerJwt, type JwksOptions } from 'headrace';
import * as jose from 'jose';
import { SignJWT, UnsecuredJWT } from 'jose';
import { usableKeys } from '../../src/identity/jwt-keys.js';
import { RemoteKeys } from '../../src/identity/remote-keys.js';
import { bearer, guarded, type Issuer, issuer, NOW } from '../helpers/identity.js';
import { serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

let first: Issuer;
let second: Issuer;
beforeAll(() => {
  first = issuer('first');
  second = issuer('second', 'bob');
});

const settings = (): BearerJwtOptions => ({
  keys: [first.jwk],
  algorithms: ['ES256'],
  now: () => NOW,
});

/** A gateway that believes tokens of the first issuer. */
const gatewayWith = (options: Partial<BearerJwtOptions> = {}) =>
  guarded([bearerJwt({ ...settings(), ...options })]);

/** A token put together by hand. */
const forged = (header: object, claims: object, sign: (input: string) => string): string => {
  const input = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${input}.${sign(input)}`;
};

describe('bearerJwt', () => {
  const keys = [generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey];
  const secret = 'x'.repeat(32);
  const pem = keys[0]?.export({ type: 'spki', format: 'pem' }) as string;

  it.each([
    [undefined, 'bearerJwt: options must be an object, received undefined'],
    [{ keys }, 'bearerJwt: algorithms must be an array of algorithms, such as ["ES256"], received'],
    [{ keys, algorithms: [] }, 'algorithms must be an array of algorithms'],
    [{ keys, algorithms: ['none'] }, 'algorithms[0] must be one for public keys (RS256,'],
    [{ secret, algorithms: ['none'] }, 'algorithms[0] must be one for a secret (HS256,'],
    [{ keys, algorithms: ['ES256', 'HS256'] }, 'algorithms[1] must be one for public keys'],
    [{ secret, algorithms: ['HS256', 'RS256'] }, 'algorithms[1] must be one for a secret'],
    [{ algorithms: ['ES256'] }, 'needs one of jwksUrl, keys and secret, received none'],
    [{ keys, secret, algorithms: ['ES256'] }, 'needs one of jwksUrl, keys and secret, received 2'],
    [{ secret: pem, algorithms: ['HS256'] }, 'secret is a key in PEM; give public keys as "keys"'],
    [{ secret: keys[0], algorithms: ['HS256'] }, 'secret must be a secret, received a public key'],
    [{ secret: 'short', algorithms: ['HS256'] }, 'secret must have at least 32 bytes for HS256'],
    [
      { secret, algorithms: ['HS512'] },
      'secret must have at least 64 bytes for HS512, received 32',
    ],
    [{ keys: [], algorithms: ['ES256'] }, 'keys must be an array of public keys'],
    [{ keys: ['x'], algorithms: ['ES256'] }, 'keys[0] must be a public key as a JWK, PEM or key'],
    [{ keys, algorithms: ['RS256'] }, 'keys must have a key for RS256, received none'],
    [{ keys: [{ kty: 'oct', k: 'eA' }], algorithms: ['ES256'] }, 'keys[0] is a private key or a'],
    [{ jwksUrl: 'ftp://a', algorithms: ['ES256'] }, 'jwksUrl must be an http(s) URL without'],
    [{ jwksUrl: 'https://me:secret@a', algorithms: ['ES256'] }, 'received "https://***@a"'],
    [{ keys, algorithms: ['ES256'], jwks: {} }, 'jwks is about the keys at jwksUrl'],
    [{ keys, algorithms: ['ES256'], issuer: '' }, 'issuer must be a string or an array of them'],
    [
      { keys, algorithms: ['ES256'], audience: [] },
      'audience must be a string or an array of them',
    ],
    [{ keys, algorithms: ['ES256'], realm: 'a"b' }, 'realm must be printable ASCII without quotes'],
    [
      { keys, algorithms: ['ES256'], audiance: 'a' },
      'unknown option "audiance", did you mean "aud',
    ],
    [
      { jwksUrl: 'http://a', algorithms: ['ES256'], jwks: { timeoutMs: 0 } },
      'jwks.timeoutMs must be a whole number from 1',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => bearerJwt(options as unknown as BearerJwtOptions)).toThrow(message);
  });

  it('knows a client by its token', async () => {
    const { pass } = await gatewayWith({ issuer: ['https://id.example'], audience: 'orders' });
    const claims = { iss: 'https://id.example', aud: ['orders', 'bills'], roles: ['admin'] };
    const token = await first.token(claims);
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      const { identity, headers } = await pass(`Authorization: ${scheme} ${token}`);
      expect(identity).toEqual({
        subject: 'ada',
        scheme: 'bearer',
        claims: { ...claims, sub: 'ada', exp: NOW / 1_000 + 3_600 },
      });
      expect(headers.authorization).toBe(`${scheme} ${token}`);
    }
  });

  it('keeps the token to itself when asked to, also when it knows it already', async () => {
    const { pass } = await gatewayWith({ forward: false });
    const token = await first.token();
    for (const _ of [1, 2]) {
      expect((await pass(bearer(token))).headers).not.toHaveProperty('authorization');
    }
  });

  it.each<[string, object | undefined, object, string]>([
    ['has expired', { exp: NOW / 1_000 - 1 }, {}, 'expired'],
    ['expires now', { exp: NOW / 1_000 }, {}, 'expired'],
    ['never expires', { exp: undefined }, {}, 'claim exp'],
    ['is not valid yet', { nbf: NOW / 1_000 + 1 }, {}, 'not yet valid'],
    ['is for another audience', { aud: 'bills' }, {}, 'claim aud'],
    ['is from another issuer', { iss: 'https://evil.example' }, {}, 'claim iss'],
    ['has no subject that is a name', { sub: 5 }, {}, 'claim sub'],
    ['is of another type', undefined, { typ: 'dpop+jwt' }, 'claim typ'],
    ['has critical extensions', undefined, { crit: ['x'], x: 1 }, 'not supported'],
    ['names a key that is not there', undefined, { kid: 'third' }, 'unknown key'],
  ])('refuses a token that %s', async (_what, claims, header, reason) => {
    const { get, reason: why } = await gatewayWith({
      issuer: 'https://id.example',
      audience: 'orders',
      typ: 'at+jwt',
    });
    const good = { iss: 'https://id.example', aud: 'orders' };
    const token = await (Object.hasOwn(header, 'crit')
      ? forged({ alg: 'ES256', kid: 'first', typ: 'at+jwt', ...header }, good, () => 'AAAA')
      : first.token({ ...good, ...claims }, { typ: 'at+jwt', ...header }));
    const { status, header: field, body } = await get(bearer(token));
    expect([status, body]).toEqual([401, 'ERR_PROXY_UNAUTHORIZED']);
    expect(field('www-authenticate')).toBe('Bearer realm="gateway", error="invalid_token"');
    expect(why()).toBe(`bearer: ${reason}`);
  });

  it('allows for clocks that differ', async () => {
    const { get } = await gatewayWith({ clockToleranceMs: 2_000 });
    const statusOf = async (claims: object) =>
      (await get(bearer(await first.token({ ...claims })))).status;
    expect(await statusOf({ exp: NOW / 1_000 - 1 })).toBe(200);
    expect(await statusOf({ exp: NOW / 1_000 - 2 })).toBe(401);
    expect(await statusOf({ nbf: NOW / 1_000 + 2 })).toBe(200);
    expect(await statusOf({ nbf: NOW / 1_000 + 3 })).toBe(401);
  });

  it('takes tokens without an end when no claim is asked for', async () => {
    const { pass } = await gatewayWith({ requiredClaims: [] });
    const token = await first.token({ exp: undefined, sub: undefined });
    expect((await pass(bearer(token))).identity).toEqual({ claims: {}, scheme: 'bearer' });
  });

  it('refuses tokens without a signature, whatever they call it', async () => {
    const { get } = await gatewayWith();
    const claims = { sub: 'root', exp: NOW / 1_000 + 60 };
    const tokens = ['none', 'None', 'NONE', 'nOnE', '', null].map((alg) =>
      forged({ alg, kid: 'first' }, claims, () => ''),
    );
    for (const token of [new UnsecuredJWT(claims).encode(), ...tokens]) {
      expect((await get(bearer(token))).status).toBe(401);
    }
  });

  it('refuses a token signed with the public key as a secret', async () => {
    const pems = [
      first.publicKey.export({ type: 'spki', format: 'pem' }),
      JSON.stringify(first.jwk),
    ];
    const { get, reason } = await gatewayWith();
    for (const text of pems) {
      const sign = (input: string) => createHmac('sha256', text).update(input).digest('base64url');
      const claims = { sub: 'root', exp: NOW / 1_000 + 60 };
      const { status } = await get(bearer(forged({ alg: 'HS256', kid: 'first' }, claims, sign)));
      expect([status, reason()]).toEqual([401, 'bearer: algorithm not allowed']);
    }
  });

  it('refuses a token whose key comes along with it', async () => {
    const { get } = await gatewayWith();
    const token = await second.token({ sub: 'root' }, { jwk: second.jwk, kid: undefined });
    expect((await get(bearer(token))).status).toBe(401);
    const named = await second.token({ sub: 'root' }, { jwk: second.jwk, kid: 'first' });
    expect((await get(bearer(named))).status).toBe(401);
  });

  it.each([
    ['nothing', ''],
    ['words', 'this is no token'],
    ['dots', '..'],
    ['five parts', 'a.b.c.d.e'],
    ['a header that is no JSON', 'AAAA.AAAA.AAAA'],
    ['a header that is no object', `${Buffer.from('[]').toString('base64url')}.AAAA.AAAA`],
    ['bytes', '\x80\xff.\xfe.\x81'],
  ])('refuses %s in place of a token', async (_what, token) => {
    const { get } = await gatewayWith();
    expect((await get(bearer(token))).status).toBe(401);
  });

  it('refuses long tokens unread', async () => {
    const { get, reason } = await gatewayWith({ maxTokenBytes: 2_000 });
    const { status } = await get(bearer(await first.token({ pad: 'x'.repeat(2_000) })));
    expect([status, reason()]).toEqual([401, 'bearer: too long']);
    expect((await get(bearer(`${'x'.repeat(1_048_576)}`))).status).toBe(431);
  });

  it('takes a secret, PEM, key objects and sets of keys', async () => {
    const secret = Buffer.alloc(32, 7);
    const signed = await new SignJWT({ sub: 'ada', exp: NOW / 1_000 + 60 })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(secret);
    const shared = await guarded([bearerJwt({ secret, algorithms: ['HS256'], now: () => NOW })]);
    expect((await shared.pass(bearer(signed))).identity.subject).toBe('ada');
    const pem = first.publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const { jwk } = first;
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
    const key = await webcrypto.subtle.importKey('jwk', jwk, algorithm, true, ['verify']);
    for (const keys of [[pem], [first.publicKey], [jwk], [key], { keys: [jwk] }]) {
      const { pass } = await gatewayWith({ keys });
      expect((await pass(bearer(await first.token()))).identity.subject).toBe('ada');
    }
  });

  it('tries all keys that a token without a name for its own could mean', async () => {
    const { get, pass, reason } = await gatewayWith({ keys: [first.publicKey, second.jwk] });
    expect((await pass(bearer(await second.token({}, { kid: undefined })))).identity.subject).toBe(
      'bob',
    );
    expect((await pass(bearer(await first.token({}, { kid: 'any' })))).identity.subject).toBe(
      'ada',
    );
    const third = issuer('third');
    expect((await get(bearer(await third.token({}, { kid: undefined })))).status).toBe(401);
    expect(reason()).toBe('bearer: wrong signature');
    // A key that has a name is for tokens that say so, or say nothing.
    expect((await get(bearer(await second.token({}, { kid: 'any' })))).status).toBe(401);
  });

  it('remembers a token until it expires', async () => {
    let now = NOW;
    const { get } = await gatewayWith({ now: () => now });
    const token = await first.token();
    expect((await get(bearer(token))).status).toBe(200);
    now = NOW + 3_599_999;
    expect((await get(bearer(token))).status).toBe(200);
    now = NOW + 3_600_000;
    expect((await get(bearer(token))).status).toBe(401);
  });

  it('reads the field as it will be sent on', async () => {
    const { get } = await gatewayWith();
    const token = await first.token();
    expect((await get(bearer(token), 'Connection: Authorization')).status).toBe(401);
    expect((await get(bearer(token), 'Connection: keep-alive, TE')).status).toBe(200);
    const both = await get(bearer(token), bearer('another'));
    expect([both.status, both.body.includes('another')]).toEqual([200, false]);
  });
});

/** A server of keys, and a gateway that fetches them. */
async function published(options: JwksOptions = {}, answer?: RequestListener) {
  const state = {
    keys: [first.jwk] as object[],
    now: NOW,
    asked: 0,
    answer: undefined as RequestListener | undefined,
    errors: [] as string[],
  };
  state.answer = answer;
  const { url } = await serve((req, res) => {
    state.asked += 1;
    if (state.answer) state.answer(req, res);
    else res.end(JSON.stringify({ keys: state.keys }));
  });
  const onError = ({ cause }: Error) => void state.errors.push(String((cause as Error).message));
  const verifier = bearerJwt({
    jwksUrl: url,
    algorithms: ['ES256'],
    now: () => state.now,
    jwks: { onError, ...options },
  });
  const gate = await guarded([verifier]);
  const statusOf = async (token: string) => (await gate.get(bearer(token))).status;
  return { ...gate, state, statusOf };
}

describe('keys that are fetched', () => {
  it('are fetched once, when the first token comes', async () => {
    const { state, statusOf } = await published();
    expect(state.asked).toBe(0);
    const tokens = await Promise.all([1, 2, 3].map((n) => first.token({ n })));
    expect(await Promise.all(tokens.map(statusOf))).toEqual([200, 200, 200]);
    expect(state.asked).toBe(1);
  });

  it('are fetched again when they are old, and for a key that is new', async () => {
    const { state, statusOf } = await published();
    expect(await statusOf(await first.token())).toBe(200);
    state.keys = [first.jwk, second.jwk];
    expect(await statusOf(await second.token())).toBe(200);
    expect(state.asked).toBe(2);
    state.now += 600_000;
    expect(await statusOf(await first.token({ n: 1 }))).toBe(200);
    expect(state.asked).toBe(3);
  });

  it('are fetched once in a while for keys that somebody makes up', async () => {
    const { state, statusOf } = await published();
    expect(await statusOf(await first.token())).toBe(200);
    const tokens = await Promise.all(
      Array.from({ length: 50 }, (_, i) => first.token({}, { kid: `made-up-${i}` })),
    );
    const statuses = await Promise.all(tokens.map(statusOf));
    expect(new Set(statuses)).toEqual(new Set([401]));
    expect(state.asked).toBe(2);
    state.now += 30_000;
    expect(await statusOf(tokens[0] as string)).toBe(401);
    expect(state.asked).toBe(3);
  });

  it('verify at once, while others wait for one that nobody knows', async () => {
    const { state, statusOf } = await published({ timeoutMs: 2_000 });
    expect(await statusOf(await first.token())).toBe(200);
    const waiting: (() => void)[] = [];
    state.answer = (_req, res) => void waiting.push(() => res.end('{"keys":[]}'));
    const unknown = statusOf(await first.token({}, { kid: 'made-up' }));
    await eventually('the fetch', () => state.asked === 2);
    expect(await statusOf(await first.token({ n: 1 }))).toBe(200);
    // It has not waited until the fetch was given up.
    expect(state.errors).toEqual([]);
    for (const answer of waiting) answer();
    expect(await unknown).toBe(503);
  });

  it('leave open whether a key is a new one, as long as they cannot be fetched', async () => {
    const { state, statusOf } = await published();
    expect(await statusOf(await first.token())).toBe(200);
    state.answer = (_req, res) => void res.writeHead(500).end();
    const token = await second.token();
    for (const [wait, asked] of [
      [0, 2],
      [999, 2],
      [1, 3],
      [1_999, 3],
      [1, 4],
    ]) {
      state.now += wait as number;
      expect([await statusOf(token), state.asked]).toEqual([503, asked]);
    }
    state.answer = undefined;
    state.keys = [first.jwk, second.jwk];
    state.now += 4_000;
    expect(await statusOf(token)).toBe(200);
  });

  it('forget the tokens of a key that is gone', async () => {
    const { state, statusOf } = await published();
    const token = await first.token();
    expect(await statusOf(token)).toBe(200);
    state.keys = [second.jwk];
    state.now += 600_000;
    // Known tokens do not wait for the keys, but have them fetched.
    expect(await statusOf(token)).toBe(200);
    await eventually('the fetch', () => state.asked === 2);
    expect(await statusOf(await second.token())).toBe(200);
    expect(await statusOf(token)).toBe(401);
  });

  it('are used on while they cannot be fetched, for a time', async () => {
    const { state, statusOf, get, errors } = await published({ staleMs: 1_000_000 });
    expect(await statusOf(await first.token({ n: 1 }))).toBe(200);
    state.answer = (_req, res) => void res.writeHead(500).end();
    state.now += 600_000;
    expect(await statusOf(await first.token({ n: 2 }))).toBe(200);
    expect(state.errors).toEqual(['answered 500']);
    // The next try is not at once: nobody waits for it in the meantime.
    expect(await statusOf(await first.token({ n: 3 }))).toBe(200);
    expect(state.asked).toBe(2);
    // Whether a new key is one, nobody can say.
    expect(await statusOf(await second.token())).toBe(503);
    state.now += 1_000_000;
    const token = await first.token({ n: 4 });
    const { status, body } = await get(bearer(token));
    expect([status, body]).toEqual([503, 'ERR_PROXY_AUTH_UNAVAILABLE']);
    expect(errors.at(-1)?.headers).toBeUndefined();
    state.answer = undefined;
    state.now += 30_000;
    expect(await statusOf(token)).toBe(200);
  });

  it('are tried for less and less often', async () => {
    const { state, statusOf } = await published({}, (_req, res) => void res.destroy());
    const token = await first.token();
    for (const [wait, asked] of [
      [0, 1],
      [999, 1],
      [1, 2],
      [1_999, 2],
      [1, 3],
    ]) {
      state.now += wait as number;
      expect(await statusOf(token)).toBe(503);
      expect(state.asked).toBe(asked);
    }
  });

  it.each<[string, RequestListener, string]>([
    [
      'redirects',
      (_req, res) => void res.writeHead(302, { location: '/jwks' }).end(),
      'answered 302',
    ],
    ['are no JSON', (_req, res) => void res.end('<html>'), 'Unexpected token'],
    ['are no keys', (_req, res) => void res.end('{"keys":{}}'), 'something that is no JWK set'],
    ['are none', (_req, res) => void res.end('{"keys":[]}'), 'answered with no usable key'],
    ['are null', (_req, res) => void res.end('{"keys":[null]}'), 'answered with no usable key'],
    [
      'are secrets',
      (_req, res) => void res.end('{"keys":[{"kty":"oct","k":"eA"}]}'),
      'no usable key',
    ],
    ['are many', (_req, res) => void res.end(`{"keys":[${'{},'.repeat(100)}{}]}`), 'with 101 keys'],
    ['are huge', (_req, res) => void res.end(' '.repeat(262_145)), 'more than 262144 bytes'],
    ['never come', () => {}, 'no whole answer within 50 ms'],
    ['come slowly', (_req, res) => void res.write('{'), 'no whole answer within 50 ms'],
  ])('give 503 when they %s', async (what, answer, message) => {
    const timeoutMs = /never|slowly/.test(what) ? 50 : 5_000;
    const { state, get } = await published({ timeoutMs }, answer);
    const { status } = await get(bearer(await first.token()));
    expect([status, state.asked]).toEqual([503, 1]);
    expect(state.errors).toEqual([expect.stringContaining(message)]);
  });

  it('are passed over when verifying with them would take too long', () => {
    const usual = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey;
    const jwk = usual.export({ format: 'jwk' });
    const long = { ...jwk, n: 'x'.repeat(1_401) };
    expect(usableKeys({ keys: [long, jwk] })).toEqual({ keys: [jwk] });
  });

  it('are passed over when they are too short for any algorithm', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const short = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey;
    const jwk = publicKey.export({ format: 'jwk' });
    const weak = short.export({ format: 'jwk' });
    expect(usableKeys({ keys: [weak, jwk] })).toEqual({ keys: [jwk] });
    const token = await new SignJWT({ sub: 'ada', exp: NOW / 1_000 + 60 })
      .setProtectedHeader({ alg: 'RS256' })
      .sign(privateKey);
    const keys = [weak, jwk];
    const { pass } = await guarded([bearerJwt({ keys, algorithms: ['RS256'], now: () => NOW })]);
    expect((await pass(bearer(token))).identity.subject).toBe('ada');
  });

  it('do not keep more than a thousand waiting', async () => {
    const { url } = await serve(() => {});
    const limits = { timeoutMs: 50, maxBytes: 1, dispatcher: undefined };
    const ages = { maxAgeMs: 1, staleMs: 1, cooldownMs: 1 };
    const rest = { now: () => NOW, onError: undefined, onChange: () => {} };
    const keys = new RemoteKeys({ url, ...limits, ...ages, ...rest });
    const found = Array.from({ length: 1_001 }, () => keys.find(jose, { alg: 'ES256' }));
    const reasons = (await Promise.allSettled(found)).map((one) =>
      one.status === 'rejected' ? String(one.reason) : 'found',
    );
    expect(reasons[999]).toBe('Error: bearerJwt: the keys could not be fetched');
    expect(reasons[1_000]).toBe('Error: bearerJwt: too many requests wait for keys');
  });

  it('are used on by those who would be one too many', async () => {
    let now = NOW;
    let hangs = false;
    const { url } = await serve((_req, res) => {
      if (!hangs) res.end(JSON.stringify({ keys: [first.jwk] }));
    });
    const limits = { timeoutMs: 200, maxBytes: 10_000, dispatcher: undefined };
    const ages = { maxAgeMs: 1_000, staleMs: 10_000, cooldownMs: 1 };
    const rest = { now: () => now, onError: undefined, onChange: () => {} };
    const keys = new RemoteKeys({ url, ...limits, ...ages, ...rest });
    const header = { alg: 'ES256', kid: first.kid };
    await keys.find(jose, header);
    hangs = true;
    now += 2_000;
    const found = Array.from({ length: 1_001 }, () => keys.find(jose, header));
    expect(await Promise.race([found[1_000], found[0]])).toBe(await found[1_000]);
    expect((await Promise.allSettled(found)).map(({ status }) => status)).not.toContain('rejected');
  });
});

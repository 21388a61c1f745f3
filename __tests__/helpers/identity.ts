import { generateKeyPairSync, type JsonWebKey, type KeyObject } from 'node:crypto';
import {
  type AuthenticateOptions,
  authenticate,
  exchangeOf,
  type Identity,
  type ProxyError,
  type Verifier,
} from 'headrace';
import { SignJWT } from 'jose';
import { type RawResponse, rawRequest } from './client.js';
import { recordErrors } from './record-errors.js';
import { request } from './requests.js';
import { type Framework, gateway, type Middleware } from './servers.js';

/** What a request that was let through would have taken along. */
export interface Passed {
  readonly identity: Identity;
  readonly headers: Readonly<Record<string, string>>;
  readonly path: string;
}

/** A gateway that shows whom it takes its clients for. */
export interface Guarded {
  readonly port: number;
  /** What clients were refused with. */
  readonly errors: ProxyError[];
  /** The reasons that are for the log alone, of the last refusal. */
  reason(): string;
  /** Sends a GET with these header lines. */
  get(...lines: string[]): Promise<RawResponse>;
  /** Sends a GET that has to be let through. */
  pass(...lines: string[]): Promise<Passed>;
}

/** Answers with what the exchange has become. */
export const show: Middleware = (req, res) => {
  const { identity, headers, path } = exchangeOf(req, res);
  res.end(JSON.stringify({ identity, headers: headers.toJSON(), path }));
};

/** A gateway behind which everything is shown that got past these verifiers. */
export async function guarded(
  rest: readonly Verifier[] | readonly [...Verifier[], AuthenticateOptions],
  framework: Framework = 'connect',
): Promise<Guarded> {
  const { errors, record } = recordErrors();
  const handler = authenticate(...(rest as Verifier[]));
  const tellChallenge: Middleware = (error, _req, res, next) => {
    for (const [name, value] of Object.entries(error.headers ?? {})) res.setHeader(name, value);
    next(error);
  };
  // Four parameters are what makes it one for errors.
  const { port } = await gateway(framework, handler, show, tellChallenge, record);
  const get = (...lines: string[]) => rawRequest(port, request('GET /a?b=c', lines));
  return {
    port,
    errors,
    reason: () => String((errors.at(-1)?.cause as Error | undefined)?.message),
    get,
    async pass(...lines) {
      const { status, body } = await get(...lines);
      if (status !== 200) throw new Error(`refused with ${status}: ${errors.at(-1)?.cause}`);
      return JSON.parse(Buffer.from(body, 'latin1').toString()) as Passed;
    },
  };
}

/** A key of an issuer, and tokens signed with it. */
export interface Issuer {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The public key as an issuer publishes it. */
  readonly jwk: JsonWebKey & { kid: string; alg: string; use: string };
  /** Signs a token with these claims. */
  token(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}

/** An issuer of ES256 tokens; they last for an hour of 2030, see {@link NOW}. */
export function issuer(kid = 'first', sub = 'ada'): Issuer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    kid,
    privateKey,
    publicKey,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' },
    token: (claims = {}, header = {}) =>
      new SignJWT({ sub, exp: NOW / 1_000 + 3_600, ...claims })
        .setProtectedHeader({ alg: 'ES256', kid, ...header })
        .sign(privateKey),
  };
}

/** The time of the tests. */
export const NOW = Date.UTC(2030, 0, 1);

/** The line that brings a token along. */
export const bearer = (token: string): string => `Authorization: Bearer ${token}`;

/** The line that brings name and password along. */
export const basic = (name: string, password: string): string =>
  `Authorization: Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;

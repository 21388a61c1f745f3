import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import type { Identity } from '../exchange/identity.js';
import { fieldText, ownFieldNames } from '../exchange/own-fields.js';
import { type Callback, callable, inspect, isPlain, known, milliseconds } from '../options.js';
import { Assertions } from '../transport/assertions.js';
import { fail } from '../transport/deliver.js';
import type { SigningKey } from '../transport/signer.js';

/** Chooses what an assertion says of a client. */
export type ClaimsFunction = Callback<[identity: Identity, req: IncomingMessage], object>;

/** Options for {@link assertIdentity}. */
export interface AssertIdentityOptions {
  /** The private key, or several: the first one signs, the others are only published. Required. */
  readonly signingKey: SigningKey | readonly SigningKey[];
  /**
   * The field that carries the assertion.
   *
   * @default 'x-headrace-assertion'
   */
  readonly header?: string | undefined;
  /**
   * Claims of the identity that the assertion repeats, beside its subject; or a function that makes them.
   *
   * @default []
   */
  readonly claims?: readonly string[] | ClaimsFunction | undefined;
  /** Fields that carry single claims as they are: `{ 'x-user': 'sub', 'x-groups': 'groups' }`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * Who says so: the claim `iss`.
   *
   * @default 'headrace'
   */
  readonly issuer?: string | undefined;
  /** To whom it is said: the claim `aud`. */
  readonly audience?: string | undefined;
  /**
   * How long an assertion holds good. It is sent again for half of that.
   *
   * @default 60_000
   */
  readonly ttlMs?: number | undefined;
  /** The clock, in milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined;
}

/** An {@link assertIdentity} in place. */
export interface AssertIdentity extends Handler {
  /** A handler that serves the public keys, for upstreams to check assertions with. */
  jwksHandler(): Handler;
  /** Takes other keys: the first one signs from now on, all are published. */
  rotate(signingKey: SigningKey | readonly SigningKey[]): void;
}

const OPTIONS = [
  'signingKey',
  'header',
  'claims',
  'headers',
  'issuer',
  'audience',
  'ttlMs',
  'now',
] as const satisfies readonly (keyof AssertIdentityOptions)[];

/**
 * Tells the upstream who the client is, in a signed token and in plain fields. What the client itself sends
 * under these names never arrives. Place it behind `authenticate()`.
 *
 * @example
 * const assertion = assertIdentity({ signingKey: String(process.env.KEY), claims: ['groups'] });
 * app.get('/.well-known/jwks.json', assertion.jwksHandler());
 * app.use(assertion, proxyPass('http://localhost:3000'));
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function assertIdentity(options: AssertIdentityOptions): AssertIdentity {
  const {
    signingKey,
    header = 'x-headrace-assertion',
    claims = [],
    headers = {},
    issuer = 'headrace',
    audience,
    ttlMs = 60_000,
    now = Date.now,
  } = known('assertIdentity', options, OPTIONS);
  const [field = ''] = ownFieldNames('assertIdentity: header', [header]);
  const plain = plainFields(headers, field);
  const claimsOf = typeof claims === 'function' ? claims : chosen(claims);
  text('assertIdentity: issuer', issuer);
  if (audience !== undefined) text('assertIdentity: audience', audience);
  milliseconds('assertIdentity: ttlMs', ttlMs, 1_000);
  callable('assertIdentity: now', now);
  const settings = { issuer, audience, ttlMs, now };
  const assertions = new Assertions('assertIdentity: signingKey', signingKey, settings);

  const tell = ({ identity, headers: fields, req }: Exchange): void => {
    for (const [name, claim] of plain)
      put(fields, name, identity && fieldText(claimOf(identity, claim)));
    put(
      fields,
      field,
      identity && assertions.about(identity.subject, told(claimsOf(identity, req))),
    );
  };
  const handler: Handler = function assertIdentityMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    try {
      tell(exchange);
    } catch (error) {
      return fail(exchange, error, next);
    }
    next?.();
  };
  return Object.assign(handler, {
    jwksHandler: () => jwksHandler(assertions),
    rotate: (keys: SigningKey | readonly SigningKey[]) =>
      assertions.rotate('assertIdentity: rotate()', keys),
  });
}

/** A promise has no claims, and would be signed as if there were none. */
function told(claims: unknown): Readonly<Record<string, unknown>> {
  if (isPlain(claims)) return claims as Record<string, unknown>;
  throw new TypeError(
    `assertIdentity: claims() must return an object, received ${inspect(claims)}`,
  );
}

/** Without a value, the field is taken out, whoever has set it. */
function put(fields: HeaderOverlay, name: string, value: string | undefined): void {
  if (value === undefined) fields.delete(name);
  else fields.set(name, value);
}

/** The subject is who the assertion is about, whatever claims there are: the two must not differ. */
function claimOf({ claims, subject }: Identity, claim: string): unknown {
  if (claim === 'sub' && subject !== undefined) return subject;
  return Object.hasOwn(claims, claim) ? claims[claim] : undefined;
}

/** Claims that say something of the assertion itself, and not of the client. */
const OWN_CLAIMS = ['iss', 'aud', 'sub', 'exp', 'nbf', 'iat', 'jti'];

function chosen(names: readonly string[]): ClaimsFunction {
  if (!Array.isArray(names)) {
    throw new TypeError(
      `assertIdentity: claims must be names or a function, received ${inspect(names)}`,
    );
  }
  for (const [i, name] of names.entries()) {
    if (typeof name !== 'string' || OWN_CLAIMS.includes(name)) {
      throw new TypeError(
        `assertIdentity: claims[${i}] must be a claim of the client, received ${inspect(name)}`,
      );
    }
  }
  return ({ claims }) =>
    Object.fromEntries(
      names.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]]),
    );
}

function plainFields(headers: Readonly<Record<string, string>>, taken: string): [string, string][] {
  if (!isPlain(headers)) {
    throw new TypeError(
      `assertIdentity: headers must be an object of fields and claims, received ${inspect(headers)}`,
    );
  }
  const names = ownFieldNames('assertIdentity: headers', Object.keys(headers));
  for (const [i, name] of names.entries()) {
    if (name !== taken && names.indexOf(name) === i) continue;
    throw new TypeError(`assertIdentity: headers has "${name}", which is taken`);
  }
  return Object.values(headers).map((claim, i) => {
    text(`assertIdentity: headers["${names[i]}"]`, claim);
    return [names[i] as string, claim];
  });
}

function text(path: string, value: unknown): void {
  if (typeof value === 'string' && value !== '') return;
  throw new TypeError(`${path} must be text, received ${inspect(value)}`);
}

/** Serves the keys. They may be kept for a few minutes: a new one is published before it signs. */
function jwksHandler(assertions: Assertions): Handler {
  return function jwksHandlerMiddleware(req: IncomingMessage, res: ServerResponse) {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.writeHead(405, { Allow: 'GET, HEAD', 'Content-Length': 0 }).end();
      return;
    }
    const body = assertions.jwks;
    res.writeHead(200, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'public, max-age=300',
    });
    res.end(body);
  };
}

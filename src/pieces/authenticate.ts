import type { IncomingMessage } from 'node:http';
import { AuthUnavailableError, type ProxyError, UnauthorizedError } from '../exchange/errors.js';
import { type Exchange, exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { isForProxy, noteForProxy } from '../exchange/for-proxy.js';
import type { Identity } from '../exchange/identity.js';
import { RefusalLog, type Refusals } from '../identity/refusal-log.js';
import type { Verdict, Verifier } from '../identity/verifier.js';
import { callable, flag, inspect, known, milliseconds, refuseRequest } from '../options.js';
import { isPromise } from '../promises.js';
import { fail } from '../transport/deliver.js';

/** Options for {@link authenticate}. */
export interface AuthenticateOptions {
  /**
   * Whether those pass who bring no credentials at all, with no identity. Wrong ones are refused all the same.
   *
   * @default false
   */
  readonly optional?: boolean | undefined;
  /**
   * Is told why clients are refused: of each reason at once, and then once a window, with how many. One that
   * throws or rejects is warned of, and changes no answer.
   */
  readonly log?: ((refusals: Refusals) => void) | undefined;
  /**
   * How long the same reason is only counted.
   *
   * @default 60_000
   */
  readonly logWindowMs?: number | undefined;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/**
 * Lets a request through when a verifier knows who sends it, and puts that on `exchange.identity`. They
 * are asked in order until one does. Otherwise the client gets 401 with a challenge (407 at a forward
 * proxy), or 503 when a verifier cannot tell. Place it first, before everything that works for clients.
 *
 * @example
 * const tokens = bearerJwt({ jwksUrl: 'https://id.example/jwks', algorithms: ['ES256'], audience: 'api' });
 * app.use(authenticate(tokens, clientCertificate()), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError when there is no verifier, or something else among them.
 */
export function authenticate(...verifiers: readonly Verifier[]): Handler;
/** The same, with options after the verifiers. */
export function authenticate(...rest: [...Verifier[], AuthenticateOptions]): Handler;
export function authenticate(...rest: readonly (Verifier | AuthenticateOptions)[]): Handler {
  refuseRequest('authenticate', rest[0]);
  const last = rest.at(-1);
  const hasOptions = typeof last === 'object' && last !== null && !('verify' in last);
  const verifiers = (hasOptions ? rest.slice(0, -1) : rest) as readonly Verifier[];
  checkVerifiers(verifiers);
  const gate = new Gate(verifiers, gateSettings(hasOptions ? last : {}));

  return function authenticateMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    exchange.identity = undefined;
    noteForProxy(req);
    gate.ask(exchange, next);
  };
}

function checkVerifiers(verifiers: readonly Verifier[]): void {
  if (verifiers.length === 0) {
    throw new TypeError('authenticate: needs a verifier: bearerJwt(…), basicAuth(…), apiKey(…), …');
  }
  for (const [i, verifier] of verifiers.entries()) {
    if (typeof verifier?.verify === 'function' && typeof verifier.scheme === 'string') continue;
    throw new TypeError(
      `authenticate: verifiers[${i}] must have a scheme and verify(), received ${inspect(verifier)}`,
    );
  }
}

interface GateSettings {
  readonly optional: boolean;
  readonly log: RefusalLog | undefined;
}

function gateSettings(options: AuthenticateOptions): GateSettings {
  const {
    optional = false,
    log,
    logWindowMs = 60_000,
    now = () => performance.now(),
  } = known('authenticate', options, ['optional', 'log', 'logWindowMs', 'now']);
  flag('authenticate: optional', optional);
  if (log !== undefined) callable('authenticate: log', log);
  milliseconds('authenticate: logWindowMs', logWindowMs);
  callable('authenticate: now', now);
  return { optional, log: log && new RefusalLog(log, logWindowMs, now) };
}

/** What the verifiers have found so far that is no identity. */
interface Findings {
  /** Why credentials were refused, by the place of their verifier. */
  readonly refused: (string | undefined)[];
  /** What the first verifier that could not tell failed with. */
  failure: { readonly cause: unknown } | undefined;
}

class Gate {
  readonly #verifiers: readonly Verifier[];
  readonly #optional: boolean;
  readonly #log: RefusalLog | undefined;

  constructor(verifiers: readonly Verifier[], { optional, log }: GateSettings) {
    this.#verifiers = verifiers;
    this.#optional = optional;
    this.#log = log;
  }

  /** Asks the verifiers from the given one on. Nothing is waited for while they answer at once. */
  ask(exchange: Exchange, next: Next | undefined, from = 0, found = nothing()): void {
    for (let i = from; i < this.#verifiers.length; i++) {
      let identity: Identity | undefined;
      try {
        const verdict = (this.#verifiers[i] as Verifier).verify(exchange);
        if (isPromise(verdict)) return this.#wait(verdict, exchange, next, i, found);
        if (isIdentity(verdict, i, found)) identity = verdict;
      } catch (cause) {
        found.failure ??= { cause };
      }
      // Not in there: what comes next may throw, and that is no failure of a verifier's.
      if (identity !== undefined) return pass(exchange, identity, next);
    }
    // By the length: a refusal is one whatever it gives for a reason.
    const isNobody = found.failure === undefined && found.refused.length === 0;
    if (isNobody && this.#optional) next?.();
    else this.#refuse(exchange, next, found);
  }

  #wait(
    pending: Promise<Verdict>,
    exchange: Exchange,
    next: Next | undefined,
    i: number,
    found: Findings,
  ): void {
    const settled = pending
      .then((verdict) => (isIdentity(verdict, i, found) ? verdict : undefined))
      .catch((cause: unknown) => {
        found.failure ??= { cause };
        return undefined;
      });
    void settled.then((identity) => {
      // The client may have gone in the meantime.
      if (!exchange.open) return;
      if (identity !== undefined) pass(exchange, identity, next);
      else this.ask(exchange, next, i + 1, found);
    });
  }

  #refuse(exchange: Exchange, next: Next | undefined, found: Findings): void {
    let error: unknown;
    try {
      error = this.#refusal(exchange.req, found);
    } catch (thrown) {
      // By a challenge, which may have been asked for when nobody else would hear of it.
      error = thrown;
    }
    fail(exchange, error, next);
  }

  #refusal(req: IncomingMessage, { refused, failure }: Findings): ProxyError {
    if (failure !== undefined) return new AuthUnavailableError(failure);
    const reasons: string[] = [];
    for (const [i, reason] of refused.entries()) {
      if (reason === undefined) continue;
      const { scheme } = this.#verifiers[i] as Verifier;
      reasons.push(`${scheme}: ${reason}`);
      this.#log?.add(scheme, reason);
    }
    if (reasons.length === 0) this.#log?.add('any', 'no credentials');
    const cause = new Error(reasons.join('; ') || 'no credentials');
    const headers = this.#challenge(req, refused);
    return new UnauthorizedError({ cause, headers }, isForProxy(req) ? 407 : 401);
  }

  /** RFC 9110, 11.6.1 and 11.7.1: what the client could come with, all kinds in one field. */
  #challenge(req: IncomingMessage, refused: Findings['refused']): Record<string, string> {
    const challenges: string[] = [];
    for (const [i, verifier] of this.#verifiers.entries()) {
      const challenge = verifier.challenge?.(refused[i] !== undefined);
      if (challenge !== undefined && !challenges.includes(challenge)) challenges.push(challenge);
    }
    const name = isForProxy(req) ? 'Proxy-Authenticate' : 'WWW-Authenticate';
    return challenges.length === 0 ? {} : { [name]: challenges.join(', ') };
  }
}

function nothing(): Findings {
  return { refused: [], failure: undefined };
}

function pass(exchange: Exchange, identity: Identity, next: Next | undefined): void {
  exchange.identity = identity;
  next?.();
}

/**
 * Whether a verdict is an identity; notes what else it is.
 *
 * @throws TypeError when it is nothing that a verifier may answer: that must not be a pass.
 */
function isIdentity(verdict: Verdict, i: number, found: Findings): verdict is Identity {
  if (verdict === undefined || verdict === null) return false;
  if (typeof verdict === 'object' && 'refused' in verdict) {
    found.refused[i] = verdict.refused;
    return false;
  }
  if (isWhole(verdict)) return true;
  throw new TypeError(
    `authenticate: verifiers[${i}] must answer with { subject, claims, scheme }, { refused } or undefined, ` +
      `it answered with ${inspect(verdict)}`,
  );
}

/** Whether all of an identity is there: what asks for its claims later must find some. */
function isWhole(verdict: unknown): boolean {
  if (typeof verdict !== 'object' || verdict === null) return false;
  const { subject, claims, scheme } = verdict as { [Key in keyof Identity]: unknown };
  return (
    (subject === undefined || typeof subject === 'string') &&
    typeof scheme === 'string' &&
    typeof claims === 'object' &&
    claims !== null &&
    !Array.isArray(claims)
  );
}

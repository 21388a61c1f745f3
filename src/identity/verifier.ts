import type { Exchange } from '../exchange/exchange.js';
import type { Identity } from '../exchange/identity.js';

/** Credentials were given, and are wrong. */
export interface Refusal {
  /** Why, for the log: of a small number of texts, and nothing that the client wrote. */
  readonly refused: string;
}

/** What a verifier makes of a request: who it is, why not, or `undefined` when it finds nothing to judge. */
export type Verdict = Identity | Refusal | undefined;

/**
 * Knows one kind of credentials. A verifier that throws, rejects, or answers with anything but a verdict
 * cannot tell: the client gets 503, unless another verifier lets it through.
 */
export interface Verifier {
  /** The kind, as identities and logs name it. */
  readonly scheme: string;
  /** Judges the request. Whatever it answers at once costs no promise. */
  verify(exchange: Exchange): Verdict | Promise<Verdict>;
  /** What `WWW-Authenticate` tells a client about this kind; `wrong` when it gave some that were. */
  challenge?(wrong: boolean): string | undefined;
}

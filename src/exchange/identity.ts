/** Who a client has proved to be. `authenticate()` puts it on the exchange. */
export interface Identity {
  /** Who it is, by the name that the issuer, the list or the certificate gives; some tokens name nobody. */
  readonly subject: string | undefined;
  /** What else is known: the claims of a token, or whatever the verifier adds. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** How it was proved: `bearer`, `basic`, `api-key`, `client-certificate`, or a verifier's own word. */
  readonly scheme: string;
}

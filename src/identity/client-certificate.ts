import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { Exchange } from '../exchange/exchange.js';
import type { Identity } from '../exchange/identity.js';
import { callable, inspect, known } from '../options.js';
import { checkRealm } from './credentials.js';
import { frozen } from './known-good.js';
import type { Verdict, Verifier } from './verifier.js';

/** Options for {@link clientCertificate}. */
export interface ClientCertificateOptions {
  /**
   * Names the holder of a certificate; the common name does when it is not given. With nothing returned,
   * the certificate is refused.
   */
  readonly subject?: ((certificate: PeerCertificate) => string | undefined) | undefined;
  /**
   * @default 'gateway'
   */
  readonly realm?: string | undefined;
  /** The clock, in milliseconds since 1970; for tests. */
  readonly now?: (() => number) | undefined;
}

/**
 * Knows clients by the certificate that they showed in the TLS handshake. The server has to ask for one:
 * `{ requestCert: true, rejectUnauthorized: false, ca }`, where `ca` is whoever signs your clients'.
 *
 * @example
 * app.use(authenticate(clientCertificate()), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError when an option is not what it should be.
 */
export function clientCertificate(options: ClientCertificateOptions = {}): Verifier {
  const {
    subject = commonName,
    realm = 'gateway',
    now = Date.now,
  } = known('clientCertificate', options, ['subject', 'realm', 'now']);
  callable('clientCertificate: subject', subject);
  checkRealm('clientCertificate: realm', realm);
  callable('clientCertificate: now', now);
  return new CertificateVerifier(subject, realm, now);
}

/** What is known of the certificate of a connection. */
interface Shown {
  readonly verdict: Verdict;
  readonly from: number;
  readonly until: number;
}

class CertificateVerifier implements Verifier {
  readonly scheme = 'client-certificate';
  readonly #subject: (certificate: PeerCertificate) => string | undefined;
  readonly #realm: string;
  readonly #now: () => number;
  /** Reading a certificate takes longer than all else here, and a connection has one for its whole life. */
  readonly #shown = new WeakMap<object, Shown>();

  constructor(
    subject: (certificate: PeerCertificate) => string | undefined,
    realm: string,
    now: () => number,
  ) {
    this.#subject = subject;
    this.#realm = realm;
    this.#now = now;
  }

  challenge(): string {
    return `ClientCertificate realm="${this.#realm}"`;
  }

  verify({ req }: Exchange): Verdict {
    // In HTTP/2, a request's socket is a stand-in of its own; what many requests share is the session.
    const connection = (req as { stream?: { session?: object } }).stream?.session ?? req.socket;
    let shown = this.#shown.get(connection);
    if (shown === undefined) {
      shown = this.#read(req.socket as Partial<TLSSocket>);
      this.#shown.set(connection, shown);
    }
    // The handshake has looked at the time as well, but a connection can outlive the certificate.
    const now = this.#now();
    if (now < shown.from || now >= shown.until) return { refused: 'expired' };
    return shown.verdict;
  }

  #read(socket: Partial<TLSSocket>): Shown {
    const always = { from: -Infinity, until: Infinity };
    const certificate = socket.getPeerCertificate?.();
    if (!certificate || Object.keys(certificate).length === 0)
      return { ...always, verdict: undefined };
    if (socket.authorized !== true) return { ...always, verdict: { refused: 'not trusted' } };
    const subject = this.#subject(certificate);
    if (subject !== undefined && typeof subject !== 'string') {
      throw new TypeError(
        `clientCertificate: subject() must return a string, received ${inspect(subject)}`,
      );
    }
    return {
      verdict: subject ? identityOf(subject, certificate) : { refused: 'names nobody' },
      from: Date.parse(certificate.valid_from),
      until: Date.parse(certificate.valid_to),
    };
  }
}

/** Several common names would leave it open whose certificate it is. */
function commonName({ subject }: PeerCertificate): string | undefined {
  const name: unknown = subject?.CN;
  return typeof name === 'string' ? name : undefined;
}

function identityOf(subject: string, certificate: PeerCertificate): Identity {
  const { issuer, serialNumber, fingerprint256, subjectaltname } = certificate;
  const claims = {
    subject: { ...certificate.subject },
    issuer: { ...issuer },
    serialNumber,
    fingerprint256,
    subjectAltName: subjectaltname,
  };
  return frozen({ subject, claims, scheme: 'client-certificate' });
}
